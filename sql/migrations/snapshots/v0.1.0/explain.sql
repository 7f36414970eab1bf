create function headway.why_no_mail(person headway.appuser) returns text
language sql
stable
as $$
  select case
    when u.email is null then 'there is no address'
    when u.mail_suspended_at is not null then format(
      '%s has been suspended since %s (%s); select headway.resume_mail(%s) lifts it', u.email,
      to_char(u.mail_suspended_at at time zone headway.known_time_zone(u.time_zone), 'YYYY-MM-DD HH24:MI'), u.mail_suspended_reason, u.id
    )
  end
  from (select (why_no_mail.person).*) u
$$;
comment on function headway.why_no_mail(headway.appuser) is
  'Explains in words why a person gets no mail at all, and what to do about it; times are in their time zone. Null: they do get mail.';

create function headway.next_run(waits_since timestamptz, time_zone text) returns text
language sql
stable
as $$
  select 'with the next run of a worker' || case
    when not exists (select from headway.worker w where w.last_seen_at > now() - interval '1 minute') then ', but none is running'
    -- By then, three looks of the default schedule have passed.
    when next_run.waits_since < now() - interval '15 minutes' then
      ', but has waited since ' || to_char(next_run.waits_since at time zone next_run.time_zone, 'YYYY-MM-DD HH24:MI') || ': unless HEADWAY_DIGEST_SCHEDULE is that rare, the log of a worker, or headway doctor, says why'
    else ''
  end
$$;
comment on function headway.next_run(timestamptz, text) is
  'The words for something that happens with the next run of a worker; they add that no worker is running, or since when it has waited if a run should have come long ago. Times are in this time zone.';

create function headway.describe_digest(digest headway.digest, person headway.appuser) returns text
language sql
stable
as $$
  select format('digest %s, which ', d.id) || case d.state
    when 'reserved' then case
      when w.why is not null then 'will be dropped: ' || w.why
      when g.goes_out_at > now() then
        'will be ' || case when d.attempts > 0 then 'tried again at ' else 'sent at ' end || to_char(g.goes_out_at at time zone z.name, z.format)
        || case when g.goes_out_at > n.next_attempt_at then ', when quiet hours end' else '' end
      else 'goes out ' || headway.next_run(case
        when d.by_hand then d.next_attempt_at
        else headway.quiet_end(u.quiet_from, u.quiet_until, u.time_zone, d.next_attempt_at)
      end, z.name)
    end
    when 'sending' then 'is being sent'
    when 'sent' then 'was sent at ' || to_char(d.sent_at at time zone z.name, z.format)
    when 'read_before_sending' then 'was dropped: what was in it had been read or muted by then, or is no longer theirs to see'
    when 'held' then 'is held: nobody knows whether it arrived'
    else format('was not sent (%s)', d.state)
  end || coalesce(' (' || d.error || ')', '') || case
    when d.state in ('failed', 'held', 'cancelled') then '; ' || coalesce(
      w.why || '; after that, select headway.retry_digest(' || d.id || ') tries again', format('select headway.retry_digest(%s) tries again', d.id)
    )
    else ''
  end
  from (select (describe_digest.digest).*) d
  cross join (select (describe_digest.person).*) u
  cross join (select headway.why_no_mail(describe_digest.person) as why) w
  cross join lateral (select headway.known_time_zone(u.time_zone), 'YYYY-MM-DD HH24:MI') z (name, format)
  cross join lateral (select greatest(d.next_attempt_at, now())) n (next_attempt_at)
  cross join lateral (
    select case when d.by_hand then n.next_attempt_at else headway.quiet_end(u.quiet_from, u.quiet_until, u.time_zone, n.next_attempt_at) end
  ) g (goes_out_at)
$$;
comment on function headway.describe_digest(headway.digest, headway.appuser) is
  'Explains in words what became of a person''s digest, or when it will be sent; times are in their time zone.';

create function headway.explain_digest(user_id bigint)
returns table (channel text, unread integer, explanation text)
language plpgsql
stable
as $$
declare
  v_user headway.appuser;
  v_preference headway.mail_preference;
  v_digest headway.digest;
  v_oldest headway.unmailed;
  v_due_at timestamptz;
  v_at timestamptz;
  v_zone text;
  v_local_time text := 'YYYY-MM-DD HH24:MI';
  v_nothing text;
  v_person text;
  v_due text;
