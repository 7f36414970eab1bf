create function headway.known_time_zone(time_zone text) returns text
language plpgsql
stable
as $$
begin
  perform timestamptz 'epoch' at time zone known_time_zone.time_zone;
  return known_time_zone.time_zone;
exception
  when invalid_parameter_value then
    return 'UTC';
end
$$;
comment on function headway.known_time_zone(text) is
  'The time zone, or UTC if PostgreSQL does not know it: a name that was valid when written may be missing from a later version of the time zone data.';

create function headway.is_between(clock time, quiet_from time, quiet_until time) returns boolean
language sql
immutable
as $$
  select case
    when is_between.quiet_from < is_between.quiet_until then
      is_between.clock >= is_between.quiet_from and is_between.clock < is_between.quiet_until
    when is_between.quiet_from > is_between.quiet_until then
      is_between.clock >= is_between.quiet_from or is_between.clock < is_between.quiet_until
    else false
  end
$$;
comment on function headway.is_between(time, time, time) is
  'Whether a clock time lies between quiet_from (inclusive) and quiet_until (exclusive), across midnight if need be.';

create function headway.is_quiet(quiet_from time, quiet_until time, time_zone text, at timestamptz) returns boolean
language sql
stable
as $$
  -- By the local clock, so quiet hours follow a change to or from daylight-saving time.
  select headway.is_between(
    (is_quiet.at at time zone headway.known_time_zone(is_quiet.time_zone))::time, is_quiet.quiet_from, is_quiet.quiet_until
  )
$$;
comment on function headway.is_quiet(time, time, text, timestamptz) is
  'Whether a moment lies within quiet hours by the local clock of the time zone.';

create function headway.quiet_end(quiet_from time, quiet_until time, time_zone text, at timestamptz) returns timestamptz
language sql
stable
as $$
  select min(c.at)
  from (select headway.known_time_zone(quiet_end.time_zone) as name offset 0) z -- looked up once, not for every candidate
  cross join (
    select quiet_end.at
    union all
    -- Clocks change on a quarter of an hour, and quiet hours end some minutes after one. A change may skip that end, or
    -- go back to before the start, so every candidate is checked. It may also skip the whole of a short time between
    -- two quiet hours, so two days are searched.
    select q.at + m.past
    from generate_series(
      date_bin('15 minutes', quiet_end.at, 'epoch'), quiet_end.at + interval '50 hours', interval '15 minutes'
    ) q (at)
    cross join (
      values (interval '0'), (make_interval(secs => mod(extract(epoch from quiet_end.quiet_until), 900)::double precision))
    ) m (past)
  ) c (at)
  where c.at >= quiet_end.at
    and not headway.is_between((c.at at time zone z.name)::time, quiet_end.quiet_from, quiet_end.quiet_until)
$$;
comment on function headway.quiet_end(time, time, text, timestamptz) is
  'The first moment, at or after at, that does not lie within quiet hours.';

create function headway.id_in(data jsonb, key text) returns bigint
language sql
immutable
as $$
  select case
    -- Some numbers of 19 digits are ids, and some are too large for one.
    when id_in.data ->> id_in.key ~ '^[0-9]{1,19}$' then
      nullif(least((id_in.data ->> id_in.key)::numeric, 9223372036854775808), 9223372036854775808)::bigint
  end
$$;
comment on function headway.id_in(jsonb, text) is
  'The id under this key in a message''s data; null if there is none. Data may be anything: applications write it too.';

