-- In plpgsql, which keeps its plans: a function in SQL that contains a query is planned at each call.
create function headway.is_for(task_id bigint, audience text, user_id bigint) returns boolean
language plpgsql
stable
as $$
begin
  return is_for.audience = 'everyone' or exists (
    select from headway.assignment a where a.task_id = is_for.task_id and a.user_id = is_for.user_id
  );
end
$$;
comment on function headway.is_for(bigint, text, bigint) is 'Whether a task with this audience is for this customer of its project.';

create function headway.is_complete(task_id bigint, shared boolean, user_id bigint) returns boolean
language plpgsql
stable
as $$
begin
  return coalesce(case
    when is_complete.shared then (
      select true from headway.completion c where c.task_id = is_complete.task_id order by c.user_id limit 1
    )
    else (
      select true from headway.completion c where c.task_id = is_complete.task_id and c.user_id = is_complete.user_id
    )
  end, false);
end
$$;
comment on function headway.is_complete(bigint, boolean, bigint) is 'Whether a task, shared or not, is complete for this customer.';

create function headway.is_blocked_by(requires_id bigint, shared boolean, audience text, user_id bigint) returns boolean
language sql
stable
as $$
  -- An individual task that is not for this customer can never be completed by them, so it does not block them.
  select not headway.is_complete(is_blocked_by.requires_id, is_blocked_by.shared, is_blocked_by.user_id)
    and (is_blocked_by.shared or headway.is_for(is_blocked_by.requires_id, is_blocked_by.audience, is_blocked_by.user_id))
$$;
comment on function headway.is_blocked_by(bigint, boolean, text, bigint) is
  'Whether a prerequisite, shared or not and with this audience, still blocks this customer.';

create function headway.completion_after_insert() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_project_id bigint;
  v_shared boolean;
  v_audience text;
  v_role text;
  v_blocked_by text;
begin
  -- After the row, so that on conflict do nothing leaves no fact, and after the statement, so that a bulk load may
  -- contain a task and its prerequisite in any order. One table per query and no subqueries: most of the cost of a
  -- query is starting the executor, which grows with the plan.
  select t.project_id, t.shared, t.audience into v_project_id, v_shared, v_audience from headway.task t where t.id = new.task_id;

  perform from headway.project p where p.id = v_project_id and p.archived_at is not null;
  if found then
    raise exception 'project % is archived: task % cannot be completed', v_project_id, new.task_id using
      errcode = 'object_not_in_prerequisite_state',
      hint = format('Take it out of the archive first: update headway.project set archived_at = null where id = %s.', v_project_id);
  end if;

  select m.role into v_role from headway.member m where m.project_id = v_project_id and m.user_id = new.user_id;
  if v_role is distinct from 'customer' then
    raise exception 'person % is % project %: task % is not theirs to complete', new.user_id,
      case v_role when 'staff' then 'staff in' else 'not a member of' end, v_project_id, new.task_id using
      errcode = 'insufficient_privilege',
      hint = 'Tasks are completed for a customer of the project; the person who ticks one off goes into completed_by.';
  end if;

  if v_audience <> 'everyone' and not headway.is_for(new.task_id, v_audience, new.user_id) then
    raise exception 'task % is not assigned to person %', new.task_id, new.user_id using
      errcode = 'insufficient_privilege',
      hint = format('Assign it first: insert into headway.assignment (task_id, user_id) values (%s, %s).', new.task_id, new.user_id);
  end if;

  perform from headway.prerequisite q where q.task_id = new.task_id;
  if found then
    select string_agg(r.id || ' "' || r.title || '"', ', ' order by r.id) into v_blocked_by
    from headway.prerequisite q
    join headway.task r on r.id = q.requires_id
    where q.task_id = new.task_id and headway.is_blocked_by(r.id, r.shared, r.audience, new.user_id);
    if v_blocked_by is not null then
      raise exception 'task % has open prerequisites for person %', new.task_id, new.user_id using
        errcode = 'object_not_in_prerequisite_state',
        hint = format('Complete first: %s.', v_blocked_by);
    end if;
  end if;

  insert into headway.pending_fact (kind, project_id, task_id, user_id, shared, actor_id)
  values ('completed', v_project_id, new.task_id, new.user_id, v_shared, coalesce(new.completed_by, new.user_id));
  -- The first check of headway.ring(), repeated here: calling it would cost this trigger another query.
  if not pg_try_advisory_xact_lock_shared(headway.lock_key('doorbell')) then
    perform headway.ring();
  end if;
  return null;
