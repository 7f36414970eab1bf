-- One month may be longer than 30 days: whoever has a delay between the two is not kept waiting by whoever has a month.
begin;
insert into headway.appuser (id, fullname, email, digest_after) values
  (1, 'Abe', null, null), (2, 'Bob', 'bob@example.com', '1 month'), (3, 'Charlie', 'charlie@example.com', '30 days 12 hours');
select headway.set_setting('digest_after', '1 year'), headway.post(1, 'broadcast', 'Hello');
set local session_replication_role = replica;
update headway.message m set sent_at = '2024-01-01 00:00+00';
set local session_replication_role = origin;

do $$
begin
  assert (select array_agg(d.user_id) from headway.due_digests('2024-01-31 13:00+00') d) = '{3}', 'Charlie, after 30 days and a half';
  assert (select array_agg(d.user_id order by d.user_id) from headway.due_digests('2024-02-01 00:00+00') d) = '{2,3}', 'and Bob, after a month of 31';
end
$$;
rollback;