create view headway.unmailed with (security_invoker) as
select s.user_id, s.channel, o.seq as from_seq, c.last_seq as through_seq, o.sent_at as oldest_at
from headway.subscription s
-- Offset 0: one channel is looked up for each subscription, even by a plan that was made when there were few of them.
cross join lateral (select c.project_id, c.last_seq from headway.channel c where c.name = s.channel offset 0) c
cross join lateral (
  select m.seq, m.sent_at
  from headway.message m
  where m.channel = s.channel and m.seq > greatest(s.read_seq, s.mailed_seq)
    and coalesce(m.sender <> s.user_id, true)
    and not exists (
      select from headway.seen e where e.channel = s.channel and e.user_id = s.user_id and e.seq = m.seq
    )
    -- As in headway.digest_message: what a mail would not show does not make one due.
    and (
      m.kind = 'chat' or c.project_id is not null or headway.id_in(m.data, 'project_id') is null
      or exists (
        select from headway.member b where b.user_id = s.user_id and b.project_id = headway.id_in(m.data, 'project_id')
      )
    )
  order by m.seq
  limit 1
) o
where not s.muted and c.last_seq > greatest(s.read_seq, s.mailed_seq);
comment on view headway.unmailed is
  'Per person and channel that is not muted, what is unread, not in a digest and could be in one: from the first such message to the newest.';

create view headway.mail_preference with (security_invoker) as
select u.id as user_id,
  coalesce(u.digest_after, (select headway.setting('digest_after')::interval)) as digest_after,
  (
    -- A digest that was sent late reached the person late, and one with an unknown outcome may have reached them.
    select max(greatest(d.created_at, d.sent_at))
    from headway.digest d
    where d.user_id = u.id and (d.state not in ('read_before_sending', 'cancelled') or d.unknown_at is not null)
      -- One from a time that is yet to come, by a clock that was wrong, says nothing. A minute is more than a transaction
      -- that began earlier can be behind.
      and greatest(d.created_at, d.sent_at) <= now() + interval '1 minute'
  ) + (select headway.setting('digest_min_gap')::interval) as not_before,
  u.email is not null and u.mail_suspended_at is null as takes_mail
from headway.appuser u;
comment on view headway.mail_preference is 'Per person, how long messages may stay unread, the earliest time for the next digest (null: any) and whether there is an address to mail.';

create function headway.due_digests(at timestamptz default now())
returns table (user_id bigint, fullname text, oldest_at timestamptz, due_at timestamptz)
language sql
stable
set jit = off
as $$
  select u.id, u.fullname, n.oldest_at, n.oldest_at + p.digest_after
  from headway.appuser u
  join headway.mail_preference p on p.user_id = u.id
  cross join lateral (select min(n.oldest_at) as oldest_at from headway.unmailed n where n.user_id = u.id) n
  -- One pass over all subscriptions narrows these down to the few that have waited long enough: unread messages are no
  -- older than the message right after the cursor, and everyone whose cursor is at the same place shares that one
  -- lookup. If that message is the person's own, or has a time in the future, it says nothing about those after it.
  -- Only for these is it worthwhile to find out what is really unread.
  where u.id = any (array(
      select m.user_id
      from (
        select s.user_id, m.sender, m.sent_at
        from headway.subscription s
        join headway.channel c on c.name = s.channel and c.last_seq > greatest(s.read_seq, s.mailed_seq)
        cross join lateral (
          select m.sender, m.sent_at
          from headway.message m
          where m.channel = s.channel and m.seq = greatest(s.read_seq, s.mailed_seq) + 1
          offset 0
        ) m
        where not s.muted
        offset 0 -- or the planner would not remember what it has looked up
      ) m
      join headway.appuser w on w.id = m.user_id
      -- First compared with the shortest delay that anybody has, before anyone's own delay is looked up. It is taken as
      -- nine tenths, since months differ in length.
      where (
          m.sender = m.user_id or m.sent_at > now()
          or m.sent_at <= (
            select due_digests.at - 0.9 * least(min(i.digest_after), headway.setting('digest_after')::interval) from headway.appuser i
          )
        )
        and (
          m.sender = m.user_id or m.sent_at > now()
          or m.sent_at + coalesce(w.digest_after, (select headway.setting('digest_after')::interval)) <= due_digests.at
        )
    ))
    and p.takes_mail
    and n.oldest_at + p.digest_after <= due_digests.at
    and (p.not_before is null or p.not_before <= due_digests.at)
    and not headway.is_quiet(u.quiet_from, u.quiet_until, u.time_zone, due_digests.at)
    and not exists (select from headway.digest d where d.user_id = u.id and d.state in ('reserved', 'sending'))
