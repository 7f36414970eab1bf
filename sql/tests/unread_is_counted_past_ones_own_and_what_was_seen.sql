-- However many of one's own messages, and of those marked one by one, come between.
begin;
insert into headway.appuser (id, fullname) values (1, 'Abe'), (2, 'Bob');

do $$
begin
  -- 1, 1001 and 2502 to 3501 are Abe's, the others Bob's: messages are read a thousand at a time, here and from 1501 on.
  insert into headway.message (sender, channel, content) values (1, 'broadcast', 'First');
  insert into headway.message (sender, channel, content) select case n when 1000 then 1 else 2 end, 'broadcast', 'Message ' || n from generate_series(1, 2500) n;
  insert into headway.message (sender, channel, content) select 1, 'broadcast', 'Message ' || n from generate_series(1, 1000) n;
  assert (select s.read_seq from headway.subscription s where s.channel = 'broadcast' and s.user_id = 2) = 0;
  assert (select u.messages from headway.unread u where u.user_id = 2) = 1000;
  assert (select u.oldest_at from headway.unread u where u.user_id = 2)
    = (select m.sent_at from headway.message m where m.channel = 'broadcast' and m.seq = 1);

  perform headway.mark_seen(2, array(select m.id from headway.message m where m.seq between 2510 and 3500));
  assert (select u.messages from headway.unread u where u.user_id = 2) = 11;
  assert (select count(*) from headway.unread_message u where u.user_id = 2) = 11;

  -- The cursor goes over one's own and stops where something is left.
  assert headway.mark_read(2, 'broadcast', 1) = 1000;
  assert headway.mark_read(2, 'broadcast', 1501) = 2501;
  assert headway.mark_read(2, 'broadcast', 2508) = 2508;
  assert headway.mark_read(2, 'broadcast', 2509) = 3500;
  assert (select u.messages from headway.unread u where u.user_id = 2) = 1;
  assert headway.mark_read(2, 'broadcast') = 3501;
  assert not exists (select from headway.unread u where u.user_id = 2);
  assert not exists (select from headway.seen);
end
$$;
rollback;
