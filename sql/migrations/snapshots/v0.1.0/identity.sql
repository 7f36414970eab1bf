create function headway.check_identity() returns void
language plpgsql
as $$
begin
  -- Anyone who is more than an end user needs no identity.
  if headway.uid() is null and pg_catalog.pg_has_role('headway_user', 'usage') and not pg_catalog.pg_has_role('headway_app', 'usage') then
    perform headway.identity();
  end if;
end
$$;
comment on function headway.check_identity() is
  'Refuses an end user without an identity. Errors: invalid_authorization_specification.';

create function headway.actor() returns bigint
language sql
stable
as $$
  -- An end user acts only as themselves.
  select coalesce(headway.uid(), nullif(pg_catalog.current_setting('headway.actor', true), '')::bigint)
$$;
comment on function headway.actor() is
  'Who is acting in this transaction, where a plain delete or insert has no column for it: headway.uid(), or else what a backend sets with select set_config(''headway.actor'', ''4'', true). Null: unknown.';

create function headway.require_identity() returns trigger
language plpgsql
as $$
begin
  -- Without an identity, an update would silently find no row.
  perform headway.check_identity();
  return null;
end
$$;
comment on function headway.require_identity() is 'Refuses changes by an end user without an identity.';

create trigger appuser_before_update_identity before update on headway.appuser
for each statement when (headway.uid() is null) execute function headway.require_identity();

create trigger completion_before_delete_identity before delete on headway.completion
for each statement when (headway.uid() is null) execute function headway.require_identity();

-- Before the row is checked: errors about a channel are only for those with an identity.
create trigger message_before_insert_identity before insert on headway.message
for each statement when (headway.uid() is null) execute function headway.require_identity();

create trigger seen_before_delete_identity before delete on headway.seen
for each statement when (headway.uid() is null) execute function headway.require_identity();

create trigger subscription_before_update_identity before update on headway.subscription
for each statement when (headway.uid() is null) execute function headway.require_identity();

create function headway.my_account()
returns table (
  id bigint,
  fullname text,
  email text,
  digest_after interval,
  time_zone text,
  quiet_from time,
  quiet_until time,
  mail_suspended_at timestamptz,
  mail_suspended_reason text
)
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
  select u.id, u.fullname, u.email, u.digest_after, u.time_zone, u.quiet_from, u.quiet_until,
    u.mail_suspended_at, u.mail_suspended_reason
  from headway.appuser u
  where u.id = headway.uid()
$$;
comment on function headway.my_account() is
  'What is known of headway.uid(), including address and mail preferences, for themselves only: update headway.appuser set digest_after = ''2 hours'' where id = headway.uid() changes a preference. No row: no end user was named.';
