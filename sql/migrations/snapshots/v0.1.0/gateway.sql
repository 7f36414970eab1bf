-- What the gateway needs beyond what everybody reads: changes of subscriptions, and tickets.

create function headway.subscription_after_change() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  if headway.notify_mode() <> 'off' then
    perform pg_notify(
      'headway_events',
      json_build_object(
        'kind', case tg_op when 'INSERT' then 'subscribed' else 'unsubscribed' end, 'channel', g.channel, 'user_ids', g.user_ids
      )::text
    )
    from (
      select c.channel, json_agg(c.user_id) as user_ids
      from (
        select r.channel, r.user_id, (row_number() over (partition by r.channel order by r.user_id) - 1) / 200 as batch
        from changed_rows r
        -- No client is waiting for the channels that come with a new person.
        where tg_op = 'DELETE' or r.channel not in ('broadcast', 'user_' || r.user_id)
      ) c
      group by c.channel, c.batch
    ) g;
  end if;
  return null;
end
$$;
comment on function headway.subscription_after_change() is
  'Notifies that people were subscribed to a channel or unsubscribed from it: {"kind": "unsubscribed", "channel": "project_1", "user_ids": [2]}.';

create trigger subscription_after_insert after insert on headway.subscription
referencing new table as changed_rows
for each statement execute function headway.subscription_after_change();

create trigger subscription_after_delete after delete on headway.subscription
referencing old table as changed_rows
for each statement execute function headway.subscription_after_change();

create function headway.tell_reader() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  if headway.notify_mode() <> 'off' then
    perform pg_notify('headway_events', json_build_object('kind', 'read', 'channel', new.channel, 'user_id', new.user_id)::text);
  end if;
  return null;
end
$$;
comment on function headway.tell_reader() is
  'Notifies that a person has read further in a channel, or muted it: they may have it open in other windows.';

-- Not from within a trigger, such as that of a message that they post, which is notified itself.
create trigger subscription_after_update after update on headway.subscription
for each row when ((new.read_seq <> old.read_seq or new.muted <> old.muted) and pg_trigger_depth() = 0)
execute function headway.tell_reader();

create trigger seen_after_insert after insert on headway.seen
for each row execute function headway.tell_reader();

create function headway.issue_ticket(user_id bigint, expires_at timestamptz) returns uuid
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_id uuid;
begin
  -- A worker's login that may not act as an end user must not have a gateway do so.
  if not pg_has_role(session_user, 'headway_user', 'member') then
    raise exception 'this login may not act as an end user' using
      errcode = 'insufficient_privilege',
      hint = 'Grant headway_user to the gateway''s login.';
  end if;
  delete from headway.ticket t where t.issued_at < now() - interval '1 minute';
  insert into headway.ticket (user_id, expires_at)
  select u.id, issue_ticket.expires_at from headway.appuser u where u.id = issue_ticket.user_id
  returning id into v_id;
  if not found then
    raise exception 'there is no person %', issue_ticket.user_id using
      errcode = 'invalid_authorization_specification',
      hint = 'A token is for somebody in headway.appuser.';
  end if;
  return v_id;
end
$$;
comment on function headway.issue_ticket(bigint, timestamptz) is
  'Makes a ticket for a person whose token expires at that time; deletes tickets older than a minute. Errors: invalid_authorization_specification, insufficient_privilege where the login may not act as an end user.';

create function headway.redeem_ticket(id uuid) returns table (user_id bigint, expires_at timestamptz)
language sql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
  delete from headway.ticket t
  where t.id = redeem_ticket.id and t.issued_at > now() - interval '30 seconds'
  returning t.user_id, t.expires_at
$$;
comment on function headway.redeem_ticket(uuid) is 'Returns, once, whom a ticket is for. No row: it was used, is older than half a minute, or never existed.';
