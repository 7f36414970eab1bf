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
