create function headway.check_people(ids bigint[]) returns void
language plpgsql
stable
as $$
declare
  v_missing bigint;
begin
  select p.id into v_missing
  from unnest(check_people.ids) with ordinality p (id, n)
  where not case
      -- For an end user, the policy on appuser lists everyone in all of their projects, which takes long. Whether they see
      -- the person as a member of any project is a single lookup.
      when headway.uid() is not null and exists (select from headway.member m where m.user_id = p.id) then true
      else exists (select from headway.appuser u where u.id = p.id)
    end
  order by p.n
  limit 1;
  if found then
    raise exception 'there is no person %', v_missing using
      errcode = 'no_data_found',
      hint = 'select id, fullname from headway.appuser lists them.';
  end if;
end
$$;
comment on function headway.check_people(bigint[]) is 'Refuses ids of people who do not exist and names the first, which a foreign key would not do. Errors: no_data_found.';

create function headway.appuser_before_write() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
as $$
begin
  if tg_op = 'UPDATE' and new.time_zone = old.time_zone then
    return new;
  end if;
  begin
    -- For the duration of this function.
    perform set_config('TimeZone', new.time_zone, true);
  exception when invalid_parameter_value then
    raise exception 'there is no time zone "%"', new.time_zone using
      errcode = 'check_violation',
      schema = 'headway',
      table = 'appuser',
      column = 'time_zone',
      constraint = 'appuser_time_zone_known',
      hint = 'select name from pg_timezone_names where name ~ ''^[A-Z][a-z]+/'' lists them, as in Europe/Lisbon.';
  end;
  new.time_zone := current_setting('TimeZone');
  return new;
end
$$;
comment on function headway.appuser_before_write() is
  'Refuses a time zone that PostgreSQL does not know, and writes its name with the case of the IANA database, since other programs may be case-sensitive.';

create trigger appuser_before_write before insert or update of time_zone on headway.appuser
for each row when (new.time_zone <> 'UTC') execute function headway.appuser_before_write();

create function headway.appuser_after_insert() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  insert into headway.channel (name) select 'user_' || n.id from new_rows n;
  insert into headway.subscription (channel, user_id, read_seq, mailed_seq)
  select 'user_' || n.id, n.id, 0, 0
  from new_rows n
  union all
  select c.name, n.id, c.last_seq, c.last_seq
  from new_rows n
  cross join headway.channel c
  where c.name = 'broadcast';
  return null;
end
$$;
comment on function headway.appuser_after_insert() is 'Opens a person''s own channel and subscribes them to it and to broadcast.';

create trigger appuser_after_insert after insert on headway.appuser
referencing new table as new_rows
for each statement execute function headway.appuser_after_insert();

create function headway.appuser_before_delete() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  -- The foreign keys would refuse it too, but without saying what to do.
  if exists (select from headway.completion c where c.user_id = old.id or c.completed_by = old.id) then
    raise exception 'person % has completed tasks, which stay complete', old.id using
      errcode = 'foreign_key_violation',
      hint = format('Erase their name and address instead: select headway.forget_user(%s).', old.id);
  end if;
  return old;
end
$$;
comment on function headway.appuser_before_delete() is 'Keeps people who have completed something from being deleted.';

create trigger appuser_before_delete before delete on headway.appuser
for each row execute function headway.appuser_before_delete();

create function headway.appuser_after_delete() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_sender bigint;
begin
  -- An older snapshot does not show what they have said since.
  if exists (select from old_rows) and current_setting('transaction_isolation') not in ('read committed', 'read uncommitted') then
    raise exception 'deleting a person is refused in a % transaction', current_setting('transaction_isolation') using
      errcode = 'feature_not_supported',
      hint = 'Delete them in a transaction of its own: begin isolation level read committed.';
  end if;
  delete from headway.channel c using old_rows o where c.name = 'user_' || o.id;

  -- In this shape, which hashes those few: with exists, they are sought one by one where few people wrote the messages.
  select m.sender into v_sender from headway.message m where m.sender in (select o.id from old_rows o) limit 1;
  if found then
    raise exception 'person % has sent messages, which are kept', v_sender using
      errcode = 'foreign_key_violation',
      hint = format('Erase their name and address instead: select headway.forget_user(%s).', v_sender);
  end if;
  return null;
end
$$;
comment on function headway.appuser_after_delete() is 'Closes the channels of deleted people, and keeps those who have sent messages from being deleted.';

create trigger appuser_after_delete after delete on headway.appuser
referencing old table as old_rows
for each statement execute function headway.appuser_after_delete();

