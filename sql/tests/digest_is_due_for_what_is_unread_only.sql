-- What was read or seen, what one said oneself and what is muted makes no mail due.
begin;
insert into headway.appuser (id, fullname, email) values (1, 'Abe', 'abe@example.com'), (2, 'Bob', 'bob@example.com');
insert into headway.project (id, name) values (1, 'Website');
insert into headway.member (project_id, user_id, role) values (1, 1, 'staff'), (1, 2, 'customer');

do $$
declare
  v_first bigint := pg_temp.post(1, 'project_1', '6 hours', 'The first');
  v_second bigint := pg_temp.post(1, 'project_1', '5 hours', 'The second');
begin
  assert (select array_agg(d.user_id) from headway.due_digests() d) = '{2}', 'not for one''s own';
  assert (select d.oldest_at from headway.due_digests() d) = now() - interval '6 hours';
  perform headway.mute(2, 'project_1');
  assert not exists (select from headway.due_digests()), 'muted';
  perform pg_temp.post(1, 'broadcast', '5 hours');
  assert (select d.oldest_at from headway.due_digests() d where d.user_id = 2) = now() - interval '5 hours', 'another channel is not muted';
  perform headway.mark_read(2, 'broadcast'), headway.mute(2, 'project_1', false);
  perform headway.mark_seen(2, array[v_second]);
  assert (select d.oldest_at from headway.due_digests() d where d.user_id = 2) = now() - interval '6 hours', 'the first is not seen';
  perform headway.mark_seen(2, array[v_first]);
  assert not exists (select from headway.due_digests()), 'both seen';
  -- Bob's own, above a cursor that is behind: nothing of it is for Bob.
  v_first := pg_temp.post(1, 'project_1', '5 hours', 'The third');
  perform pg_temp.post(2, 'project_1', '5 hours', 'Bob says something');
  perform headway.mark_seen(2, array[v_first]);
  assert not exists (select from headway.due_digests() d where d.user_id = 2), 'only one''s own is left';
  -- Nor does it keep back what comes after it, whatever the clock said.
  perform pg_temp.post(1, 'project_1', '5 hours', 'The fourth');
  update headway.subscription s set mailed_seq = 5 where s.user_id = 2 and s.channel = 'project_1';
  perform pg_temp.post(2, 'project_1', '-2 days', 'Bob answers');
  perform pg_temp.post(1, 'project_1', '5 hours', 'The fifth');
  assert (select n.from_seq from headway.unmailed n where n.user_id = 2 and n.channel = 'project_1') = 7;
  assert (select d.oldest_at from headway.due_digests() d where d.user_id = 2) = now() - interval '5 hours', 'the fifth is unread';
  delete from headway.member where user_id = 2;
  assert not exists (select from headway.due_digests() d where d.user_id = 2), 'Bob has left';
end
$$;
rollback;