begin
  select u.* into v_user from headway.appuser u where u.id = explain_digest.user_id;
  if not found then
    perform headway.check_people(array[explain_digest.user_id]);
  end if;
  v_zone := headway.known_time_zone(v_user.time_zone);
  select p.* into v_preference from headway.mail_preference p where p.user_id = v_user.id;
  select d.* into v_digest
  from headway.digest d
  where d.user_id = v_user.id and d.state in ('reserved', 'sending')
  order by d.id desc
  limit 1;

  -- What keeps this person from getting any mail now, whatever the channel.
  v_nothing := 'no mail: ' || headway.why_no_mail(v_user);
  v_person := case
    when v_nothing is not null then v_nothing
    when v_digest.id is not null then 'waits for ' || headway.describe_digest(v_digest, v_user)
  end;

  -- The oldest message of all decides when, and all the others go with it.
  select n.* into v_oldest from headway.unmailed n where n.user_id = v_user.id order by n.oldest_at, n.channel limit 1;
  v_due_at := greatest(v_oldest.oldest_at + v_preference.digest_after, v_preference.not_before);
  v_at := headway.quiet_end(v_user.quiet_from, v_user.quiet_until, v_zone, greatest(v_due_at, now()));
  v_due := case
    when v_at <= now() then
      'mail is due now, ' || headway.next_run(headway.quiet_end(v_user.quiet_from, v_user.quiet_until, v_zone, v_due_at), v_zone)
    else 'mail is due at ' || to_char(v_at at time zone v_zone, v_local_time) || case
      when v_at > greatest(v_due_at, now()) then ', when quiet hours end'
      when v_due_at > v_oldest.oldest_at + v_preference.digest_after then ', digest_min_gap after the last one'
      else ''
    end
  end;

  return query
  select s.channel, coalesce(r.messages, 0),
    case
      when s.muted then 'no mail: the channel is muted'
      when n.channel is null and r.channel is null then
        coalesce('everything is read; the last of it was in ' || m.words, concat_ws('; ', 'everything is read', v_nothing))
      when n.channel is null and exists (
        select from headway.unread_message h where h.user_id = s.user_id and h.channel = s.channel and h.seq > s.mailed_seq
      ) then 'no mail: what is unread happened in a project that is gone, or that they have left'
      when n.channel is null then case when m.newest is false then 'some of what is unread is in ' else 'everything unread is in ' end || coalesce(m.words, 'a digest that is no longer on record')
      when v_person is not null then v_person
      else format(
        '%s (%s; unread since %s%s, delay %s)', v_due,
        v_zone || case when v_zone <> v_user.time_zone then format(', since the time zone %s is not known', v_user.time_zone) else '' end,
        to_char(n.oldest_at at time zone v_zone, v_local_time),
        case
          when n.channel <> v_oldest.channel
            then format(', along with %s since %s', v_oldest.channel, to_char(v_oldest.oldest_at at time zone v_zone, v_local_time))
        end,
        v_preference.digest_after
      )
    end
  from headway.subscription s
  -- Offset 0: each is looked up by itself, rather than all of them compared with all subscriptions.
  left join lateral (
    select r.channel, r.messages from headway.unread r where r.user_id = s.user_id and r.channel = s.channel offset 0
  ) r on true
  left join lateral (
    select n.channel, n.oldest_at from headway.unmailed n where n.user_id = s.user_id and n.channel = s.channel offset 0
  ) n on true
  left join lateral (
    select headway.describe_digest(d, v_user) as words, d.id = max(d.id) over () as newest
    from headway.digest_item i
    join headway.digest d on d.id = i.digest_id
    where i.channel = s.channel and d.user_id = s.user_id
    -- First the ones that somebody has to retry.
    order by d.state in ('failed', 'held', 'cancelled') and i.through_seq > s.read_seq desc, d.id desc
    limit 1
  ) m on true
  where s.user_id = v_user.id
  order by s.channel;
end
$$;
comment on function headway.explain_digest(bigint) is
  'Explains in words, per channel, why a digest was sent, was not, or when it will be; times are in the person''s time zone. select * from headway.explain_digest(2). Errors: no_data_found.';
