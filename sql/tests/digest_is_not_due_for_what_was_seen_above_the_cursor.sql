-- What was seen above the cursor makes nothing due that came later.
begin;
insert into headway.appuser (id, fullname, email) values (1, 'Abe', null), (2, 'Bob', 'bob@example.com');
select pg_temp.post(1, 'broadcast', '20 hours', 'The first');
select headway.reserve_digests();
update headway.digest set state = 'sent', created_at = now() - interval '15 hours', sent_at = now() - interval '15 hours';

do $$
declare
  v_second bigint := pg_temp.post(1, 'broadcast', '6 hours', 'The second');
begin
  perform headway.mark_seen(2, array[v_second]);
  assert not exists (select from headway.due_digests()), 'only what was mailed and what was seen';
  perform pg_temp.post(1, 'broadcast', '1 hour', 'The third');
  assert not exists (select from headway.due_digests()), 'the third is an hour old';
  assert (select d.oldest_at from headway.due_digests(now() + interval '3 hours') d) = now() - interval '1 hour';
end
$$;
rollback;
