-- Deleting a channel would delete its messages, which are kept, and a project without its staff
-- channel could not be folded.
begin;
insert into headway.appuser (id, fullname) values (1, 'Abe');
insert into headway.project (id, name) values (1, 'Website');
insert into headway.member (project_id, user_id, role) values (1, 1, 'customer');
select headway.open_channel('design_review', 1, array[1]), headway.open_channel('lounge', null, array[1]), headway.open_channel('unused');
select headway.post(1, c.name, 'Hello') from headway.channel c where c.name in ('broadcast', 'project_1', 'user_1', 'design_review', 'lounge');

do $$
declare
  v_hint text;
  v_name text;
begin
  foreach v_name in array array['broadcast', 'project_1', 'project_1_staff', 'user_1', 'design_review', 'lounge'] loop
    begin
      delete from headway.channel c where c.name = v_name;
      raise assert_failure using message = v_name || ' was deleted';
    exception when feature_not_supported then
      assert strpos(sqlerrm, v_name) > 0, sqlerrm;
      get stacked diagnostics v_hint = pg_exception_hint;
      assert v_hint = case
        when v_name ~ '^user_' then 'It goes with the person: delete from headway.appuser where id = 1.'
        when exists (select from headway.channel c where c.name = v_name and c.project_id = 1)
          then 'It goes with the whole project: delete from headway.project where id = 1.'
        else 'It is kept with the messages in it.'
      end, v_hint;
    end;
    begin
      update headway.channel c set name = 'renamed' where c.name = v_name;
      raise assert_failure using message = v_name || ' was renamed';
    exception when feature_not_supported or foreign_key_violation then
      null;
    end;
    begin
      update headway.channel c set project_id = case when c.project_id is null then 1 end where c.name = v_name;
      raise assert_failure using message = v_name || ' belongs elsewhere';
    exception when feature_not_supported then
      null;
    end;
    begin
      update headway.channel c set last_seq = 0 where c.name = v_name;
      update headway.channel c set last_seq = -1 where c.name = v_name;
      raise assert_failure using message = v_name || ' begins anew';
    exception when feature_not_supported then
      null;
    end;
  end loop;
  assert (select count(*) from headway.message) = 5;
  delete from headway.channel c where c.name = 'unused';
  assert found, 'nobody ever said anything there';
  delete from headway.project;
  assert (select array_agg(m.channel order by m.channel) from headway.message m) = array['broadcast', 'lounge', 'user_1'];
end
$$;
rollback;
