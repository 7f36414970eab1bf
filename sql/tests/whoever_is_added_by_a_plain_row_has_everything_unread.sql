-- A subscription that says no more than whose it is and of what begins at the first message; one with cursors begins
-- there.
begin;
insert into headway.appuser (id, fullname, email) values (1, 'Abe', null), (2, 'Bob', 'bob@example.com'), (3, 'Charlie', 'charlie@example.com');
select headway.open_channel('design', null, array[1]), headway.post(1, 'design', 'Here?'), headway.post(1, 'design', 'Here!');
insert into headway.subscription (channel, user_id) values ('design', 2);
insert into headway.subscription (channel, user_id, read_seq, mailed_seq)
select c.name, 3, c.last_seq, c.last_seq from headway.channel c where c.name = 'design';

do $$
begin
  assert (select array_agg(u.user_id || ': ' || u.messages) from headway.unread u) = array['2: 2'];
  assert (select array_agg(d.user_id) from headway.due_digests(now() + interval '5 hours') d) = array[2::bigint];
  perform headway.post(1, 'design', 'Here.');
  assert (select array_agg(u.user_id || ': ' || u.messages order by u.user_id) from headway.unread u) = array['2: 3', '3: 1'];
end
$$;
rollback;
