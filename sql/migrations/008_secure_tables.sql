-- Who may do what with which table. Rights to call functions and read views are in the snapshot's grants.sql.
set local search_path = pg_catalog, pg_temp;
set local lock_timeout = '3s';

-- Policies depend on these functions, so they are created here and not with the others, which every release recreates.
-- A body parsed here rather than when called means the same whatever the caller's search_path. After set_config(...,
-- true) the setting is not unset but empty.
create function headway.uid() returns bigint
language sql
stable
return nullif(pg_catalog.current_setting('headway.user_id', true), '')::bigint;
comment on function headway.uid() is
  'The end user acting in this transaction: select set_config(''headway.user_id'', ''7'', true). Null: no end user was named.';

create function headway.identity() returns bigint
language plpgsql
stable
as $$
begin
  if headway.uid() is null then
    raise exception 'no end user was named' using
      errcode = 'invalid_authorization_specification',
      hint = 'First, in the same transaction: select set_config(''headway.user_id'', ''7'', true).';
  end if;
  return headway.uid();
end
$$;
comment on function headway.identity() is 'headway.uid(), for what requires an identity. Errors: invalid_authorization_specification.';

create function headway.my_projects() returns bigint[]
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  return array(select m.project_id from headway.member m where m.user_id = headway.uid());
end
$$;
comment on function headway.my_projects() is 'The projects that headway.uid() belongs to.';

create function headway.my_staffed_projects() returns bigint[]
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  return array(select m.project_id from headway.member m where m.user_id = headway.uid() and m.role = 'staff');
end
$$;
comment on function headway.my_staffed_projects() is 'The projects that headway.uid() looks after.';

create function headway.my_people() returns bigint[]
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  return array(
    select headway.uid()
    union
    select m.user_id from headway.member m where m.project_id = any (headway.my_projects())
  );
end
$$;
comment on function headway.my_people() is 'headway.uid(), and everyone who shares a project with them.';

create function headway.is_posted(id bigint, kind text) returns boolean
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  -- An id that was never generated would collide with the message that is given it later.
  perform from headway.message_id_seq g where g.is_called and is_posted.id between 1 and g.last_value;
  if not found and is_posted.id is not null then
    raise exception 'a message brought its own id %', is_posted.id using
      errcode = 'invalid_parameter_value',
      hint = 'Insert sender, channel and content; the rest is filled in.';
  end if;
  if is_posted.kind <> 'chat' then
    raise exception 'a posted message is chat, not of kind "%"', is_posted.kind using
      errcode = 'invalid_parameter_value',
      hint = 'Leave the kind out, or say chat; headway.fold() posts the activity.';
  end if;
  return true;
end
$$;
comment on function headway.is_posted(bigint, text) is
  'For the policy on what headway_app inserts: true for a chat message whose id was drawn from the sequence, an error for any other. Errors: invalid_parameter_value.';

-- Trusted roles see every row; what they may do with it is decided by grants. The worker and the monitor see the rows
-- that they count. Policies and grants add up: a login that is also headway_user reads, of each such row, whatever
-- either role may. The gateway's does not: it becomes headway_user alone. Policies are not evaluated for the owner, as
-- which the triggers and the security definer functions run.
do $$
declare
  v_table regclass;
begin
  for v_table in
    select c.oid from pg_catalog.pg_class c where c.relnamespace = 'headway'::regnamespace and c.relkind = 'r' order by c.relname
  loop
    execute format('alter table %s enable row level security', v_table);
    execute format('create policy trusted on %s to headway_app, headway_admin using (true) with check (true)', v_table);
    execute format('grant select on %s to headway_admin', v_table);
  end loop;
end
$$;
grant usage on schema headway to headway_app, headway_worker, headway_user, headway_admin, headway_monitor;
grant select on public.headway_schema_version to headway_app, headway_worker, headway_user, headway_admin, headway_monitor;

-- People: a backend maps its users to them. An end user knows the names of those they share a project with; only they
-- see their own address, through headway.my_account().
grant select, insert, update, delete on headway.appuser, headway.project, headway.member to headway_app;
grant select (id, fullname) on headway.appuser to headway_user;
grant update (digest_after, time_zone, quiet_from, quiet_until, mail_suspended_at, mail_suspended_reason)
  on headway.appuser to headway_user;
grant update (mail_suspended_at, mail_suspended_reason) on headway.appuser to headway_admin;
grant select on headway.project, headway.member to headway_user;
-- Some ORMs draw the id before they insert, or ask the sequence for it afterwards.
grant usage on sequence headway.appuser_id_seq, headway.project_id_seq, headway.task_id_seq, headway.message_id_seq
  to headway_app;
