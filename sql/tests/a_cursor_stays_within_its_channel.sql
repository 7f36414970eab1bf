-- A cursor past the last message would make what comes next read, or mailed, before anybody has seen it.
begin;
insert into headway.appuser (id, fullname) values (1, 'Abe'), (2, 'Bob'), (3, 'Charlie');
select headway.open_channel('lounge', null, array[1, 2]);
select headway.post(2, 'lounge', 'Message ' || i) from generate_series(1, 3) i;

do $$
declare
  v_try text;
  v_hint text;
begin
  foreach v_try in array array[
    'update headway.subscription set read_seq = 4 where user_id = 1',
    'update headway.subscription set mailed_seq = 4 where user_id = 1 and channel = ''lounge''',
    'update headway.subscription set read_seq = 9223372036854775806 where user_id = 1',
    'insert into headway.subscription (channel, user_id, read_seq, mailed_seq) values (''lounge'', 3, 4, 0)',
    'insert into headway.subscription (channel, user_id, read_seq, mailed_seq) values (''lounge'', 3, 0, 4)'
  ] loop
    begin
      execute v_try;
      raise assert_failure using message = v_try;
    exception when invalid_parameter_value then
      get stacked diagnostics v_hint = pg_exception_hint;
      assert sqlerrm like 'the cursor of person % cannot be at %: the last message is %' and v_hint like '%mark_read%', sqlerrm;
    end;
  end loop;
  update headway.subscription set read_seq = 3 where user_id = 1 and channel = 'lounge';
  insert into headway.subscription (channel, user_id, read_seq, mailed_seq) values ('lounge', 3, 3, 3);
  assert headway.mark_read(2, 'lounge', 99) = 3, 'what has not been sent cannot have been read';
  perform headway.post(2, 'lounge', 'Message 4');
  assert (select u.messages from headway.unread u where u.user_id = 1) = 1;

  -- Nor does nobody's cursor raise anything but an error that says so.
  foreach v_try in array array['headway.mark_read(null, ''lounge'')', 'headway.mute(null, ''lounge'')'] loop
    begin
      execute 'select ' || v_try;
      raise assert_failure using message = v_try;
    exception when no_data_found then
      assert sqlerrm like 'person <NULL> is not subscribed%', sqlerrm;
    end;
  end loop;

  perform set_config('headway.user_id', '1', true);
  set local role headway_user;
  begin
    update headway.subscription set read_seq = 5 where channel = 'lounge';
    raise assert_failure using message = 'past the end by an end user';
  exception when invalid_parameter_value then
    null;
  end;
end
$$;
rollback;
