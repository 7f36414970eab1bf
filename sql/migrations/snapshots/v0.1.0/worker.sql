create function headway.heartbeat(worker_id uuid, host text, pid integer, version text, leader boolean) returns void
language sql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
  insert into headway.worker as w (id, host, pid, version, leader)
  values (heartbeat.worker_id, heartbeat.host, heartbeat.pid, heartbeat.version, heartbeat.leader)
  on conflict on constraint worker_pkey do update set last_seen_at = now(), leader = excluded.leader;
  delete from headway.worker w where w.last_seen_at < now() - interval '1 day';
$$;
comment on function headway.heartbeat(uuid, text, integer, text, boolean) is
  'Reports that a worker is alive and whether it leads; workers call it every few seconds.';

create function headway.retire(worker_id uuid) returns void
language sql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
  delete from headway.worker w where w.id = retire.worker_id
$$;
comment on function headway.retire(uuid) is 'Records that a worker has stopped.';

create view headway.status with (security_invoker) as
select
  q.facts as pending_facts,
  now() - q.oldest as oldest_fact_age,
  w.workers,
  w.leader,
  round(100 * pg_catalog.pg_notification_queue_usage()::numeric, 1) as notification_queue_percent,
  (
    select coalesce(jsonb_object_agg(d.state, d.digests), '{}')
    from (select d.state, count(*) as digests from headway.digest d group by d.state) d
  ) as digests,
  (
    select now() - min(d.next_attempt_at) from headway.digest d where d.state = 'reserved' and d.next_attempt_at <= now()
  ) as oldest_digest_age
from (
  select count(*) as workers,
    -- The row of one that was killed stays for a while.
    (array_agg(w.host || ' pid ' || w.pid order by w.last_seen_at desc) filter (where w.leader))[1] as leader
  from headway.worker w
  where w.last_seen_at > now() - interval '1 minute'
) w
-- Read once, and in its own order: the queue changes faster than it is vacuumed, and a plan that only counts may go by an
-- index, from each entry to its row.
cross join (select count(*) as facts, min(f.at) as oldest from headway.pending_fact f) q;
comment on view headway.status is 'How headway is doing, in one row.';
comment on column headway.status.pending_facts is 'Facts waiting to be folded; reads already take them into account.';
comment on column headway.status.oldest_fact_age is 'How long the oldest of them has waited; null: none is waiting.';
comment on column headway.status.workers is 'Workers seen within the last minute.';
comment on column headway.status.leader is 'The worker that folds; null: none does, so bars and activity are pushed late or not at all.';
comment on column headway.status.notification_queue_percent is 'How full the server''s NOTIFY queue is, in percent; from 50 on, headway notifies nothing.';
comment on column headway.status.digests is 'How many digests are in the ledger, by state.';
comment on column headway.status.oldest_digest_age is 'How long the oldest digest that can be sent now has waited; null: none is waiting.';
