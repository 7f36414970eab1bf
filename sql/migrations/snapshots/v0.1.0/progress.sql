-- Three parts, each defined once and used by reads, the fold and verify alike: the recount from the tables, what the
-- queued facts are worth, and which rows no single fact can express.
--
-- Here and elsewhere, whether a task has any completion, or a project any fact, is asked by fetching the first one in
-- order, which leads the planner to an index. For exists it may scan the whole table, since it expects to find one
-- soon; mostly there is none.

create function headway.percent(done bigint, total bigint) returns integer
language sql
immutable
as $$
  select case
    when percent.total <= 0 then 0
    -- Beyond that, a hundred times as much is no bigint.
    when percent.done > 92233720368547758 then div(100::numeric * percent.done, percent.total)::integer
    else (100 * percent.done / percent.total)::integer
  end
$$;
comment on function headway.percent(bigint, bigint) is
  'floor(100 * done / total), from 0 to 100; 0 where there is nothing to do.';

create view headway.recount with (security_invoker) as
select
  t.project_id,
  null::bigint as user_id,
  coalesce(sum(t.weight) filter (where t.shared and (
    select true from headway.completion c where c.task_id = t.id order by c.user_id limit 1
  )), 0)::bigint as done,
  sum(t.weight)::bigint as total
from headway.task t
where t.audience = 'everyone'
group by t.project_id
union all
select p.project_id, p.user_id, sum(p.done)::bigint, sum(p.total)::bigint
from (
  -- Summed before checking who is a customer: there are many times as many completions as people, and a plan may
  -- otherwise look up an assignment for each pair of a task and a customer.
  select t.project_id, c.user_id, sum(t.weight) as done, 0 as total
  from headway.task t
  join headway.completion c on c.task_id = t.id
  where t.audience = 'everyone' and not t.shared
  group by t.project_id, c.user_id
  union all
  select t.project_id, a.user_id,
    sum(case
      when case
        when t.shared then (select true from headway.completion c where c.task_id = t.id order by c.user_id limit 1)
        else (select true from headway.completion c where c.task_id = t.id and c.user_id = a.user_id)
      end then t.weight
      else 0
    end),
    sum(t.weight)
  from headway.task t
  join headway.assignment a on a.task_id = t.id
  where t.audience = 'assigned'
  group by t.project_id, a.user_id
) p
-- Looked up for each: a join may sum all of it again for every customer.
cross join lateral (
  select from headway.member m where m.project_id = p.project_id and m.user_id = p.user_id and m.role = 'customer' offset 0
) m
group by p.project_id, p.user_id;
comment on view headway.recount is
  'The truth, counted from the tables: per project the part that all customers share (user_id null) and per customer the rest. Slow: to read progress, use the view headway.progress.';

create view headway.pending_effect with (security_invoker) as
select f.project_id, f.task_id, e.user_id, e.done, e.total, f.wavered
from (
  -- By task, and also by person for individual tasks.
  select p.project_id, p.task_id, t.weight, t.shared, t.audience,
    case when not t.shared then p.user_id end as user_id,
    sum(case p.kind when 'completed' then 1 when 'reopened' then -1 else 0 end) as net,
    count(*) filter (where p.kind = 'task_added') as added,
    bool_or(p.kind = 'completed') and bool_or(p.kind = 'reopened') as wavered
  from headway.pending_fact p
  -- Plus 0, so that a condition on the project finds facts or tasks by an index, but not both. Otherwise, a plan that
  -- expects few tasks would read all of the project's queue for each of them.
  join headway.task t on t.id = p.task_id and t.project_id = p.project_id + 0
  where p.kind in ('completed', 'reopened', 'task_added')
  group by p.project_id, p.task_id, t.weight, t.shared, t.audience, case when not t.shared then p.user_id end
) f
cross join lateral (
  -- A shared task is done as soon as one completion exists. The queue holds every change since the last fold, so the
  -- number of completions at that time is the number now minus the sum of those changes.
  select b.user_id,
    f.weight * ((c.now > 0)::integer - (c.now - f.net > 0)::integer)::bigint as done,
    case when b.user_id is null then f.weight * f.added else 0 end as total
  from (select count(*) as now from headway.completion c where c.task_id = f.task_id) c
  cross join (
    select null::bigint as user_id where f.audience = 'everyone'
    union all
    select a.user_id
    from headway.assignment a
    -- Looked up for each: a join may read all of the project's customers for every task.
    cross join lateral (
      select from headway.member m where m.project_id = f.project_id and m.user_id = a.user_id and m.role = 'customer' offset 0
    ) m
    -- "between" means the same as "=" here, but if most assignments are of one task, the planner may answer "=" by reading
    -- all assignments for every task.
    where f.audience = 'assigned' and a.task_id between f.task_id and f.task_id
  ) b
  where f.shared
  union all
  -- An individual task is worth its weight to whoever completed it.
  select null::bigint as user_id, 0 as done, f.weight * f.added as total
  where not f.shared and f.audience = 'everyone' and f.added > 0
  union all
  select m.user_id, f.weight * f.net as done, 0 as total
  from headway.member m
  where not f.shared and m.project_id = f.project_id and m.user_id = f.user_id and m.role = 'customer'
    and (f.audience = 'everyone' or headway.is_for(f.task_id, f.audience, m.user_id)) -- a call per row takes longer than the rest
) e;
comment on view headway.pending_effect is
  'What the facts still in the queue are worth, per project, task and customer (user_id null: to all of them), according to the tables as they are now.';
