-- A mark is of the person who set it: to everybody else the message is unread, due to be mailed, and not stepped over.
begin;
insert into headway.appuser (id, fullname, email) values (1, 'Abe', null), (2, 'Bob', 'bob@example.com'), (3, 'Charlie', null);
insert into headway.message (sender, channel, content) select 1, 'broadcast', 'Message ' || n from generate_series(1, 4) n;
select headway.mark_seen(3, array(select m.id from headway.message m where m.seq in (2, 3)));

do $$
begin
  assert (select array_agg(u.seq order by u.seq) from headway.unread_message u where u.user_id = 2) = array[1, 2, 3, 4]::bigint[];
  assert (select u.messages from headway.unread u where u.user_id = 2) = 4;
  assert headway.mark_read(2, 'broadcast', 1) = 1, 'over marks of somebody else';
  assert (select count(*) from headway.seen e where e.user_id = 3) = 2, 'their marks are gone';
  assert (select n.from_seq from headway.unmailed n where n.user_id = 2) = 2;
  assert (select array_agg(u.seq order by u.seq) from headway.unread_message u where u.user_id = 3) = array[1, 4]::bigint[];
  assert headway.mark_read(3, 'broadcast', 1) = 3, 'over their own';
end
$$;
rollback;
