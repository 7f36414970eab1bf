create view headway.digest_message with (security_invoker) as
select d.id as digest_id, d.user_id, m.id, m.sender, m.channel, m.seq, m.kind, m.content, m.task_id, m.data, m.sent_at,
  p.project_id
from headway.digest d
join headway.digest_item i on i.digest_id = d.id
-- First the one channel and the one subscription of each item, whatever row estimate the planner has: otherwise all
-- channels may be read for a few, and each range once for all of the person's subscriptions.
cross join lateral (
  select c.project_id from headway.channel c where c.name = i.channel offset 0
) c
cross join lateral (
  select s.*
  from headway.subscription s
  where s.channel = i.channel and s.user_id = d.user_id and not s.muted
  offset 0
) s
-- The person's own part of each channel, whatever the estimates for its readers and messages.
cross join lateral (
  select m.*
  from headway.message m
  where m.channel = i.channel and m.seq between greatest(i.from_seq, s.read_seq + 1) and i.through_seq
    and coalesce(m.sender <> s.user_id, true)
    and not exists (
      select from headway.seen e where e.channel = s.channel and e.user_id = s.user_id and e.seq = m.seq
    )
  offset 0
) m
cross join lateral (
  select coalesce(c.project_id, (
    select b.project_id
    from headway.member b
    where b.user_id = d.user_id and b.project_id = headway.id_in(m.data, 'project_id')
  )) as project_id
  offset 0
) p
-- Activity in a project that was deleted, or that the person has left, no longer concerns them.
where m.kind = 'chat' or p.project_id is not null or headway.id_in(m.data, 'project_id') is null;
comment on view headway.digest_message is 'What a digest is about and its recipient has still not read: select * from headway.digest_message where digest_id = 1.';

create function headway.bar_since(project_id bigint, user_id bigint, role text, at timestamptz)
returns table (done_before bigint, done bigint, total bigint)
language plpgsql
stable
rows 1
set jit = off
as $$
declare
  v_customers bigint;
  v_gained bigint;
begin
  -- The current bar, minus what counts now and did not then: the few completions since, however much was done before.
  if bar_since.role = 'customer' then
    select b.done, b.total into bar_since.done, bar_since.total
    from headway.current_bar(bar_since.project_id, bar_since.user_id) b;
    select sum(t.weight) into v_gained
    from headway.task t
    cross join lateral (
      select case
        when t.shared then (select min(c.completed_at) from headway.completion c where c.task_id = t.id)
        else (select c.completed_at from headway.completion c where c.task_id = t.id and c.user_id = bar_since.user_id)
      end as at
    ) f
    where t.project_id = bar_since.project_id and f.at > bar_since.at
      and (
        t.audience = 'everyone'
        or exists (select from headway.assignment a where a.task_id = t.id and a.user_id = bar_since.user_id)
      );
  else
    -- All the customers' bars, summed.
    select g.customers, g.done, g.total into v_customers, bar_since.done, bar_since.total
    from headway.project_progress g
    where g.project_id = bar_since.project_id;
    select sum(t.weight * f.customers) into v_gained
    from headway.task t
    cross join lateral (
      select case
        -- First the time, then whether they are a customer: thousands may have completed it, but few since then.
        when not t.shared then (
          select count(*)
          from (
            select c.user_id from headway.completion c where c.task_id = t.id and c.completed_at > bar_since.at offset 0
          ) c
          where exists (
              select from headway.member m
              where m.project_id = t.project_id and m.user_id = c.user_id and m.role = 'customer'
              offset 0
            )
            and (
              t.audience = 'everyone'
              or exists (select from headway.assignment a where a.task_id = t.id and a.user_id = c.user_id offset 0)
            )
        )
        when (select min(c.completed_at) from headway.completion c where c.task_id = t.id) > bar_since.at is not true then 0
        when t.audience = 'everyone' then v_customers
        else (
          select count(*)
          from headway.assignment a
          join headway.member o on o.project_id = t.project_id and o.user_id = a.user_id and o.role = 'customer'
          where a.task_id = t.id
        )
      end as customers
    ) f
    where t.project_id = bar_since.project_id;
  end if;
  bar_since.done_before := bar_since.done - coalesce(v_gained, 0);
  return next;
end
$$;
comment on function headway.bar_since(bigint, bigint, text, timestamptz) is
  'A customer''s bar or, for staff, the sum of all the customers'' bars: done before the completions after a given moment, and done and total now.';