comment on column headway.pending_effect.wavered is
  'Whether the task was both completed and reopened since the last fold: somebody may have read another bar in between, even if these facts add up to nothing.';

create view headway.pending_recompute with (security_invoker) as
select distinct f.project_id, f.user_id
from headway.pending_fact f
where f.kind in ('assigned', 'recompute');
comment on view headway.pending_recompute is
  'Whose materialized progress is due to be recounted: a customer''s own part or, where user_id is null, everything in the project.';

create view headway.folded_progress with (security_invoker) as
select s.project_id, null::bigint as user_id, s.done, s.total from headway.shared_progress s
union all
select p.project_id, p.user_id, p.done, p.total from headway.personal_progress p;
comment on view headway.folded_progress is 'The materialized parts of progress, shared by a project''s customers (user_id null) and personal, as one relation.';

-- A recount is seldom needed, and its plan is large. It is in functions so that queries that might need one are planned
-- without it: its estimated cost, in the millions, would have every read of a bar JIT-compiled first.
create function headway.recount_project(project_id bigint)
returns table (user_id bigint, done bigint, total bigint)
language plpgsql
stable
rows 100
set jit = off
-- It may read a whole project: planning for it pays off, even in a fold, which plans for few rows.
set plan_cache_mode = force_custom_plan
set enable_seqscan = on
as $$
begin
  return query
  select r.user_id, sum(r.done)::bigint, sum(r.total)::bigint
  from (
    select r.user_id, r.done, r.total from headway.recount r where r.project_id = recount_project.project_id
    union all
    -- Anyone with nothing left goes to 0 of 0.
    select f.user_id, 0, 0 from headway.folded_progress f where f.project_id = recount_project.project_id
  ) r
  group by r.user_id;
end
$$;
comment on function headway.recount_project(bigint) is
  'What the materialized rows of a project should be, counted from the tables: what its customers share (user_id null), and each customer''s own part.';

create function headway.recount_person(project_id bigint, user_id bigint)
returns table (done bigint, total bigint)
language plpgsql
stable
rows 1
set jit = off
-- When thousands of people join, reads and folds call this thousands of times, and planning a call takes longer than
-- running it. So does starting parallel workers. Where there are many tasks, the plan has them for the shared part of the
-- view, which is not read here; only PostgreSQL 17 and newer leave that part out.
set plan_cache_mode = force_generic_plan
set max_parallel_workers_per_gather = 0
as $$
begin
  return query
  select coalesce(sum(r.done), 0)::bigint, coalesce(sum(r.total), 0)::bigint
  from headway.recount r
  where r.project_id = recount_person.project_id and r.user_id = recount_person.user_id;
end
$$;
comment on function headway.recount_person(bigint, bigint) is 'What the materialized row of a person in a project should be, counted from the tables.';

