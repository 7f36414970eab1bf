-- A cursor moves forward, up to what has been sent.
begin;
insert into headway.appuser (id, fullname) values (1, 'Abe'), (2, 'Bob');
insert into headway.message (sender, channel, content) select 1, 'broadcast', 'Message ' || n from generate_series(1, 10) n;

do $$
declare
  v_hint text;
begin
  assert headway.mark_read(2, 'broadcast', 4) = 4;
  assert headway.mark_read(2, 'broadcast', 2) = 4, 'back';
  assert headway.mark_read(2, 'broadcast', -5) = 4, 'far back';
  assert (select u.messages from headway.unread u where u.user_id = 2) = 6;
  assert headway.advance_cursor(2, 'broadcast', -9223372036854775808) = 4, 'a number that no message has';
  assert headway.mark_read(2, 'broadcast', 1000000) = 10, 'clamped';
  perform headway.post(1, 'broadcast', 'The eleventh');
  assert (select u.messages from headway.unread u where u.user_id = 2) = 1, 'read ahead of time';
  assert headway.mark_read(2, 'broadcast') = 11, 'all of it';
  assert headway.mark_read(2, 'user_2') = 0, 'an empty channel';
  begin
    update headway.subscription s set read_seq = 3 where s.channel = 'broadcast' and s.user_id = 2;
    raise assert_failure using message = 'a plain update moved it back';
  exception when invalid_parameter_value then
    assert sqlerrm like '%from 11 to 3%', sqlerrm;
  end;
  begin
    perform headway.mark_read(1, 'user_2');
    raise assert_failure using message = 'a stranger';
  exception when no_data_found then
    get stacked diagnostics v_hint = pg_exception_hint;
    assert sqlerrm like '%person 1 %"user_2"%' and v_hint <> '', sqlerrm;
  end;
end
$$;
rollback;
