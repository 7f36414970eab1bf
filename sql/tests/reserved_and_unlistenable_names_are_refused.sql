-- By open_channel with a hint, by a plain insert with the constraint.
begin;
insert into headway.project (id, name) values (1, 'Website');
insert into headway.appuser (id, fullname) values (7, 'Abe');

do $$
declare
  v_name text;
  v_hint text;
begin
  foreach v_name in array array[
    'headway_events', 'headwayx', 'project_1', 'project_7', 'project_x', 'user_1', 'user_x', 'Design', '1st', '', 'a-b', 'a b', 'été',
    repeat('x', 64), e'a\n', '_a'
  ] loop
    begin
      perform headway.open_channel(v_name);
      raise assert_failure using message = 'open_channel took "' || v_name || '"';
    exception when invalid_parameter_value then
      get stacked diagnostics v_hint = pg_exception_hint;
      assert v_hint <> '' and strpos(sqlerrm, v_name) > 0, sqlerrm;
    end;
  end loop;
  foreach v_name in array array['headway_events', 'project_7', 'project_x', 'project_1_x', 'user_x', 'user_99', 'user_007', 'user_99999999999999999999', 'Design', '', repeat('x', 64), e'a\n', 'order', 'left'] loop
    begin
      insert into headway.channel (name) values (v_name);
      raise assert_failure using message = 'headway.channel took "' || v_name || '"';
    exception when check_violation then
      null;
    end;
  end loop;
  foreach v_name in array array['order', 'left', 'current_date'] loop
    begin
      perform headway.open_channel(v_name);
      raise assert_failure using message = 'open_channel took "' || v_name || '"';
    exception when check_violation then
      get stacked diagnostics v_hint = pg_exception_hint;
      assert strpos(v_hint, v_name || '_channel') > 0, v_hint;
    end;
  end loop;
  assert headway.open_channel(repeat('x', 63)) = repeat('x', 63);
  assert headway.open_channel('projects') = 'projects' and headway.open_channel('users') = 'users', 'only the prefixes are reserved';
  assert headway.open_channel('time') = 'time' and headway.open_channel('orders') = 'orders', 'LISTEN takes these as they are';
end
$$;
rollback;
