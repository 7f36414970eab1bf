create function headway.verify()
returns table (project_id bigint, user_id bigint, done bigint, total bigint, true_done bigint, true_total bigint)
language sql
stable
as $$
  select d.project_id, d.user_id, sum(d.done)::bigint, sum(d.total)::bigint, sum(d.true_done)::bigint, sum(d.true_total)::bigint
  from (
    select c.project_id, c.user_id, c.done, c.total, 0 as true_done, 0 as true_total from headway.current_progress c
    union all
    select r.project_id, r.user_id, 0, 0, r.done, r.total from headway.recount r
  ) d
  group by d.project_id, d.user_id
  having sum(d.done) <> sum(d.true_done) or sum(d.total) <> sum(d.true_total)
  order by d.project_id, d.user_id nulls first
$$;
comment on function headway.verify() is
  'Every difference between the materialized progress, waiting facts included, and a recount from the tables in the same snapshot; user_id null is the part a project''s customers share. No rows: all is well. Otherwise: select headway.repair().';

create function headway.repair() returns integer
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_projects bigint[];
begin
  perform pg_advisory_xact_lock(headway.lock_key('fold'));
  insert into headway.shared_progress (project_id) select p.id from headway.project p on conflict do nothing;
  select array_agg(distinct v.project_id) into v_projects from headway.verify() v;
  insert into headway.pending_fact (kind, project_id) select 'recompute', p.id from unnest(v_projects) p (id);
  perform headway.ring();
  while headway.fold() > 0 loop
  end loop;
  return coalesce(cardinality(v_projects), 0);
end
$$;
comment on function headway.repair() is
  'Mends whatever headway.verify() finds and returns in how many projects that was. Needed only after triggers were bypassed, as by a data-only restore with session_replication_role = replica.';