create function headway.recount_shared(project_id bigint)
returns table (done bigint, total bigint)
language plpgsql
stable
rows 1
set jit = off
as $$
begin
  return query
  select coalesce(sum(r.done), 0)::bigint, coalesce(sum(r.total), 0)::bigint
  from headway.recount r
  where r.project_id = recount_shared.project_id and r.user_id is null;
end
$$;
comment on function headway.recount_shared(bigint) is 'What the materialized row of the part that a project''s customers share should be, counted from the tables.';

create function headway.recount_difference(projects bigint[])
returns table (project_id bigint, user_id bigint, done bigint, total bigint)
language plpgsql
stable
rows 10
as $$
begin
  if recount_difference.projects = '{}' then
    return;
  end if;
  return query
  with
    waits as (
      select w.project_id, w.user_id from headway.pending_recompute w where w.project_id = any (recount_difference.projects)
    ),
    -- Two sets, since each can be hashed: a single condition would compare every row with everybody in the queue.
    whole as (
      select w.project_id from waits w where w.user_id is null
    ),
    person as (
      select w.project_id, w.user_id from waits w
      where w.user_id is not null and w.project_id not in (select p.project_id from whole p)
    )
  -- What the facts are worth, for every row that is not recounted ...
  select e.project_id, e.user_id, e.done, e.total
  from headway.pending_effect e
  where e.project_id = any (recount_difference.projects)
    and e.project_id not in (select w.project_id from whole w)
    and (e.user_id is null or (e.project_id, e.user_id) not in (select w.project_id, w.user_id from person w))
  union all
  -- ... and for every row that is, its new value ...
  select w.project_id, t.user_id, t.done, t.total
  from whole w
  cross join lateral headway.recount_project(w.project_id) t
  union all
  select w.project_id, w.user_id, t.done, t.total
  from person w
  cross join lateral headway.recount_person(w.project_id, w.user_id) t
  union all
  -- ... minus its old one.
  select f.project_id, f.user_id, -f.done, -f.total
  from headway.folded_progress f
  where f.project_id in (select w.project_id from whole w)
  union all
  select f.project_id, f.user_id, -f.done, -f.total
  from headway.personal_progress f
  join person w on w.project_id = f.project_id and w.user_id = f.user_id;
end
$$;
comment on function headway.recount_difference(bigint[]) is
  'By how much everything queued in these projects changes their materialized rows, including rows that have to be recounted; the caller sums it by project and person. Stable, so that it counts in the snapshot of the statement that consumes the facts.';

-- What progress will be once everything queued has been folded. Each view scans the queue as few times as it can: every
-- scan brings an end user's policies with it, and a plan costs more to start than to run, since the queue is mostly
-- empty. The views use "not in" rather than "not exists", and sum before they join: otherwise, a plan made while the queue
-- was empty would scan it for every row.

create view headway.current_shared_progress with (security_invoker) as
select s.project_id,
  coalesce(t.done, s.done + coalesce(e.done, 0)) as done,
  coalesce(t.total, s.total + coalesce(e.total, 0)) as total,
  s.version
from headway.shared_progress s
left join (
  select e.project_id, sum(e.done)::bigint as done, sum(e.total)::bigint as total
  from headway.pending_effect e
  where e.user_id is null
  group by e.project_id
) e on e.project_id = s.project_id
left join (
  select w.project_id, t.done, t.total
  from headway.pending_recompute w
  cross join lateral headway.recount_shared(w.project_id) t
  where w.user_id is null
) t on t.project_id = s.project_id;
comment on view headway.current_shared_progress is
  'The part of every customer''s progress that is the same for all, exact at any moment, whether or not the worker is running; the version is that of the last fold.';

create view headway.current_personal_progress with (security_invoker) as
with waits as (
  select w.project_id, w.user_id from headway.pending_recompute w
)
select p.project_id, p.user_id, sum(p.done)::bigint as done, sum(p.total)::bigint as total
from (
  select p.project_id, p.user_id, p.done, p.total from headway.personal_progress p
  union all
  select e.project_id, e.user_id, e.done, e.total from headway.pending_effect e where e.user_id is not null
) p
where p.project_id not in (select w.project_id from waits w where w.user_id is null)
  and (p.project_id, p.user_id) not in (select w.project_id, w.user_id from waits w where w.user_id is not null)