create function headway.digest_content(digest_id bigint) returns json
language plpgsql
stable
-- Planning takes longer than running: plpgsql keeps one plan for all the digests of a session.
set plan_cache_mode = force_generic_plan
set jit = off
as $$
begin
  return (
    with
      digest as (
        select d.id, d.token, d.user_id, u.fullname, u.email, u.time_zone
        from headway.digest d
        join headway.appuser u on u.id = d.user_id
        where d.id = digest_content.digest_id
      ),
      said as (
        select m.project_id, m.channel, m.seq, m.id, m.kind, m.sender, m.task_id, headway.id_in(m.data, 'user_id') as user_id, m.sent_at
        from headway.digest_message m
        where m.digest_id = digest_content.digest_id
      ),
      -- One line for everything that one person completed in a project, and one for each other message.
      line as (
        select s.project_id, 'task_completed' as kind, null as channel, s.sender, count(*) as messages,
          (array_agg(s.id order by s.seq))[:5] as ids, max(s.sent_at) as sent_at, null::bigint as task_id
        from said s
        where s.kind = 'task_completed'
        group by s.project_id, s.sender
        union all
        select s.project_id, s.kind, s.channel, s.sender, 1, array[s.id], s.sent_at, s.task_id
        from said s
        where s.kind <> 'task_completed'
      ),
      shown as (
        select l.number, l.project_id, l.kind, l.channel, l.messages, l.sent_at, l.task_id, w.titles, w.content, w.reason,
          (select u.fullname from headway.appuser u where u.id = l.sender) as sender
        from (
          select l.*,
            row_number() over (order by l.project_id nulls last, l.kind = 'chat', l.channel, l.sent_at) as number,
            -- If there are too many, what is shown is the first of everything, then the second of everything ...
            row_number() over (order by l.turn, l.project_id nulls last, l.kind = 'chat', l.channel) as choice
          from (select l.*, row_number() over (partition by l.project_id, l.channel order by l.sent_at) as turn from line l) l
        ) l
        -- The text only of what is shown, and one character or title more than fits, which tells that there is more.
        cross join lateral (
          select array_agg(left(m.data ->> 'title', 500) order by m.seq) filter (where m.data ->> 'title' is not null) as titles,
            max(left(m.content, 501)) filter (where m.kind = 'chat') as content,
            max(left(m.data ->> 'reason', 501)) filter (where m.kind = 'task_reopened') as reason
          from headway.message m
          where m.id = any (l.ids)
        ) w
        where l.choice <= (select headway.setting('digest_max_items')::bigint)
      ),
      since as (
        -- The last moment before any of it happened. A completion is older than its message by the length of its
        -- transaction and the worker's sleep; a completion that was backdated far into the past is not that old.
        select min(least(s.sent_at, case when s.kind = 'task_completed' then (
            select greatest(c.completed_at, s.sent_at - interval '1 day')
            from headway.completion c
            where c.task_id = s.task_id and c.user_id = s.user_id
          ) end)) - interval '1 microsecond' as at
        from said s
      ),
      project as (
        select p.id, p.name, b.role, g.done, g.total, g.done_before
        from (select distinct w.project_id from shown w) w
        join headway.project p on p.id = w.project_id
        cross join digest d
        join headway.member b on b.project_id = p.id and b.user_id = d.user_id
        cross join since a
        cross join lateral headway.bar_since(p.id, d.user_id, b.role, a.at) g
      )
    select json_build_object(
      'digest_id', d.id,
      'token', d.token,
      'user_id', d.user_id,
      'name', d.fullname,
      'email', d.email,
      'time_zone', d.time_zone,
      'since', (select min(s.sent_at) from said s),
      'counts', (
        select json_build_object(
          'chat', count(*) filter (where s.kind = 'chat'),
          'completed', count(*) filter (where s.kind = 'task_completed'),
          'reopened', count(distinct s.task_id) filter (where s.kind = 'task_reopened'),
          'assigned', count(*) filter (where s.kind = 'task_assigned')
        )
        from said s
      ),
      'more', (select count(*) from said s) - (select coalesce(sum(w.messages), 0) from shown w),
      'projects', (
        select coalesce(json_agg(json_build_object(
          'project_id', g.project_id,
          'name', p.name,
          'role', p.role,
          'from', json_build_object('done', b.done_before, 'total', b.total, 'percent', headway.percent(b.done_before, b.total)),
          'to', json_build_object('done', b.done, 'total', b.total, 'percent', headway.percent(b.done, b.total)),
          'lines', g.lines
        ) order by g.project_id nulls last), '[]')
        from (
          select w.project_id, json_agg(json_build_object(
            'kind', w.kind,
            'channel', w.channel,
            'sender', w.sender,
            'messages', w.messages,
            'titles', w.titles,
            'content', w.content,
            'reason', w.reason,
            'sent_at', w.sent_at,
            'task_id', w.task_id
          ) order by w.number) as lines
          from shown w
          group by w.project_id
        ) g
        left join project p on p.id = g.project_id
        cross join lateral (
          select coalesce(p.done_before, 0) as done_before, coalesce(p.done, 0) as done, coalesce(p.total, 0) as total
        ) b
      )
    )
    from digest d
  );
