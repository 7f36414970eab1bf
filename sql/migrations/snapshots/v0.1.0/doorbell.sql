create function headway.lock_key(purpose text) returns bigint
language sql
immutable
as $$
  -- The word "headway" in ASCII plus one byte, so that our advisory locks do not collide with anyone else's.
  select case lock_key.purpose
    when 'doorbell' then x'6865616477617901'::bigint
    when 'fold' then x'6865616477617902'::bigint
    when 'leader' then x'6865616477617903'::bigint
    when 'migrate' then x'6865616477617904'::bigint
    when 'reserve' then x'6865616477617905'::bigint
  end
$$;
comment on function headway.lock_key(text) is
  'Key of one of headway''s advisory locks (PostgreSQL manual, 13.3.5): doorbell, fold, leader, migrate or reserve.';

create function headway.ring() returns void
language plpgsql
volatile
as $$
begin
  -- The worker holds this key exclusively only while it sleeps. Whoever gets it in shared mode holds it until their
  -- commit is visible, and the worker checks once more before it sleeps.
  if not pg_try_advisory_xact_lock_shared(headway.lock_key('doorbell')) then
    if headway.notify_mode() <> 'off' then
      perform pg_notify('headway_doorbell', '');
    end if;
  end if;
end
$$;
comment on function headway.ring() is
  'Wakes the worker at commit if it is asleep. Called by every trigger that queues a fact, after the fact is written.';

create function headway.recompute_together(projects bigint[]) returns void
language plpgsql
volatile
-- A plan made while the queue was empty would read all of it for each project.
set enable_seqscan = off
as $$
begin
  if cardinality(recompute_together.projects) > 100 then
    insert into headway.pending_fact (kind, project_id)
    select 'recompute', p.id
    from (
      select d.id from unnest(recompute_together.projects) d (id)
      -- Not if a recount of the project is already queued.
      except
      select w.project_id from headway.pending_recompute w where w.project_id = any (recompute_together.projects) and w.user_id is null
    ) p
    -- Only what waits in these projects is read: elsewhere it may be much.
    cross join lateral (select count(*) as people from headway.pending_recompute w where w.project_id = p.id) g
    -- Members are counted only up to the number that decides.
    where g.people > 100 and g.people * 10 > (
      select count(*) from (select from headway.member m where m.project_id = p.id limit g.people * 10) m
    );
  end if;
end
$$;
comment on function headway.recompute_together(bigint[]) is
  'Called after a statement that queued facts, with the project of each; if there are at most 100, it does nothing. In every project where more than 100 people, and more than a tenth of the members, now wait to be recounted, it queues a recount of the whole project, which is less work than recounting them one by one.';

create function headway.recompute_everything() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  -- TRUNCATE removes everybody's rows, including those of projects that an older snapshot does not show.
  if current_setting('transaction_isolation') not in ('read committed', 'read uncommitted') then
    raise exception 'truncate is refused in a % transaction', current_setting('transaction_isolation') using
      errcode = 'feature_not_supported',
      hint = 'Truncate in a transaction of its own: begin isolation level read committed.';
  end if;
  insert into headway.pending_fact (kind, project_id)
  select 'recompute', s.project_id from headway.shared_progress s;
  perform headway.ring();
  return null;
end
$$;
comment on function headway.recompute_everything() is 'After a truncate, makes the next folds recount every project.';