group by p.project_id, p.user_id
union all
select w.project_id, t.user_id, t.done, t.total
from waits w
cross join lateral headway.recount_project(w.project_id) t
where w.user_id is null and t.user_id is not null
union all
select w.project_id, w.user_id, t.done, t.total
from waits w
cross join lateral headway.recount_person(w.project_id, w.user_id) t
where w.user_id is not null
  and w.project_id not in (select p.project_id from waits p where p.user_id is null);
comment on view headway.current_personal_progress is
  'The part of a customer''s progress that is their own, exact at any moment, whether or not the worker is running.';

create view headway.current_progress with (security_invoker) as
select s.project_id, null::bigint as user_id, s.done, s.total from headway.current_shared_progress s
union all
select p.project_id, p.user_id, p.done, p.total from headway.current_personal_progress p;
comment on view headway.current_progress is
  'The parts of progress, shared by a project''s customers (user_id null) and personal, as one relation: what headway.folded_progress will be once everything queued has been folded.';

-- Summed rather than joined: under the policies, the plan expects one customer, however many the project has, and would
-- read all personal parts for each of them.
create view headway.progress with (security_invoker) as
select p.project_id, p.user_id, p.done, p.total,
  headway.percent(p.done, p.total) as percent,
  p.version
from (
  select p.project_id, p.user_id, sum(p.done)::bigint as done, sum(p.total)::bigint as total, max(p.version) as version
  from (
    select m.project_id, m.user_id, s.done, s.total, s.version
    from headway.member m
    join headway.current_shared_progress s on s.project_id = m.project_id
    -- Rather than role = 'customer': before the first statistics, the planner would expect that of almost nobody, and
    -- compare each customer with each project for which something is queued.
    where m.role <> 'staff'
    union all
    select o.project_id, o.user_id, o.done, o.total, null as version from headway.current_personal_progress o
  ) p
  group by p.project_id, p.user_id
) p
where p.version is not null; -- a customer, not a former one
comment on view headway.progress is
  'Every customer''s bar, exact at any moment: select * from headway.progress where project_id = 1 and user_id = 2. With a condition on user_id alone, it also computes what is queued in everybody else''s projects; this reads all bars of one person without that: select m.project_id, b.* from headway.member m cross join lateral headway.current_bar(m.project_id, m.user_id) b where m.user_id = 2.';
comment on column headway.progress.done is 'Sum of the weights of the tasks that are for this customer and complete for them.';
comment on column headway.progress.total is 'Sum of the weights of the tasks that are for this customer.';
comment on column headway.progress.percent is 'floor(100 * done / total), so 100 means that everything is done; 0 if there is nothing to do.';
comment on column headway.progress.version is 'Counts the folds that changed this project or recounted somebody in it; a notification with a higher version is newer.';

create function headway.current_bar(project_id bigint, user_id bigint)
returns table (done bigint, total bigint, percent integer, version bigint)
language plpgsql
stable
rows 1
set jit = off
as $$
begin
  -- Between, because for an equality the planner would drop the order and not use the index.
  if (
    select true from headway.pending_fact f
    where f.project_id between current_bar.project_id and current_bar.project_id
    order by f.project_id
    limit 1
  ) is null then
    -- Nothing is queued, so the folded progress is just as exact, at a fraction of the work.
    return query
    select g.done, g.total, headway.percent(g.done, g.total), s.version
    from headway.member m
    join headway.shared_progress s on s.project_id = m.project_id
    left join headway.personal_progress p on p.project_id = m.project_id and p.user_id = m.user_id
    cross join lateral (select s.done + coalesce(p.done, 0) as done, s.total + coalesce(p.total, 0) as total) g
    where m.project_id = current_bar.project_id and m.user_id = current_bar.user_id and m.role = 'customer';
  elsif exists (
    select from headway.pending_recompute w where w.project_id = current_bar.project_id and w.user_id is null
  ) then
    -- The view would recount everybody.
    return query
    select g.done, g.total, headway.percent(g.done, g.total), s.version
    from headway.member m
    join headway.shared_progress s on s.project_id = m.project_id
    cross join lateral headway.recount_shared(m.project_id) a
    cross join lateral headway.recount_person(m.project_id, m.user_id) p
    cross join lateral (select a.done + p.done as done, a.total + p.total as total) g
    where m.project_id = current_bar.project_id and m.user_id = current_bar.user_id and m.role = 'customer';
  else
    return query
    select p.done, p.total, p.percent, p.version
    from headway.progress p
    where p.project_id = current_bar.project_id and p.user_id = current_bar.user_id;
  end if;
