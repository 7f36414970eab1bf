create function headway.verify()
returns table (project_id bigint, user_id bigint, done bigint, total bigint, true_done bigint, true_total bigint)
language sql
stable
-- To compile the plan takes longer than to run it.
set jit = off
as $$
  select d.project_id, d.user_id, sum(d.done)::bigint, sum(d.total)::bigint, sum(d.true_done)::bigint, sum(d.true_total)::bigint
  from (
    select c.project_id, c.user_id, c.done, c.total, 0 as true_done, 0 as true_total, true as kept from headway.current_progress c
    union all
    select r.project_id, r.user_id, 0, 0, r.done, r.total, false from headway.recount r
    union all
    -- Without its row, nobody in the project would have a bar.
    select p.id, null, 0, 0, 0, 0, exists (select from headway.shared_progress s where s.project_id = p.id) from headway.project p
  ) d
  group by d.project_id, d.user_id
  having sum(d.done) <> sum(d.true_done) or sum(d.total) <> sum(d.true_total) or d.user_id is null and not bool_or(d.kept)
  order by d.project_id, d.user_id nulls first
$$;
comment on function headway.verify() is
  'Every difference between the materialized progress, including queued facts, and a recount from the tables in the same snapshot; user_id null is the part that a project''s customers share. No rows: all is well. Otherwise: select headway.repair().';

create view headway.channel_to_repair with (security_invoker) as
select n.name, n.project_id, null::bigint as last_seq
from (
  select 'project_' || p.id || s.suffix as name, p.id as project_id from headway.project p cross join (values (''), ('_staff')) s (suffix)
  union all
  select 'user_' || u.id as name, null::bigint as project_id from headway.appuser u
  union all
  select 'broadcast' as name, null::bigint as project_id
) n
where not exists (select from headway.channel c where c.name = n.name)
union all
select c.name, c.project_id, m.seq
from headway.channel c
cross join lateral (
  select m.seq from headway.message m where m.channel = c.name and m.seq > c.last_seq order by m.seq desc limit 1
) m;
comment on view headway.channel_to_repair is
  'Channels of projects, people and everybody that are missing, and any that are behind their messages, as after a restore of some tables, or of tables that were dumped at different moments. No rows: all is well. Otherwise: select headway.repair().';
comment on column headway.channel_to_repair.last_seq is 'The number of the newest message; null: the channel is missing.';

create function headway.catch_up_channels() returns void
language sql
as $$
  update headway.channel c
  set last_seq = r.last_seq
  from headway.channel_to_repair r
  where c.name = r.name and c.last_seq < r.last_seq -- somebody may have posted since
$$;
comment on function headway.catch_up_channels() is
  'Sets last_seq of channels that have newer messages, as after a restore of tables that were dumped at different moments.';

create function headway.repair() returns integer
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_projects bigint[];
  v_opened text[];
begin
  perform pg_advisory_xact_lock(headway.lock_key('fold'));
  select array_agg(distinct v.project_id) into v_projects from headway.verify() v;
  -- The rows that come with projects, people and members, without which nothing could be posted.
  insert into headway.shared_progress (project_id) select p.id from headway.project p on conflict do nothing;
  with opened as (
    insert into headway.channel (name, project_id)
    select r.name, r.project_id from headway.channel_to_repair r where r.last_seq is null
    on conflict do nothing
    returning name
  )
  select array_agg(o.name) into v_opened from opened o;
  perform headway.catch_up_channels();
  with missing as (
    select c.name as channel, m.user_id
    from headway.member m
    cross join (values (''), ('_staff')) s (suffix)
    cross join lateral (select 'project_' || m.project_id || s.suffix as name) c
    where (s.suffix = '' or m.role = 'staff')
      and not exists (select from headway.subscription b where b.channel = c.name and b.user_id = m.user_id)
    order by m.project_id, m.user_id
    for share of m -- whoever is leaving or ceasing to be staff has done so, or waits until this is over
  )
  insert into headway.subscription (channel, user_id, read_seq, mailed_seq)
  select c.name, w.user_id, c.last_seq, c.last_seq
  from (
    -- Someone who already has a channel of their own may have been removed from broadcast on purpose.
    select b.channel, u.id as user_id
    from unnest(v_opened) o (name)
    join headway.appuser u on 'user_' || u.id = o.name
    cross join lateral (values ('broadcast'), (o.name)) b (channel)
    union all
    select o.name, u.id from unnest(v_opened) o (name) cross join headway.appuser u where o.name = 'broadcast'
    union all
    select m.channel, m.user_id from missing m
  ) w
  join headway.channel c on c.name = w.channel
  on conflict do nothing;
  insert into headway.pending_fact (kind, project_id) select 'recompute', p.id from unnest(v_projects) p (id);
  perform headway.ring();
  while headway.fold() > 0 loop
  end loop;
  return coalesce(cardinality(v_projects), 0);
end
$$;
comment on function headway.repair() is
  'Repairs whatever headway.verify() finds and returns in how many projects that was; adds missing channels and subscriptions of people, projects and members, and sets last_seq of channels that are behind their messages. Needed only after triggers were bypassed, as by a data-only restore with session_replication_role = replica.';
