-- Again with more people it adds them; of another project or one that is not there, with strangers, or by a name that is
-- none or reserved, it is refused.
begin;
insert into headway.appuser (id, fullname) values (1, 'Abe'), (2, 'Bob'), (3, 'Charlie');
insert into headway.project (id, name) values (1, 'Website'), (2, 'Shop');
insert into headway.member (project_id, user_id, role) values (1, 1, 'customer'), (1, 2, 'staff');

do $$
declare
  v_hint text;
  v_name text;
begin
  foreach v_name in array array[null, '', 'Design', 'project_1', 'headway_x'] loop
    begin
      perform headway.open_channel(v_name);
      raise assert_failure using message = v_name;
    exception when invalid_parameter_value then
      get stacked diagnostics v_hint = pg_exception_hint;
      assert strpos(sqlerrm, coalesce(v_name, '<NULL>')) > 0 and v_hint <> '', sqlerrm;
    end;
  end loop;
  assert headway.open_channel('design_review', 1, array[1]) = 'design_review';
  perform headway.post(1, 'design_review', 'First');
  perform headway.mark_read(1, 'design_review');
  assert headway.open_channel('design_review', 1, array[1, 2]) = 'design_review';
  assert (select array_agg((s.user_id, s.read_seq)::text order by s.user_id) from headway.subscription s where s.channel = 'design_review')
    = array['(1,1)', '(2,1)'];
  begin
    perform headway.open_channel('design_review', 1, array[3]);
    raise assert_failure using message = 'a stranger to the project';
  exception when no_data_found then
    get stacked diagnostics v_hint = pg_exception_hint;
    assert sqlerrm like '%person 3 %"design_review"%' and v_hint <> '', sqlerrm;
  end;
  begin
    perform headway.open_channel('lounge', null, array[99]);
    raise assert_failure using message = 'nobody';
  exception when no_data_found then
    assert sqlerrm like '%99%', sqlerrm;
  end;
  begin
    perform headway.open_channel('review', 99);
    raise assert_failure using message = 'of no project that is there';
  exception when no_data_found then
    get stacked diagnostics v_hint = pg_exception_hint;
    assert sqlerrm = 'there is no project 99' and v_hint like '%headway.project%', sqlerrm;
  end;
  begin
    perform headway.open_channel('design_review', 2);
    raise assert_failure using message = 'of another project';
  exception when duplicate_object then
    assert sqlerrm like '%project 1%', sqlerrm;
  end;
  begin
    perform headway.open_channel('design_review');
    raise assert_failure using message = 'of no project';
  exception when duplicate_object then
    null;
  end;
  perform headway.open_channel('lounge', null, array[3, 3]);
  begin
    perform headway.open_channel('lounge', 1);
    raise assert_failure using message = 'of a project now';
  exception when duplicate_object then
    assert sqlerrm like '%no project%', sqlerrm;
  end;
  assert (select count(*) from headway.subscription s where s.channel = 'lounge') = 1;
end
$$;
rollback;