$$;
comment on function headway.due_digests(timestamptz) is
  'Who would get a digest at a given moment, if nothing were read or said until then: select * from headway.due_digests(); select * from headway.due_digests(now() + interval ''3 hours''). due_at is when the delay has passed; headway.explain_digest() also says what the minimum gap and quiet hours add to it.';

create function headway.reserve(user_ids bigint[], by_hand boolean default false) returns integer
language sql
volatile
as $$
  with
    wanted as (
      select n.user_id, n.channel, n.from_seq, n.through_seq
      from headway.unmailed n
      where n.user_id = any (reserve.user_ids)
    ),
    free as (
      select s.user_id, s.channel
      from wanted w
      -- Each by its whole key: a plan for few per person would compare all that somebody wants with all that they have.
      cross join lateral (
        select s.user_id, s.channel
        from headway.subscription s
        where s.user_id = w.user_id and s.channel = w.channel
        for no key update skip locked
      ) s
      join headway.channel c on c.name = s.channel
      join headway.appuser u on u.id = s.user_id
      order by s.user_id, s.channel
      -- This never waits for a cursor that is being moved, a channel that is being deleted or a person who is being
      -- changed, for example forgotten; and whoever does those things never waits for anyone who waits here.
      for key share of c skip locked
      for share of u skip locked
    ),
    item as (
      -- All of a person's messages or none: the rest alone may not have waited long enough.
      select w.user_id, w.channel, w.from_seq, w.through_seq
      from wanted w
      where w.user_id not in (
        select b.user_id
        from wanted b
        where not exists (select from free f where f.user_id = b.user_id and f.channel = b.channel)
      )
    ),
    digest as (
      insert into headway.digest (user_id, by_hand)
      select i.user_id, reserve.by_hand from (select distinct i.user_id from item i) i order by i.user_id
      returning id, user_id
    ),
    items as (
      insert into headway.digest_item (digest_id, channel, from_seq, through_seq)
      select d.id, i.channel, i.from_seq, i.through_seq
      from item i
      join digest d on d.user_id = i.user_id
    ),
    mailed as (
      update headway.subscription s
      set mailed_seq = i.through_seq
      from item i
      -- Somebody may have moved it past that.
      where s.channel = i.channel and s.user_id = i.user_id and s.mailed_seq < i.through_seq
    )
  select count(*)::integer from digest
$$;
comment on function headway.reserve(bigint[], boolean) is
  'Writes a digest of everything unread and unmailed for each of these people and returns how many; anyone who is being changed at the moment, or whose cursor is being moved, is left for the next time. The caller holds the lock that serializes reservations.';

create function headway.reserve_digests(max_digests integer default 1000) returns integer
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  -- One reservation at a time: the next must see what this one has taken.
  perform pg_advisory_xact_lock(headway.lock_key('reserve'));
  return headway.reserve(array(
    select d.user_id from headway.due_digests() d order by d.due_at, d.user_id limit reserve_digests.max_digests
  ));
end
$$;
comment on function headway.reserve_digests(integer) is
  'Reserves digests for those who are due now, the longest waiting first, and returns how many. Nothing is sent yet; reserved messages are in no other digest. max_digests limits a batch.';

create function headway.reserve_digest(user_id bigint) returns bigint
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_why text;
begin
  perform headway.check_people(array[reserve_digest.user_id]);
  perform pg_advisory_xact_lock(headway.lock_key('reserve'));
  select headway.why_no_mail(u) into v_why from headway.appuser u where u.id = reserve_digest.user_id;
  if v_why is not null then
    raise exception 'person % gets no mail: %', reserve_digest.user_id, v_why using
      errcode = 'object_not_in_prerequisite_state',
      hint = format('select * from headway.explain_digest(%s) says why.', reserve_digest.user_id);
  end if;
  if headway.reserve(array[reserve_digest.user_id], by_hand => true) = 0 then
    if exists (select from headway.unmailed n where n.user_id = reserve_digest.user_id) then
      raise exception 'person %, or what they have read, is being changed just now', reserve_digest.user_id using
        errcode = 'lock_not_available',
        hint = 'Call it again.';
    end if;
    raise exception 'person % has nothing unread that is not in a digest yet', reserve_digest.user_id using
      errcode = 'no_data_found',
      hint = format('select * from headway.explain_digest(%s) says what they have.', reserve_digest.user_id);
  end if;
  return (select max(d.id) from headway.digest d where d.user_id = reserve_digest.user_id and d.state = 'reserved');
