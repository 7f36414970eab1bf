-- Whoever has read everything has read their own message too; whoever has not keeps their place.
begin;
insert into headway.appuser (id, fullname) values (1, 'Abe'), (2, 'Bob');

do $$
begin
  perform headway.post(1, 'broadcast', 'One');
  perform headway.post(1, 'broadcast', 'Two');
  assert (select s.read_seq from headway.subscription s where s.channel = 'broadcast' and s.user_id = 1) = 2, 'caught up';
  assert (select s.read_seq from headway.subscription s where s.channel = 'broadcast' and s.user_id = 2) = 0, 'the other';
  perform headway.post(2, 'broadcast', 'Three');
  assert (select s.read_seq from headway.subscription s where s.channel = 'broadcast' and s.user_id = 2) = 0, 'behind, so it stays';
  assert (select u.messages from headway.unread u where u.user_id = 2) = 2, 'one''s own is not unread';
  assert headway.mark_read(2, 'broadcast', 2) = 3, 'the cursor goes on over one''s own';
  assert not exists (select from headway.unread u where u.user_id = 2);
end
$$;
rollback;