end
$$;
comment on function headway.digest_content(bigint) is
  'What a digest has to say now, as JSON: the person and, per project, the progress from (at the oldest unread message) and to (now) and the lines, at most digest_max_items of them, some of each channel and of what was completed in each project, and how many more there are.';

create function headway.digests_to_send() returns integer
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
  select count(*)::integer
  from headway.digest d
  -- The same conditions as in headway.claim_digest(), which must have them on the row that it locks.
  where d.state = 'reserved' and d.next_attempt_at <= now() and (d.lease_until is null or d.lease_until < now())
    or d.state = 'sending' and d.lease_until < now()
$$;
comment on function headway.digests_to_send() is 'How many digests headway.claim_digest() could hand out now.';

create function headway.still_told(digest headway.digest) returns boolean
language plpgsql
stable
as $$
begin
  return not exists (
    select from unnest((still_told.digest).channels) a (channel)
    where not exists (
      select from headway.subscription s
      where s.channel = a.channel and s.user_id = (still_told.digest).user_id and not s.muted
    )
  ) and not exists (
    select from unnest((still_told.digest).projects) p (id)
    where not exists (
      select from headway.member b
      where b.project_id = p.id and b.user_id = (still_told.digest).user_id
    )
  );
end
$$;
comment on function headway.still_told(headway.digest) is
  'Whether a digest''s mail, as it was rendered, may still be sent to its recipient: they are subscribed to every channel whose messages it includes, have muted none of these, and are a member of every project that it reports on.';

create function headway.claim_digest(worker_id uuid, lease interval default '5 minutes') returns json
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
-- As in headway.digest_content(): planning takes longer than running, and each session would plan five times before it
-- keeps a plan.
set plan_cache_mode = force_generic_plan
set jit = off
as $$
declare
  v_last text[] := string_to_array(nullif(current_setting('headway.claimed', true), ''), ' ');
  v_from timestamptz := coalesce(to_timestamp(v_last[1]::double precision), '-infinity');
  v_from_id bigint := coalesce(v_last[2]::bigint, 0);
  v_waiting refcursor;
  v_digest headway.digest;
  v_claimed json;
  v_ended integer;
begin
  if claim_digest.worker_id is null or not coalesce(claim_digest.lease > interval '0', false) then
    raise exception 'worker % cannot claim a digest for %', coalesce(claim_digest.worker_id::text, 'null'), coalesce(claim_digest.lease::text, 'null') using
      errcode = 'invalid_parameter_value',
      hint = 'Say who claims it and for how long, more than zero: select headway.claim_digest(gen_random_uuid(), ''5 minutes'').';
  end if;
  -- A hundred at a time: a query for each one would step over all those that this call has ended, and a query for all of
  -- them would sort them first. From where this session claimed last, and from the beginning once nothing is left there:
  -- as long as any transaction is old enough to see them, such as a backup, the index keeps all that were sent since.
  loop
    open v_waiting for
      select d.*
      from headway.digest d
      where (d.next_attempt_at, d.id) >= (v_from, v_from_id)
        and (
          d.state = 'reserved' and d.next_attempt_at <= now() and (d.lease_until is null or d.lease_until < now())
          or d.state = 'sending' and d.lease_until < now()
        )
      order by d.next_attempt_at, d.id
      limit 100
      for update skip locked;
    v_ended := 0;
    loop
      fetch v_waiting into v_digest;
      exit when not found;
      v_claimed := headway.try_claim(v_digest, claim_digest.worker_id, claim_digest.lease);
      exit when v_claimed is not null;
      v_ended := v_ended + 1;
    end loop;
    close v_waiting;
    if v_claimed is not null then
      perform set_config('headway.claimed', extract(epoch from v_digest.next_attempt_at) || ' ' || v_digest.id, false);
      return v_claimed;
    elsif v_ended = 0 and v_from_id = 0 then
      return null;
    elsif v_ended = 0 then
      v_from := '-infinity';
      v_from_id := 0;
    end if;
  end loop;