create function headway.appuser_after_delete_at_commit() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_sender bigint;
begin
  -- A fold in progress posts what they did; the next one starts when they are gone.
  perform pg_advisory_xact_lock(headway.lock_key('fold'));
  -- Every message is read, so once for all whom the transaction deletes: from here on, no fold posts.
  if current_setting('headway.senders_checked', true) = 'yes' then
    return null;
  end if;
  select min(m.sender) into v_sender
  from headway.message m
  where m.sender is not null and not exists (select from headway.appuser u where u.id = m.sender);
  if v_sender is not null then
    raise exception 'a message from person % was posted after they were deleted', v_sender using
      errcode = 'foreign_key_violation',
      hint = format('Messages are kept; erase their name and address instead: select headway.forget_user(%s).', v_sender);
  end if;
  perform set_config('headway.senders_checked', 'yes', true);
  return null;
end
$$;
comment on function headway.appuser_after_delete_at_commit() is 'Keeps a person from being deleted if a fold posted something they did in the meantime.';

create constraint trigger appuser_after_delete_at_commit after delete on headway.appuser
deferrable initially deferred
for each row execute function headway.appuser_after_delete_at_commit();

create function headway.appuser_before_update_id() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  raise exception 'person % cannot become person %', old.id, new.id using
    errcode = 'feature_not_supported',
    hint = 'What they said and their own channel stay with the id that they have.';
end
$$;
comment on function headway.appuser_before_update_id() is 'Keeps a person''s id from changing, since their messages and their channel refer to it without a foreign key.';

create trigger appuser_before_update_id before update of id on headway.appuser
for each row when (new.id <> old.id)
execute function headway.appuser_before_update_id();

create function headway.appuser_before_truncate() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  raise exception 'people are kept: truncate of headway.appuser is refused' using
    errcode = 'feature_not_supported',
    hint = 'Their messages would lose their senders; select headway.forget_user(id) erases a person''s name and address.';
end
$$;
comment on function headway.appuser_before_truncate() is 'Keeps headway.appuser from being truncated.';

create trigger appuser_before_truncate before truncate on headway.appuser
for each statement execute function headway.appuser_before_truncate();

create function headway.forget_user(user_id bigint) returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  -- An older snapshot does not show what has been reserved since.
  if current_setting('transaction_isolation') not in ('read committed', 'read uncommitted') then
    raise exception 'forgetting a person is refused in a % transaction', current_setting('transaction_isolation') using
      errcode = 'feature_not_supported',
      hint = 'Forget them in a transaction of its own: begin isolation level read committed.';
  end if;
  update headway.appuser u
  set fullname = 'Former user', email = null, digest_after = null, time_zone = 'UTC',
    quiet_from = null, quiet_until = null, mail_suspended_at = null, mail_suspended_reason = null
  where u.id = forget_user.user_id;
  if not found then
    perform headway.check_people(array[forget_user.user_id]);
  end if;
  -- Whoever is recording the outcome of a mail has done so, or sees that there is nobody to keep it for.
  perform from headway.digest d where d.user_id = forget_user.user_id order by d.id for update;
  -- A mail being sent at this moment cannot be recalled, and is erased when the attempt ends; everything else that
  -- contains the name or address is erased now.
  update headway.digest d
  set state = case when d.state in ('reserved', 'held') then 'cancelled' else d.state end,
    claimed_by = null, lease_until = null, recipient = null, mail = null, error = null
  where d.user_id = forget_user.user_id and d.state <> 'sending';
end
$$;
comment on function headway.forget_user(bigint) is
  'Erases a person''s name, address and preferences; what they wrote and completed stays, under "Former user". They remain a member, and count as one: delete from headway.member where user_id = 2 removes them. Errors: no_data_found, and feature_not_supported where transactions are not read committed.';

create function headway.project_after_insert() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  insert into headway.shared_progress (project_id) select n.id from new_rows n;
  insert into headway.channel (name, project_id)
  select 'project_' || n.id || s.suffix, n.id
  from new_rows n
  cross join (values (''), ('_staff')) s (suffix);
  -- A statement may insert a project together with its members, whose trigger then fires before the channels are there.
  insert into headway.subscription (channel, user_id)
  select 'project_' || m.project_id || s.suffix, m.user_id
  from new_rows n
  join headway.member m on m.project_id = n.id
  cross join (values (''), ('_staff')) s (suffix)
  where s.suffix = '' or m.role = 'staff'
  on conflict do nothing;
  -- If the id was used before, facts of the former project may still be queued: one recount overrides them.
  insert into headway.pending_fact (kind, project_id)
  select 'recompute', n.id
  from new_rows n
  where exists (select from headway.pending_fact f where f.project_id = n.id);
  if found then
    perform headway.ring();
  end if;
  return null;