end
$$;
comment on function headway.completion_after_insert() is 'Checks that this person may complete this task now, queues the fact and wakes the worker.';

create trigger completion_after_insert after insert on headway.completion
for each row execute function headway.completion_after_insert();

create function headway.completion_after_change() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  case tg_op
    when 'DELETE' then
      -- The fold puts it into a message that every client receives.
      if char_length(current_setting('headway.reason', true)) > 10000 then
        raise exception 'the reason has % characters', char_length(current_setting('headway.reason', true)) using
          errcode = 'invalid_parameter_value',
          hint = 'Give one of at most 10000 characters.';
      end if;
      -- Like a completion through its foreign key, a reopening waits for a transaction that changes whether the task is
      -- shared.
      perform from headway.task t where t.id in (select o.task_id from old_rows o) order by t.id for key share;
      -- A deleted task takes its completions with it and queues the recount of its project itself.
      insert into headway.pending_fact (kind, project_id, task_id, user_id, shared, actor_id, reason)
      select 'reopened', t.project_id, t.id, o.user_id, t.shared, headway.actor(),
        nullif(current_setting('headway.reason', true), '')
      from old_rows o
      join headway.task t on t.id = o.task_id;
    when 'UPDATE' then
      if exists (select o.task_id, o.user_id from old_rows o except select n.task_id, n.user_id from new_rows n) then
        raise exception 'a completion cannot move to another task or person' using
          errcode = 'feature_not_supported',
          hint = 'Delete it, which reopens the task, and insert the other one.';
      end if;
      return null;
  end case;
  if found then
    perform headway.ring();
  end if;
  return null;
end
$$;
comment on function headway.completion_after_change() is 'Queues the effect of a reopening on the bars; refuses a reason that is too long, and a completion that would become another task''s or person''s.';

create trigger completion_after_update after update on headway.completion
referencing old table as old_rows new table as new_rows
for each statement execute function headway.completion_after_change();

create trigger completion_after_delete after delete on headway.completion
referencing old table as old_rows
for each statement execute function headway.completion_after_change();

create trigger completion_after_truncate after truncate on headway.completion
for each statement execute function headway.recompute_everything();

create function headway.is_shared(task_id bigint) returns boolean
language plpgsql
stable
as $$
declare
  v_shared boolean;
begin
  select t.shared into v_shared from headway.task t where t.id = is_shared.task_id;
  if not found then
    perform headway.check_identity();
    raise exception 'there is no task %', is_shared.task_id using
      errcode = 'no_data_found',
      hint = 'select id, title from headway.task lists them.';
  end if;
  return v_shared;
end
$$;
comment on function headway.is_shared(bigint) is 'Whether a task is done once on behalf of everyone it is for. Errors: no_data_found.';

create function headway.complete_task(task_id bigint, user_id bigint, completed_by bigint default null) returns boolean
language plpgsql
as $$
declare
  v_shared boolean;
