create function headway.lock_key(purpose text) returns bigint
language sql
immutable
as $$
  -- The word "headway" in ASCII and one more byte, so that nobody else's advisory locks meet ours.
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
  -- The worker holds this key exclusively only while it sleeps. Whoever gets it shared holds it
  -- until their commit is visible, and the worker looks once more before it sleeps.
  if not pg_try_advisory_xact_lock_shared(headway.lock_key('doorbell')) then
    if headway.notify_mode() <> 'off' then
      perform pg_notify('headway_doorbell', '');
    end if;
  end if;
end
$$;
comment on function headway.ring() is
  'Wakes the worker at commit, if it sleeps. Called by every trigger that queues a fact, after the fact is written.';

create function headway.recompute_together(facts bigint) returns void
language plpgsql
volatile
as $$
begin
  if recompute_together.facts > 100 then
    insert into headway.pending_fact (kind, project_id)
    select 'recompute', g.project_id
    from (
      select w.project_id, count(w.user_id) as people, count(*) as waiting from headway.pending_recompute w group by w.project_id
    ) g
    -- Not where that waits already. No more of the members are counted than it takes to know.
    where g.people = g.waiting and g.people > 100 and g.people * 10 > (
      select count(*) from (select from headway.member m where m.project_id = g.project_id limit g.people * 10) m
    );
  end if;
end
$$;
comment on function headway.recompute_together(bigint) is
  'After a statement that queued so many facts: where more than 100 people of a project wait to be recounted, and more than a tenth of it, has the project recounted, which is less work than one after the other.';

create function headway.recompute_everything() returns void
language plpgsql
volatile
as $$
begin
  -- TRUNCATE takes the rows of everybody, also of projects that an older snapshot does not show.
  if current_setting('transaction_isolation') not in ('read committed', 'read uncommitted') then
    raise exception 'truncate is refused in a % transaction', current_setting('transaction_isolation') using
      errcode = 'feature_not_supported',
      hint = 'Truncate in a transaction of its own: begin isolation level read committed.';
  end if;
  insert into headway.pending_fact (kind, project_id)
  select 'recompute', s.project_id from headway.shared_progress s;
  perform headway.ring();
end
$$;
comment on function headway.recompute_everything() is 'Has every project recounted by the next folds.';
