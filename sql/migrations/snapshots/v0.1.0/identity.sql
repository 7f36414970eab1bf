create function headway.check_identity() returns void
language plpgsql
as $$
begin
  -- Whoever is more than an end user needs no identity.
  if headway.uid() is null and pg_catalog.pg_has_role('headway_user', 'usage') and not pg_catalog.pg_has_role('headway_app', 'usage') then
    perform headway.identity();
  end if;
end
$$;
comment on function headway.check_identity() is
  'Refuses an end user who has not said who they are. Errors: invalid_authorization_specification.';

create function headway.actor() returns bigint
language sql
stable
as $$
  -- An end user acts for nobody else.
  select coalesce(headway.uid(), nullif(pg_catalog.current_setting('headway.actor', true), '')::bigint)
$$;
comment on function headway.actor() is
  'Who is acting in this transaction, where a plain delete or insert has no column for it: headway.uid(), or else what a backend says with select set_config(''headway.actor'', ''4'', true). Null: unknown.';

create function headway.require_identity() returns trigger
language plpgsql
as $$
begin
  -- Nobody's update would find no row and say nothing.
  perform headway.check_identity();
  return null;
end
$$;
comment on function headway.require_identity() is 'Refuses what an end user changes without saying who they are.';

create trigger appuser_before_update_identity before update on headway.appuser
for each statement when (headway.uid() is null) execute function headway.require_identity();

create trigger completion_before_delete_identity before delete on headway.completion
for each statement when (headway.uid() is null) execute function headway.require_identity();

-- Before the row is looked at: what is said about a channel is for those who have said who they are.
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
  'What is known of headway.uid(), address and mail preferences included, for themselves: update headway.appuser set digest_after = ''2 hours'' where id = headway.uid() changes a preference. No row: nobody said who is acting.';
