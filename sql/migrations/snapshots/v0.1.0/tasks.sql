create function headway.task_after_write() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  case tg_op
    when 'INSERT' then
      -- A new task adds its weight; for many at once, one recount is cheaper than a fact each.
      insert into headway.pending_fact (kind, project_id, task_id)
      select
        case when g.tasks > 100 then 'recompute' else 'task_added' end::headway.fact_kind,
        g.project_id,
        t.task_id
      from (
        select n.project_id, count(*) as tasks, array_agg(n.id) as task_ids from new_rows n group by n.project_id
      ) g
      cross join lateral unnest(case when g.tasks > 100 then array[null::bigint] else g.task_ids end) t (task_id);
    when 'UPDATE' then
      -- With set operations: a join of the two would be planned for the number of rows of the first call, and later
      -- compare each row with every other.
      if exists (select o.id, o.project_id from old_rows o except select n.id, n.project_id from new_rows n) then
        raise exception 'a task cannot move to another project or change its id' using
          errcode = 'feature_not_supported',
          hint = 'Insert it in the other project and delete it here.';
      end if;
      -- While a task is for everyone, its assignments are not announced. Whom to tell now is decided by the fold:
      -- others may be assigning it at the same time.
      insert into headway.pending_fact (kind, project_id, task_id, actor_id)
      select 'assigned', c.project_id, c.id, headway.actor()
      from (
        select n.project_id, n.id from new_rows n where n.audience = 'assigned'
        intersect
        select o.project_id, o.id from old_rows o where o.audience <> 'assigned'
      ) c;
      insert into headway.pending_fact (kind, project_id)
      select distinct 'recompute'::headway.fact_kind, c.project_id
      from (
        select o.project_id, o.id, o.weight, o.shared, o.audience from old_rows o
        except
        select n.project_id, n.id, n.weight, n.shared, n.audience from new_rows n
      ) c;
    when 'DELETE' then
      insert into headway.pending_fact (kind, project_id)
      select distinct 'recompute'::headway.fact_kind, o.project_id
      from old_rows o
      join headway.project p on p.id = o.project_id;
  end case;
  if found then
    perform headway.ring();
  end if;
  return null;
end
$$;
comment on function headway.task_after_write() is 'Queues the effect of a change of tasks on the bars; refuses to move a task to another project and to change its id.';

create trigger task_after_insert after insert on headway.task
referencing new table as new_rows
for each statement execute function headway.task_after_write();

create trigger task_after_update after update on headway.task
referencing old table as old_rows new table as new_rows
for each statement execute function headway.task_after_write();

create trigger task_after_delete after delete on headway.task
referencing old table as old_rows
for each statement execute function headway.task_after_write();

create trigger task_after_truncate after truncate on headway.task
for each statement execute function headway.recompute_everything();

create function headway.task_before_update() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  -- A completion or reopening records in its fact whether the task is shared, which decides who else may see it. With
  -- this lock, any under way has either committed, so that the recount finds its fact, or waits for this row and then
  -- sees what the task has become.
  perform from headway.task t where t.id = old.id for update;
  return new;
end
$$;
comment on function headway.task_before_update() is 'Waits for completions and reopenings under way before a task becomes shared or ceases to be.';

create trigger task_before_update before update on headway.task
for each row when (new.shared <> old.shared)
execute function headway.task_before_update();

create function headway.assignment_after_write() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_projects bigint[]; -- one element per queued fact
begin
  case tg_op
    when 'INSERT' then
      with queued as (
        insert into headway.pending_fact (kind, project_id, task_id, user_id, actor_id)
        select 'assigned', t.project_id, t.id, n.user_id, headway.actor()
        from new_rows n
        join headway.task t on t.id = n.task_id
        returning project_id
      )
      select array_agg(q.project_id) into v_projects from queued q;
    when 'UPDATE' then
      with queued as (
        insert into headway.pending_fact (kind, project_id, task_id, user_id, actor_id)
        select 'assigned'::headway.fact_kind, t.project_id, t.id, n.user_id, headway.actor()
        from (select * from new_rows except select * from old_rows) n
        join headway.task t on t.id = n.task_id
        union
        select 'recompute', t.project_id, t.id, o.user_id, null
        from (select * from old_rows except select * from new_rows) o
        join headway.task t on t.id = o.task_id
        returning project_id
      )
      select array_agg(q.project_id) into v_projects from queued q;
    when 'DELETE' then
      -- A deleted task takes its assignments with it and queues the recount of its project itself.
      with queued as (
        insert into headway.pending_fact (kind, project_id, task_id, user_id)
        select 'recompute', t.project_id, t.id, o.user_id
        from old_rows o
        join headway.task t on t.id = o.task_id
        returning project_id
      )
      select array_agg(q.project_id) into v_projects from queued q;
  end case;
  if v_projects is not null then
    perform headway.recompute_together(v_projects);
    perform headway.ring();
  end if;
  return null;
end
$$;
comment on function headway.assignment_after_write() is 'Queues recounts for those who are assigned or no longer are, and news for those newly assigned.';

create trigger assignment_after_insert after insert on headway.assignment
referencing new table as new_rows
for each statement execute function headway.assignment_after_write();

create trigger assignment_after_update after update on headway.assignment
referencing old table as old_rows new table as new_rows
for each statement execute function headway.assignment_after_write();

create trigger assignment_after_delete after delete on headway.assignment
referencing old table as old_rows
for each statement execute function headway.assignment_after_write();

create trigger assignment_after_truncate after truncate on headway.assignment
for each statement execute function headway.recompute_everything();

create function headway.prerequisite_after_write() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_pair record;
begin
  -- Two transactions that each add half of a cycle must not miss each other. Writing the project's row, rather than
  -- locking it, also makes the second one fail under repeatable read.
  update headway.project p set name = p.name
  where p.id in (select t.project_id from new_rows n join headway.task t on t.id = n.task_id);

  select n.task_id, n.requires_id into v_pair
  from new_rows n
  join headway.task t on t.id = n.task_id
  join headway.task r on r.id = n.requires_id
  where t.project_id <> r.project_id
  limit 1;
  if found then
    raise exception 'task % cannot require task % of another project', v_pair.task_id, v_pair.requires_id using
      errcode = 'check_violation',
      hint = 'Prerequisites stay within a project.';
  end if;

  with recursive required (task_id, requires_id) as (
    select n.task_id, n.requires_id from new_rows n
    union
    select r.task_id, p.requires_id
    from required r
    join headway.prerequisite p on p.task_id = r.requires_id
  )
  select r.task_id into v_pair from required r where r.task_id = r.requires_id limit 1;
  if found then
    raise exception 'task % would have to be completed before itself', v_pair.task_id using
      errcode = 'check_violation',
      constraint = 'prerequisite_no_cycle',
      hint = 'Remove one of the prerequisites on the way round: select * from headway.prerequisite.';
  end if;
  return null;
end
$$;
comment on function headway.prerequisite_after_write() is 'Refuses prerequisites in other projects and cycles.';

create trigger prerequisite_after_insert after insert on headway.prerequisite
referencing new table as new_rows
for each statement execute function headway.prerequisite_after_write();

create trigger prerequisite_after_update after update on headway.prerequisite
referencing new table as new_rows
for each statement execute function headway.prerequisite_after_write();