end
$$;
comment on function headway.claim_digest(uuid, interval) is
  'Gives one digest to a worker for the length of the lease, and returns its content, as from headway.digest_content(), to be rendered and frozen. What was read since it was reserved is left out; a digest of which nothing remains is dropped. If its mail was frozen before, the result has the address and, as "mail", the same bytes in base64; but if no server can have taken them, and the address has changed or the person has left or muted a channel, or left a project, that the mail covers, it is rendered again. No attempt is begun yet: headway.freeze_digest() does that, and headway.release_digest() gives the digest back. A session takes one digest after another, and those before its last one when no others are left. Null: there is nothing to send now. Errors: invalid_parameter_value.';

create function headway.try_claim(digest headway.digest, worker_id uuid, lease interval) returns json
language plpgsql
as $$
declare
  v_user headway.appuser;
  v_channels text[];
  v_projects bigint[];
  v_content json;
begin
  select u.* into v_user from headway.appuser u where u.id = try_claim.digest.user_id;
  if try_claim.digest.state = 'sending' then
    -- Its worker vanished while sending.
    update headway.digest d set unknown_at = now() where d.id = try_claim.digest.id;
  end if;
  if try_claim.digest.state = 'sending' and headway.setting('digest_when_unknown') = 'hold' then
    -- At most once means that nobody retries.
    perform headway.close_digest(try_claim.digest.id, 'held', 'the worker vanished while sending');
  elsif not exists (select from headway.mail_preference p where p.user_id = try_claim.digest.user_id and p.takes_mail) then
    perform headway.close_digest(try_claim.digest.id, 'cancelled', 'the person gets no mail any more');
  elsif not exists (select from headway.digest_message m where m.digest_id = try_claim.digest.id) then
    perform headway.close_digest(try_claim.digest.id, 'read_before_sending', null);
  elsif try_claim.digest.attempts >= headway.setting('digest_max_attempts')::integer then
    perform headway.close_digest(try_claim.digest.id, 'failed', concat_ws(': ', format('given up after %s attempts', try_claim.digest.attempts), try_claim.digest.error));
  elsif not try_claim.digest.by_hand and headway.is_quiet(v_user.quiet_from, v_user.quiet_until, v_user.time_zone, now()) then
    -- Quiet hours began before it was sent.
    update headway.digest d
    set state = 'reserved', claimed_by = null, lease_until = null,
      next_attempt_at = headway.quiet_end(v_user.quiet_from, v_user.quiet_until, v_user.time_zone, now())
    where d.id = try_claim.digest.id;
  elsif try_claim.digest.mail is null or try_claim.digest.state = 'reserved' and try_claim.digest.unknown_at is null and (
    -- No server has taken it: it need not go to an outdated address, nor report what no longer concerns the person or
    -- is now muted.
    try_claim.digest.recipient <> v_user.email or not headway.still_told(try_claim.digest)
  ) then
    -- One digest that cannot be rendered must not hold up all the others.
    begin
      -- Read before the content: what the person loses access to in the meantime is not sent to them.
      v_channels := array(
        select i.channel
        from headway.digest_item i
        join headway.subscription s on s.channel = i.channel and s.user_id = try_claim.digest.user_id and not s.muted
        where i.digest_id = try_claim.digest.id
      );
      v_projects := array(select b.project_id from headway.member b where b.user_id = try_claim.digest.user_id);
      v_content := headway.digest_content(try_claim.digest.id);
      -- What a worker cannot read, as in a database that is not in UTF8, fails here and not while it is on its way.
      perform convert_to(v_content::text, 'UTF8');
      if json_array_length(v_content -> 'projects') > 0 then
        update headway.digest d
        set claimed_by = try_claim.worker_id, lease_until = now() + try_claim.lease, recipient = null, mail = null,
          channels = v_channels,
          projects = array(
            select b.project_id
            from json_array_elements(v_content -> 'projects') p (project)
            join unnest(v_projects) b (project_id) on b.project_id = (p.project ->> 'project_id')::bigint
          )
        where d.id = try_claim.digest.id;
        return v_content;
      end if;
      -- The last of it was read between the check above and this one.
      perform headway.close_digest(try_claim.digest.id, 'read_before_sending', null);
    exception
      when query_canceled then
        -- It took longer than its worker waits, and will again: the others go first, and it is on record what holds it up.
        update headway.digest d set next_attempt_at = now() + interval '1 hour', error = sqlerrm where d.id = try_claim.digest.id;
      when transaction_rollback or lock_not_available or operator_intervention or system_error then
        raise; -- it is retried, and nothing is wrong with the digest
      when insufficient_resources then
        -- This passes too. Until then, this digest alone may need too many resources: the others go first.
        update headway.digest d set next_attempt_at = now() + interval '1 minute', error = sqlerrm where d.id = try_claim.digest.id;
      when others then
        perform headway.close_digest(try_claim.digest.id, 'failed', sqlerrm);
    end;
  else
    -- A retry: the bytes stay the same.
    update headway.digest d
    set state = 'reserved', claimed_by = try_claim.worker_id, lease_until = now() + try_claim.lease
    where d.id = try_claim.digest.id;
    return json_build_object('digest_id', try_claim.digest.id, 'email', try_claim.digest.recipient, 'mail', encode(try_claim.digest.mail, 'base64'));
  end if;
  return null;
