-- Known names, known values; neither removed nor renamed nor added.
begin;
do $$
declare
  v_statement text;
  v_hint text;
begin
  assert headway.set_setting('notify_payload', 'reference') = 'reference';
  assert headway.setting('notify_payload') = 'reference';
  update headway.setting s set value = 'off' where s.name = 'notify_payload';
  assert headway.setting('nothing') is null;
  begin
    perform headway.set_setting('nothing', 'x');
    raise assert_failure using message = 'a setting that is not there';
  exception when no_data_found then
    get stacked diagnostics v_hint = pg_exception_hint;
    assert sqlerrm like '%"nothing"%' and v_hint like '%notify_payload%', sqlerrm;
  end;
  foreach v_statement in array array[
    'select headway.set_setting(''notify_payload'', ''loud'')',
    'select headway.set_setting(''notify_payload'', ''ROW'')',
    'update headway.setting set value = ''''',
    'insert into headway.setting (name, value, meaning) values (''mine'', ''x'', ''x'')'
  ] loop
    begin
      execute v_statement;
      raise assert_failure using message = v_statement;
    exception when invalid_parameter_value then
      get stacked diagnostics v_hint = pg_exception_hint;
      assert v_hint <> '';
    end;
  end loop;
  foreach v_statement in array array[
    'delete from headway.setting',
    'update headway.setting set name = ''other''',
    'truncate headway.setting'
  ] loop
    begin
      execute v_statement;
      raise assert_failure using message = v_statement;
    exception when feature_not_supported then
      null;
    end;
  end loop;
  assert headway.setting('notify_payload') = 'off';
end
$$;

-- A copy without rows.
set local session_replication_role = replica;
delete from headway.setting;
set local session_replication_role = origin;

do $$
begin
  perform headway.set_setting('notify_payload', 'off');
  raise assert_failure using message = 'a setting that is not there';
exception when no_data_found then
  assert sqlerrm like '%"notify_payload"%', sqlerrm;
end
$$;
rollback;
