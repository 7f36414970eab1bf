-- One who is patient keeps nobody else waiting: whoever has no delay of their own goes by the setting.
begin;
insert into headway.appuser (id, fullname, email, digest_after) values
  (1, 'Abe', null, null), (2, 'Bob', 'bob@example.com', null), (4, 'Dora', 'dora@example.com', '2 days');
select headway.post(1, 'broadcast', 'Hello');
set local session_replication_role = replica;
update headway.message m set sent_at = now() - interval '4 hours';
set local session_replication_role = origin;

do $$
begin
  assert (select array_agg(d.user_id order by d.user_id) from headway.due_digests() d) = '{2}', 'Bob, by the setting';
  assert (select array_agg(d.user_id order by d.user_id) from headway.due_digests(now() + interval '44 hours') d) = '{2,4}', 'Dora, by her own';
end
$$;
rollback;