end
$$;
comment on function headway.try_claim(headway.digest, uuid, interval) is
  'Claims this digest as headway.claim_digest() does, or ends or postpones it and returns null if there is nothing to send now. The caller holds its row lock.';

create function headway.close_digest(digest_id bigint, state text, error text) returns text
language plpgsql
as $$
begin
  update headway.digest d
  set state = close_digest.state, claimed_by = null, lease_until = null,
    sent_at = case when close_digest.state = 'sent' then now() end,
    -- A person with no address any more may have been forgotten during the attempt: neither their mail nor what a
    -- server said about them is kept. Whoever is about to forget them locks the digest, as does whoever calls this.
    error = case when u.email is not null or close_digest.state = 'cancelled' then close_digest.error end,
    recipient = case when u.email is not null then d.recipient end,
    mail = case when u.email is not null then d.mail end
  from headway.appuser u
  where d.id = close_digest.digest_id and u.id = d.user_id;
  return close_digest.state;
end
$$;
comment on function headway.close_digest(bigint, text, text) is 'Ends a digest in this state, which it returns; erases its mail if the person no longer has an address. The caller holds the digest''s row lock.';

create function headway.release_digest(digest_id bigint, worker_id uuid) returns boolean
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  update headway.digest d
  set claimed_by = null, lease_until = null
  where d.id = release_digest.digest_id and d.claimed_by = release_digest.worker_id and d.state = 'reserved';
  return found;
end
$$;
comment on function headway.release_digest(bigint, uuid) is
  'Gives back a claimed digest for which no attempt was begun. True: others can claim it now. False: the caller no longer holds it.';

create function headway.freeze_digest(
  digest_id bigint, worker_id uuid, recipient text, mail bytea, lease interval default '5 minutes'
) returns boolean
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  -- What is on record stays as it is, and what is not must be supplied.
  update headway.digest d
  set state = 'sending', attempts = d.attempts + 1, lease_until = now() + freeze_digest.lease,
    recipient = coalesce(freeze_digest.recipient, d.recipient), mail = coalesce(freeze_digest.mail, d.mail)
  from headway.mail_preference p
  join headway.appuser u on u.id = p.user_id
  where d.id = freeze_digest.digest_id and d.claimed_by = freeze_digest.worker_id
    and d.state = 'reserved' and d.lease_until > now()
    and (d.mail is null) = (freeze_digest.mail is not null) and (d.mail is null) = (freeze_digest.recipient is not null)
    and p.user_id = d.user_id and p.takes_mail
    -- A mail rendered in the meantime must be for the current address, and include only what the person may still read.
    and (d.mail is not null or u.email = freeze_digest.recipient and headway.still_told(d));
  return found;
end
$$;
comment on function headway.freeze_digest(bigint, uuid, text, bytea, interval) is
  'Records an attempt together with the exact mail or, with recipient and mail null, with the bytes frozen before; to be committed before any mail server is contacted. The lease starts again now. False: the lease ran out, or the person no longer takes mail, has another address, or has left or muted a channel, or left a project, that the mail covers; do not send.';

