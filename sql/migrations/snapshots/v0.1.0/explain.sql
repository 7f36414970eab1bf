create function headway.explain_digest(user_id bigint)
returns table (channel text, unread integer, explanation text)
language plpgsql
stable
as $$
declare
  v_user headway.appuser;
  v_preference headway.mail_preference;
  v_digest headway.digest;
  v_local_time text := 'YYYY-MM-DD HH24:MI';
  v_person text;
begin
  select u.* into v_user from headway.appuser u where u.id = explain_digest.user_id;
  if not found then
    raise exception 'there is no person %', explain_digest.user_id using
      errcode = 'no_data_found',
      hint = 'select id, fullname from headway.appuser lists them.';
  end if;
  select p.* into v_preference from headway.mail_preference p where p.user_id = v_user.id;
  select d.* into v_digest
  from headway.digest d
  where d.user_id = v_user.id and d.state in ('reserved', 'sending')
  order by d.id desc
  limit 1;

  -- What keeps this person from getting anything now, whatever the channel.
  v_person := case
    when v_user.email is null then 'no mail: there is no address'
    when v_user.mail_suspended_at is not null then format(
      'no mail: %s is suspended since %s (%s); select headway.resume_mail(%s) lifts it',
      v_user.email, to_char(v_user.mail_suspended_at at time zone v_user.time_zone, v_local_time), v_user.mail_suspended_reason, v_user.id
    )
    when v_digest.state = 'sending' then format('waits until digest %s, which is being sent, is done', v_digest.id)
    when v_digest.state = 'reserved' then format(
      'waits until digest %s is done, which is to be tried %s', v_digest.id,
      case
        when v_digest.next_attempt_at > now()
          then 'again at ' || to_char(v_digest.next_attempt_at at time zone v_user.time_zone, v_local_time)
            || coalesce(' (' || v_digest.error || ')', '')
        else 'at the next run of a worker'
      end
    )
  end;

  return query
  select s.channel, coalesce(r.messages, 0),
    case
      when s.muted then 'no mail: the channel is muted'
      when n.channel is null and r.channel is null then coalesce('everything is read; the last of it was in ' || m.words, 'everything is read')
      when n.channel is null then 'everything unread has been in ' || m.words
      when v_person is not null then v_person
      when t.at <= now() then 'mail is due now, with the next run of a worker'
      else format('mail is due at %s%s', to_char(t.at at time zone v_user.time_zone, v_local_time), t.why)
    end || case
      when not s.muted and n.channel is not null and v_person is null then format(
        ' (%s; unread since %s, delay %s)', v_user.time_zone,
        to_char(n.oldest_at at time zone v_user.time_zone, v_local_time), v_preference.digest_after
      )
      else ''
    end
  from headway.subscription s
  left join headway.unread r on r.user_id = s.user_id and r.channel = s.channel
  left join headway.unmailed n on n.user_id = s.user_id and n.channel = s.channel
  left join lateral (
    select format('digest %s (%s)', d.id, d.state || coalesce(' at ' || to_char(d.sent_at at time zone v_user.time_zone, v_local_time), ': ' || d.error, '')) as words
    from headway.digest_item i
    join headway.digest d on d.id = i.digest_id
    where i.channel = s.channel and d.user_id = s.user_id
    order by d.id desc
    limit 1
  ) m on true
  left join lateral (
    select
      case when q.quiet then q.quiet_until else e.at end as at,
      case
        when q.quiet then ', when quiet hours end'
        when e.at > n.oldest_at + v_preference.digest_after then ', digest_min_gap after the last one'
        else ''
      end as why
    from (select greatest(n.oldest_at + v_preference.digest_after, v_preference.not_before, now()) as at) e
    cross join lateral (
      select headway.is_quiet(v_user.quiet_from, v_user.quiet_until, v_user.time_zone, e.at) as quiet,
        headway.next_local_time(v_user.quiet_until, v_user.time_zone, e.at) as quiet_until
    ) q
  ) t on true
  where s.user_id = v_user.id
  order by s.channel;
end
$$;
comment on function headway.explain_digest(bigint) is
  'Says in words, per channel, why a digest was sent, was not, or when it will be; times are in the person''s time zone. select * from headway.explain_digest(2). Errors: no_data_found.';