end
$$;
comment on function headway.project_after_insert() is 'Opens a project''s two channels and its progress row, and subscribes members inserted in the same statement.';

create trigger project_after_insert after insert on headway.project
referencing new table as new_rows
for each statement execute function headway.project_after_insert();

create function headway.project_before_delete() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
-- A plan made when the tables were small would read all of them for each project.
set enable_seqscan = off
as $$
declare
  v_channel text;
begin
  -- Same order as for leaving: the membership before what depends on it.
  perform from headway.member m where m.project_id = old.id order by m.user_id for update;
  -- Same order as for posting: the subscription before the channel, which is deleted first with its project.
  for v_channel in select c.name from headway.channel c where c.project_id = old.id order by c.name loop
    perform from headway.subscription s where s.channel = v_channel order by s.user_id for update;
  end loop;
  return old;
end
$$;
comment on function headway.project_before_delete() is 'Before a project is deleted, waits for anyone leaving it or posting to it.';

create trigger project_before_delete before delete on headway.project
for each row execute function headway.project_before_delete();

create function headway.member_after_write() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_projects bigint[];
  v_users bigint[];
  v_roles text[];
begin
  -- Everyone who joined, left or changed role, with their role now, null for no member. The table itself would not do:
  -- under repeatable read, it may still show the old row alongside the new one of a person who comes back.
  case tg_op
    when 'INSERT' then
      select array_agg(n.project_id), array_agg(n.user_id), array_agg(n.role)
      into v_projects, v_users, v_roles
      from new_rows n;
    when 'DELETE' then
      select array_agg(o.project_id), array_agg(o.user_id), array_agg(null::text)
      into v_projects, v_users, v_roles
      from old_rows o;
    when 'UPDATE' then
      select array_agg(d.project_id), array_agg(d.user_id), array_agg(n.role)
      into v_projects, v_users, v_roles
      from (
        (select project_id, user_id, role from old_rows except select project_id, user_id, role from new_rows)
        union
        (select project_id, user_id, role from new_rows except select project_id, user_id, role from old_rows)
      ) d
      left join new_rows n on n.project_id = d.project_id and n.user_id = d.user_id;
    when 'TRUNCATE' then
      delete from headway.subscription s using headway.channel c where c.name = s.channel and c.project_id is not null;
      return null;
  end case;
  if v_projects is null then
    return null;
  end if;

  delete from headway.subscription s
  using (
    -- Offset 0: both columns of the subscription's key are known before it is looked up. A plan made for few of them would
    -- look through all of a channel's for each person.
    select c.name, d.user_id
    from unnest(v_projects, v_users, v_roles) d (project_id, user_id, role)
    join headway.channel c on c.project_id = d.project_id
    where d.role is null or d.role <> 'staff' and c.name = 'project_' || d.project_id || '_staff'
    offset 0
  ) d
  where s.channel = d.name and s.user_id = d.user_id;

  insert into headway.subscription (channel, user_id, read_seq, mailed_seq)
  select c.name, d.user_id, c.last_seq, c.last_seq
  from (
    select 'project_' || d.project_id as channel, d.user_id
    from unnest(v_projects, v_users, v_roles) d (project_id, user_id, role)
    where d.role is not null
    union all
    select 'project_' || d.project_id || '_staff', d.user_id
    from unnest(v_projects, v_users, v_roles) d (project_id, user_id, role)
    where d.role = 'staff'
  ) d
  join headway.channel c on c.name = d.channel
  on conflict do nothing;

  insert into headway.pending_fact (kind, project_id, user_id)
  select distinct 'recompute'::headway.fact_kind, d.project_id, d.user_id
  from unnest(v_projects, v_users) d (project_id, user_id)
  join headway.project p on p.id = d.project_id;
  perform headway.recompute_together(v_projects);
  perform headway.ring();
  return null;
end
$$;
comment on function headway.member_after_write() is
  'Subscribes those who join, unsubscribes those who leave, and queues recounts of their progress.';

create trigger member_after_insert after insert on headway.member
referencing new table as new_rows
for each statement execute function headway.member_after_write();

create trigger member_after_update after update on headway.member
referencing old table as old_rows new table as new_rows
for each statement execute function headway.member_after_write();

create trigger member_after_delete after delete on headway.member
referencing old table as old_rows
for each statement execute function headway.member_after_write();

create trigger member_after_truncate after truncate on headway.member
for each statement execute function headway.member_after_write();

create trigger member_after_truncate_recompute after truncate on headway.member
for each statement execute function headway.recompute_everything();
