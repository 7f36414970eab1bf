-- Mail is due when the oldest unread message is older than the delay: the person's own, else the setting.
begin;
insert into headway.appuser (id, fullname, email, digest_after) values
  (1, 'Abe', 'abe@example.com', null), (2, 'Bob', 'bob@example.com', null),
  (3, 'Charlie', 'charlie@example.com', '30 minutes'), (4, 'Dora', 'dora@example.com', '2 days');
select pg_temp.post(1, 'broadcast', '3 hours', 'The first'), pg_temp.post(1, 'broadcast', '5 minutes', 'The second');

do $$
begin
  assert (select array_agg(d.user_id order by d.user_id) from headway.due_digests() d) = '{3}', 'by the person''s delay';
  assert (select (d.fullname, d.oldest_at, d.due_at) = ('Charlie', now() - interval '3 hours', now() - interval '2.5 hours') from headway.due_digests() d);
  assert (select array_agg(d.user_id order by d.user_id) from headway.due_digests(now() + interval '1 hour') d) = '{2,3}', 'later, by the setting';
  assert (select array_agg(d.user_id order by d.user_id) from headway.due_digests(now() + interval '1 hour' - interval '1 microsecond') d) = '{3}', 'not a moment earlier';
  assert (select array_agg(d.user_id order by d.user_id) from headway.due_digests(now() + interval '3 days') d) = '{2,3,4}', 'in three days';
  assert not exists (select from headway.due_digests(now() - interval '2.6 hours')), 'back then';
  perform headway.set_setting('digest_after', '2 hours');
  assert (select array_agg(d.user_id order by d.user_id) from headway.due_digests() d) = '{2,3}', 'by the setting now';
  perform headway.set_setting('digest_after', '1 microsecond');
  assert (select array_agg(d.user_id order by d.user_id) from headway.due_digests() d) = '{2,3}', 'Dora wants to wait';
  assert headway.reserve_digests() = 2;
end
$$;
rollback;