end
$$;
comment on function headway.reserve_digest(bigint) is
  'Reserves a digest for one person now, regardless of the delay, the gap and quiet hours, and returns its id; the next run of a worker sends it. For trying out mail: select headway.reserve_digest(2). Errors: object_not_in_prerequisite_state, no_data_found, lock_not_available.';

create function headway.retry_digest(digest_id bigint) returns boolean
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  update headway.digest d
  set state = 'reserved', attempts = 0, next_attempt_at = now(), claimed_by = null, lease_until = null, error = null,
    -- A mail that a server may have taken is sent again unchanged; a refused one is rendered again, for the current
    -- address.
    mail = case when d.unknown_at is not null then d.mail end,
    recipient = case when d.unknown_at is not null then d.recipient end
  where d.id = retry_digest.digest_id and d.state in ('failed', 'held', 'cancelled');
  if found then
    return true;
  elsif not exists (select from headway.digest d where d.id = retry_digest.digest_id) then
    raise exception 'there is no digest %', retry_digest.digest_id using
      errcode = 'no_data_found',
      hint = 'select id, user_id, state from headway.digest lists them; finished ones go after the setting digest_keep.';
  end if;
  return false;
end
$$;
comment on function headway.retry_digest(bigint) is
  'Queues a digest that failed, is held or was cancelled to be sent again, without what was read in the meantime. True: it will be, unless the person no longer takes mail; false: it was in no such state. Errors: no_data_found.';

create function headway.resume_mail(user_id bigint) returns boolean
language plpgsql
as $$
begin
  update headway.appuser u
  set mail_suspended_at = null, mail_suspended_reason = null
  where u.id = resume_mail.user_id and u.mail_suspended_at is not null;
  if found then
    return true;
  end if;
  perform headway.check_people(array[resume_mail.user_id]);
  return false;
end
$$;
comment on function headway.resume_mail(bigint) is
  'Lifts the suspension of a person''s address. True: it was suspended. Messages in a failed digest stay there: headway.retry_digest(id). Errors: no_data_found.';

create function headway.unsubscribe(token uuid) returns boolean
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  update headway.appuser u
  set mail_suspended_at = coalesce(u.mail_suspended_at, now()),
    -- Even in place of what a server once said: whoever considers lifting the suspension should know.
    mail_suspended_reason = 'unsubscribed by the link in a digest'
  where u.id = (select d.user_id from headway.digest d where d.token = unsubscribe.token);
  return found;
end
$$;
comment on function headway.unsubscribe(uuid) is
  'Stops the digests of the recipient of the one with this token (RFC 8058). True: there is such a digest; calling it again changes nothing.';

create function headway.prune_digests() returns bigint
language sql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
  delete from headway.digest_run r where r.finished_at < now() - headway.setting('digest_keep')::interval;
  with pruned as (
    delete from headway.digest d
    -- The next digest keeps its distance from the last one, which must still be there for that.
    where coalesce(d.sent_at, d.created_at)
        < now() - greatest(headway.setting('digest_keep')::interval, headway.setting('digest_min_gap')::interval)
      and d.state in ('sent', 'read_before_sending', 'failed', 'cancelled')
    returning 1
  )
  select count(*) from pruned
$$;
comment on function headway.prune_digests() is 'Deletes finished digests older than the setting digest_keep, or digest_min_gap if that is longer, and returns how many; workers call it after each run.';

create function headway.digest_run_finished(slot timestamptz) returns void
language sql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
  insert into headway.digest_run (slot) values (digest_run_finished.slot) on conflict do nothing
$$;
comment on function headway.digest_run_finished(timestamptz) is
  'Records that the digests due at a scheduled time have been reserved; several workers may record the same time.';
