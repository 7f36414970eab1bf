-- A badge needs no exact number above 1000, and unread agrees with unread_message below it.
begin;
insert into headway.appuser (id, fullname) values (1, 'Abe'), (2, 'Bob');

do $$
begin
  insert into headway.message (sender, channel, content) select 1 + n % 2, 'broadcast', 'Message ' || n from generate_series(1, 10) n;
  assert (select count(*) from headway.unread_message u where u.user_id = 2) = 5;
  assert (select u.messages from headway.unread u where u.user_id = 2) = 5;
  assert (select u.oldest_at from headway.unread u where u.user_id = 2)
    = (select min(m.sent_at) from headway.message m where m.sender = 1);
  -- Nobody's message is unread by all.
  insert into headway.message (channel, content, kind) values ('broadcast', 'It happened', 'task_reopened');
  assert (select u.messages from headway.unread u where u.user_id = 2) = 6;

  perform headway.mark_read(2, 'broadcast');
  insert into headway.message (sender, channel, content) select 1, 'broadcast', 'Message ' || n from generate_series(1, 999) n;
  assert (select u.messages from headway.unread u where u.user_id = 2) = 999;
  insert into headway.message (sender, channel, content) select 1, 'broadcast', 'Message ' || n from generate_series(1, 2) n;
  assert (select u.messages from headway.unread u where u.user_id = 2) = 1000;
  assert (select count(*) from headway.unread_message u where u.user_id = 2) = 1001;
end
$$;
rollback;