begin
  v_shared := headway.is_shared(complete_task.task_id);
  if headway.is_complete(complete_task.task_id, v_shared, complete_task.user_id) then
    return false;
  end if;
  -- A policy would refuse it without a reason. Asked in two steps: without an end user, the first needs no query.
  if complete_task.completed_by <> headway.uid() then
    raise exception 'person % cannot complete a task in the name of person %', headway.uid(), complete_task.completed_by using
      errcode = 'insufficient_privilege',
      hint = 'Where headway.user_id is set, that end user is the one who completes it: leave completed_by out.';
  elsif complete_task.user_id <> headway.uid() then
    if not exists (
      select from headway.task t
      join headway.member m on m.project_id = t.project_id and m.user_id = headway.uid() and m.role = 'staff'
      where t.id = complete_task.task_id
    ) then
      raise exception 'task % of person % is not for person % to complete', complete_task.task_id, complete_task.user_id, headway.uid() using
        errcode = 'insufficient_privilege',
        hint = 'Where headway.user_id is set, end users complete for themselves; staff of the project complete for its customers.';
    end if;
  end if;
  perform headway.check_people(array[complete_task.user_id, coalesce(complete_task.completed_by, complete_task.user_id)]);
  insert into headway.completion (task_id, user_id, completed_by)
  values (complete_task.task_id, complete_task.user_id, coalesce(complete_task.completed_by, headway.uid(), complete_task.user_id))
  on conflict do nothing;
  return found;
end
$$;
comment on function headway.complete_task(bigint, bigint, bigint) is
  'Completes a task for a customer; completed_by is whoever ticks it off, by default the acting end user, or else the customer: select headway.complete_task(3, 2). True: it is complete now; false: it already was. Errors: no_data_found, insufficient_privilege, object_not_in_prerequisite_state.';

create function headway.reopen_task(
  task_id bigint,
  user_id bigint,
  reopened_by bigint default null,
  reason text default null
) returns boolean
language plpgsql
as $$
declare
  v_actor text := current_setting('headway.actor', true);
  v_shared boolean;
  v_found boolean;
begin
  v_shared := headway.is_shared(reopen_task.task_id);
  if reopen_task.reopened_by <> headway.uid() then
    raise exception 'person % cannot reopen a task in the name of person %', headway.uid(), reopen_task.reopened_by using
      errcode = 'insufficient_privilege',
      hint = 'Where headway.user_id is set, that end user is the one who reopens it: leave reopened_by out.';
  end if;
  -- A policy would skip what somebody else completed, and the task would be reported as open.
  if (
    reopen_task.user_id <> headway.uid()
    or v_shared and (
      select true from headway.completion c where c.task_id = reopen_task.task_id and c.user_id <> headway.uid() order by c.user_id limit 1
    )
  ) and not exists (
    select from headway.task t
    join headway.member m on m.project_id = t.project_id and m.user_id = headway.uid() and m.role = 'staff'
    where t.id = reopen_task.task_id
  ) then
    raise exception 'task % of person % is not for person % to reopen', reopen_task.task_id, reopen_task.user_id, headway.uid() using
      errcode = 'insufficient_privilege',
      hint = 'Where headway.user_id is set, end users reopen what they completed themselves; staff of the project reopen everything.';
  end if;
  perform headway.check_people(array[reopen_task.user_id, coalesce(reopen_task.reopened_by, reopen_task.user_id)]);
  perform set_config('headway.actor', coalesce(reopen_task.reopened_by, headway.uid(), reopen_task.user_id)::text, true);
  perform set_config('headway.reason', coalesce(reopen_task.reason, ''), true);
  if v_shared then
    delete from headway.completion c where c.task_id = reopen_task.task_id;
  else
    delete from headway.completion c where c.task_id = reopen_task.task_id and c.user_id = reopen_task.user_id;
  end if;
  v_found := found;
  perform set_config('headway.actor', coalesce(v_actor, ''), true);
  perform set_config('headway.reason', '', true);
  return v_found;
end
$$;
comment on function headway.reopen_task(bigint, bigint, bigint, text) is
  'Reopens a task for a customer, or a shared one for all, and records who did, by default the acting end user, or else the customer, and why: select headway.reopen_task(3, 2, 4, ''The logo is missing''). A reason has at most 10000 characters. True: it is open now; false: it already was. Errors: no_data_found, insufficient_privilege, invalid_parameter_value.';
