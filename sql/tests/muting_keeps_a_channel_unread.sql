-- mute is about mail; it can be taken back, and strangers cannot do it.
begin;
insert into headway.appuser (id, fullname) values (1, 'Abe'), (2, 'Bob');

do $$
begin
  assert headway.mute(2, 'broadcast');
  assert (select s.muted from headway.subscription s where s.channel = 'broadcast' and s.user_id = 2);
  perform headway.post(1, 'broadcast', 'Hello');
  assert (select u.messages from headway.unread u where u.user_id = 2) = 1;
  assert not headway.mute(2, 'broadcast', false);
  assert not (select s.muted from headway.subscription s where s.channel = 'broadcast' and s.user_id = 2);
  begin
    perform headway.mute(1, 'user_2');
    raise assert_failure using message = 'a stranger';
  exception when no_data_found then
    assert sqlerrm like '%"user_2"%', sqlerrm;
  end;
end
$$;
rollback;