create policy people on headway.appuser for select to headway_user
  using (id = any ((select headway.my_people())::bigint[]));
create policy own_preferences on headway.appuser for update to headway_user
  using (id = (select headway.identity()));
create policy joined on headway.project for select to headway_user
  using (id = any ((select headway.my_projects())::bigint[]));
-- Customers do not see each other here, or headway.progress would show them one another's bars.
create policy own_and_staff on headway.member for select to headway_user
  using (
    user_id = (select headway.uid())
    or project_id = any ((select headway.my_staffed_projects())::bigint[])
    or role = 'staff' and project_id = any ((select headway.my_projects())::bigint[])
  );

-- Tasks: every member of a project sees them all. Whom a task is assigned to, and who completed an individual one,
-- concerns only that person and the staff. Where a policy looks up the task, it asks whether the end user sees it: in a
-- project that they have left, nothing is theirs any more.
grant select, insert, update, delete on headway.task, headway.assignment, headway.prerequisite, headway.completion to headway_app;
grant select on headway.task, headway.assignment, headway.prerequisite, headway.completion to headway_user;
grant insert (task_id, user_id, completed_by), delete on headway.completion to headway_user;
create policy joined on headway.task for select to headway_user
  using (project_id = any ((select headway.my_projects())::bigint[]));
create policy joined on headway.prerequisite for select to headway_user
  using (exists (select from headway.task t where t.id = task_id));
create policy own_and_staffed on headway.assignment for select to headway_user
  using (
    exists (
      select from headway.task t
      where t.id = task_id
        and (user_id = (select headway.uid()) or t.project_id = any ((select headway.my_staffed_projects())::bigint[]))
    )
  );
create policy shared_own_and_staffed on headway.completion for select to headway_user
  using (
    exists (
      select from headway.task t
      where t.id = task_id
        and (
          t.shared
          or user_id = (select headway.uid())
          or t.project_id = any ((select headway.my_staffed_projects())::bigint[])
        )
    )
  );
create policy by_oneself on headway.completion for insert to headway_user
  with check (
    coalesce(completed_by, user_id) = (select headway.identity())
    and exists (
      select from headway.task t
      where t.id = task_id
        and (
          user_id = (select headway.uid())
          or t.project_id = any ((select headway.my_staffed_projects())::bigint[])
          -- Otherwise the foreign key would tell staff which people exist in other projects.
          and exists (select from headway.member m where m.project_id = t.project_id and m.user_id = completion.user_id)
        )
    )
  );
create policy own_and_staffed on headway.completion for delete to headway_user
  using (
    user_id = (select headway.identity()) and exists (select from headway.task t where t.id = task_id)
    or exists (
      select from headway.task t
      where t.id = task_id and t.project_id = any ((select headway.my_staffed_projects())::bigint[])
    )
  );

-- Progress: the views include what is in the queue, so whoever reads them reads the queue.
grant select on headway.pending_fact, headway.shared_progress, headway.personal_progress to headway_app;
grant select (kind, project_id, task_id, user_id) on headway.pending_fact to headway_user;
grant select (id, at) on headway.pending_fact to headway_worker, headway_monitor;
create policy counted on headway.pending_fact for select to headway_worker, headway_monitor using (true);
grant select on headway.shared_progress, headway.personal_progress to headway_user;
create policy joined on headway.shared_progress for select to headway_user
  using (project_id = any ((select headway.my_projects())::bigint[]));
create policy own_and_staffed on headway.personal_progress for select to headway_user
  using (
    user_id = (select headway.uid()) and project_id = any ((select headway.my_projects())::bigint[])
    or project_id = any ((select headway.my_staffed_projects())::bigint[])
  );
create policy shared_own_and_staffed on headway.pending_fact for select to headway_user
  using (
    project_id = any ((select headway.my_projects())::bigint[])
    and (
      user_id is null
      or shared
      or user_id = (select headway.uid())
      or project_id = any ((select headway.my_staffed_projects())::bigint[])
    )
  );

-- Channels: id, seq and sent_at of a message are filled in, activity is posted by the fold, and a channel starts at 0. A
-- backend may still name these columns, since most ORMs name every column with its default. Many also set the key to
-- itself when they insert or update: a trigger keeps a subscription from moving.
grant select, insert, delete on headway.channel to headway_app;
grant select, insert, update, delete on headway.subscription to headway_app;
grant select, insert on headway.message to headway_app;
grant select, insert, delete on headway.seen to headway_app;
grant select on headway.channel, headway.subscription, headway.message to headway_user;
grant update (read_seq, muted) on headway.subscription to headway_user;
grant insert (sender, channel, content) on headway.message to headway_user;
grant select, insert, delete on headway.seen to headway_user;
create policy opened on headway.channel as restrictive for insert to headway_app
  with check (last_seq = 0);