create function headway.digest_sent(digest_id bigint) returns boolean
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_digest headway.digest;
begin
  -- Whoever reports it, and however late: a server took it.
  select d.* into v_digest from headway.digest d where d.id = digest_sent.digest_id and d.state <> 'sent' for update;
  if v_digest.mail is not null or v_digest.attempts > 0 then
    perform headway.close_digest(digest_sent.digest_id, 'sent', null);
    return true;
  elsif v_digest.state = 'reserved' then
    raise exception 'digest % cannot have been sent: no attempt was begun', digest_sent.digest_id using
      errcode = 'object_not_in_prerequisite_state',
      hint = 'Between claim_digest() and the mail server comes headway.freeze_digest(), which records the attempt and the mail.';
  end if;
  return false;
end
$$;
comment on function headway.digest_sent(bigint) is
  'Records that a mail server took a digest that headway.freeze_digest() froze. True: it had not been recorded before. False: it had, or the digest has ended without an attempt, or does not exist. Errors: object_not_in_prerequisite_state.';

create function headway.digest_failed(digest_id bigint, worker_id uuid, outcome text, error text) returns text
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_digest headway.digest;
begin
  if not coalesce(digest_failed.outcome in ('retry', 'refused', 'rejected', 'unknown'), false) then
    raise exception 'a digest cannot fail with the outcome "%"', coalesce(digest_failed.outcome, 'null') using
      errcode = 'invalid_parameter_value',
      hint = 'retry: not accepted, try again later. refused: the address is no good. rejected: this mail is no good. unknown: nobody knows whether it was accepted.';
  end if;
  if digest_failed.outcome = 'refused' then
    -- The person before the digest, in the order used when they are forgotten or deleted.
    perform from headway.appuser u
    where u.id = (select d.user_id from headway.digest d where d.id = digest_failed.digest_id)
    for no key update;
  end if;
  -- Only the worker that holds it can report this; after its lease, another worker may hold it.
  select d.* into v_digest
  from headway.digest d
  where d.id = digest_failed.digest_id and d.claimed_by = digest_failed.worker_id and d.state in ('reserved', 'sending')
  for update;
  if not found then
    return (select d.state from headway.digest d where d.id = digest_failed.digest_id);
  end if;

  if digest_failed.outcome = 'unknown' then
    update headway.digest d set unknown_at = now() where d.id = v_digest.id;
    if headway.setting('digest_when_unknown') = 'hold' then
      return headway.close_digest(v_digest.id, 'held', digest_failed.error);
    end if;
  elsif digest_failed.outcome = 'refused' then
    update headway.appuser u
    set mail_suspended_at = now(), mail_suspended_reason = coalesce(digest_failed.error, 'refused, without a word')
    where u.id = v_digest.user_id and u.email = v_digest.recipient and u.mail_suspended_at is null;
  end if;
  if digest_failed.outcome in ('refused', 'rejected') then
    return headway.close_digest(v_digest.id, 'failed', digest_failed.error);
  elsif v_digest.attempts >= headway.setting('digest_max_attempts')::integer then
    return headway.close_digest(v_digest.id, 'failed', concat_ws(': ', format('given up after %s attempts', v_digest.attempts), digest_failed.error));
  elsif exists (select from headway.appuser u where u.id = v_digest.user_id and u.email is null) then
    -- They were forgotten during the attempt.
    return headway.close_digest(v_digest.id, 'cancelled', null);
  end if;
  update headway.digest d
  set state = 'reserved', error = digest_failed.error, claimed_by = null, lease_until = null,
    -- One minute, doubled each time up to four hours, plus or minus a quarter to spread the attempts.
    next_attempt_at = now() + least(interval '1 minute' * power(2, least(d.attempts, 10) - 1), interval '4 hours') * (0.75 + random() / 2)
  where d.id = v_digest.id;
  return 'reserved';
end
$$;
comment on function headway.digest_failed(bigint, uuid, text, text) is
  'Records why a digest was not sent and returns its new state. outcome retry: tried again with growing delay, or cancelled if the person no longer has an address. refused: failed, and the address is suspended with the error as the reason. rejected: failed. unknown: as the setting digest_when_unknown says. Errors: invalid_parameter_value.';