end
$$;
comment on function headway.current_bar(bigint, bigint) is
  'The row of headway.progress for one customer, without the work that the view does for the whole project.';

create function headway.my_progress(project_id bigint)
returns table (user_id bigint, done bigint, total bigint, percent integer, version bigint)
language plpgsql
stable
security definer
rows 10
set search_path = pg_catalog, pg_temp
-- Planning takes several times as long as running: plpgsql keeps one plan for the session.
set plan_cache_mode = force_generic_plan
set jit = off
as $$
begin
  if exists (
    select from headway.member m
    where m.project_id = my_progress.project_id and m.user_id = headway.uid() and m.role = 'staff'
  ) then
    return query
    select p.user_id, p.done, p.total, p.percent, p.version
    from headway.progress p
    where p.project_id = my_progress.project_id;
  else
    return query
    select headway.uid(), p.done, p.total, p.percent, p.version
    from headway.current_bar(my_progress.project_id, headway.uid()) p;
  end if;
end
$$;
comment on function headway.my_progress(bigint) is
  'What headway.uid() may see of headway.progress in one project: their own bar or, for staff, everybody''s. For an end user this is much faster than the view, since it evaluates no policies. No rows: they are not in the project, or no end user was named.';

create view headway.project_progress with (security_invoker) as
select p.id as project_id, p.name, g.customers, g.done, g.total, headway.percent(g.done, g.total) as percent
from headway.project p
join headway.current_shared_progress s on s.project_id = p.id
left join (
  select m.project_id, count(*) as customers from headway.member m where m.role = 'customer' group by m.project_id
) m on m.project_id = p.id
left join (
  -- Only customers have a personal part.
  select o.project_id, sum(o.done)::bigint as done, sum(o.total)::bigint as total
  from headway.current_personal_progress o
  group by o.project_id
) o on o.project_id = p.id
cross join lateral (
  select coalesce(m.customers, 0)::integer as customers,
    coalesce(m.customers * s.done + coalesce(o.done, 0), 0) as done,
    coalesce(m.customers * s.total + coalesce(o.total, 0), 0) as total
) g;
comment on view headway.project_progress is 'Per project, the summed progress of all its customers, for staff.';

-- What headway.is_for(), is_complete() and is_blocked_by() return for one task, written out: a function that contains a
-- query is called for every task, and costs ten times as much as the query itself.
create view headway.outstanding_task with (security_invoker) as
select m.project_id, m.user_id, t.id as task_id, t.title, t.detail, t.weight, t.shared, t.audience, t.due_at, t.position,
  array(
    select r.id
    from headway.prerequisite q
    join headway.task r on r.id = q.requires_id
    where q.task_id = t.id
      and case
        when r.shared then (select true from headway.completion c where c.task_id = r.id order by c.user_id limit 1) is null
        else not exists (select from headway.completion c where c.task_id = r.id and c.user_id = m.user_id)
          and (
            r.audience = 'everyone'
            or exists (select from headway.assignment a where a.task_id = r.id and a.user_id = m.user_id)
          )
      end
    order by r.id
  ) as blocked_by
from headway.member m
join headway.task t on t.project_id = m.project_id
where m.role = 'customer'
  and (
    t.audience = 'everyone'
    or exists (select from headway.assignment a where a.task_id = t.id and a.user_id = m.user_id)
  )
  and case
    when t.shared then (select true from headway.completion c where c.task_id = t.id order by c.user_id limit 1) is null
    else not exists (select from headway.completion c where c.task_id = t.id and c.user_id = m.user_id)
  end;
comment on view headway.outstanding_task is
  'What is open, per customer, including archived projects, in which nothing can be completed: select title, due_at from headway.outstanding_task where project_id = 1 and user_id = 2 order by position, task_id.';
comment on column headway.outstanding_task.blocked_by is 'Ids of the tasks that must be completed before this one; {}: none, and it can be completed now unless the project is archived.';