create policy posted on headway.message as restrictive for insert to headway_app
  with check (headway.is_posted(id, kind));
create policy own on headway.subscription for select to headway_user
  using (user_id = (select headway.uid()));
create policy own_update on headway.subscription for update to headway_user
  using (user_id = (select headway.identity()));
-- End users see only their own subscriptions. An array, because an index takes it as a condition: access is checked per
-- channel, where exists would check it for every row. Sorted, because the index would otherwise sort it again for every
-- channel.
create policy subscribed on headway.channel for select to headway_user
  using (name = any (array(select s.channel from headway.subscription s order by s.channel)));
create policy subscribed on headway.message for select to headway_user
  using (channel = any (array(select s.channel from headway.subscription s order by s.channel)));
create policy as_oneself on headway.message for insert to headway_user
  with check (
    sender = (select headway.identity())
    and exists (select from headway.subscription s where s.channel = message.channel and s.user_id = (select headway.uid()))
  );
create policy own on headway.seen to headway_user
  using (user_id = (select headway.uid()))
  with check (user_id = (select headway.identity()));

-- Mail: only the worker's functions read the contents of a mail or the token that unsubscribes.
grant select (id, user_id, state, created_at, attempts, next_attempt_at, lease_until, sent_at, unknown_at, error)
  on headway.digest to headway_app;
grant select on headway.digest_item to headway_app;
grant select (id, user_id, state, created_at, sent_at) on headway.digest to headway_user;
grant select on headway.digest_item to headway_user;
grant select (id, state, next_attempt_at) on headway.digest to headway_worker, headway_monitor;
grant select on headway.digest_run to headway_worker;
create policy counted on headway.digest for select to headway_worker, headway_monitor using (true);
create policy counted on headway.digest_run for select to headway_worker using (true);
create policy own on headway.digest for select to headway_user
  using (user_id = (select headway.uid()));
-- An array, as for messages: exists would be asked of every item that there is.
create policy own on headway.digest_item for select to headway_user
  using (digest_id = any (array(select d.id from headway.digest d where d.user_id = (select headway.uid()))));

-- Settings and heartbeats.
grant select on headway.setting to headway_app, headway_worker, headway_user, headway_monitor;
grant update (value) on headway.setting to headway_admin;
grant select on headway.worker to headway_app, headway_worker, headway_monitor;
-- A ticket lets in whoever holds it.
revoke select on headway.ticket from headway_admin;
create policy counted on headway.worker for select to headway_worker, headway_monitor using (true);
create policy counted on headway.setting for select to headway_worker, headway_monitor using (true);
create policy everybody on headway.setting for select to headway_user
  using ((select headway.uid()) is not null);

revoke usage on type headway.fact_kind from public;
revoke execute on all functions in schema headway from public;
grant execute on function headway.uid(), headway.identity()
  to headway_app, headway_worker, headway_user, headway_admin, headway_monitor;
grant execute on function headway.is_posted(bigint, text) to headway_app;
grant execute on function headway.my_projects(), headway.my_staffed_projects(), headway.my_people() to headway_user;
{{ template "roles/own.sql" "headway_owner" }}

---- create above / drop below ----

set local search_path = pg_catalog, pg_temp;
set local lock_timeout = '3s';

do $$
declare
  v_drop text;
begin
  for v_drop in
    select format('drop policy %I on %s', p.polname, p.polrelid::regclass)
    from pg_catalog.pg_policy p
    join pg_catalog.pg_class c on c.oid = p.polrelid
    where c.relnamespace = 'headway'::regnamespace
    union all
    select format('alter table %s disable row level security', c.oid::regclass)
    from pg_catalog.pg_class c
    where c.relnamespace = 'headway'::regnamespace and c.relkind = 'r'
  loop
    execute v_drop;
  end loop;
end
$$;
{{ template "roles/own.sql" "current_user" }}
revoke all on all sequences in schema headway from headway_app;
revoke all on all tables in schema headway from headway_app, headway_worker, headway_user, headway_admin, headway_monitor;
revoke all on schema headway from headway_app, headway_worker, headway_user, headway_admin, headway_monitor;
revoke all on public.headway_schema_version from headway_app, headway_worker, headway_user, headway_admin, headway_monitor;
grant usage on type headway.fact_kind to public;
drop function headway.is_posted(bigint, text);
drop function headway.my_people();
drop function headway.my_staffed_projects();
drop function headway.my_projects();
drop function headway.identity();
drop function headway.uid();
