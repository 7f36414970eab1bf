create function headway.fold(max_facts integer default 1000) returns integer
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
-- Planning takes longer than running, and the plan that uses the indexes is right for any number of facts, even if it
-- was made when the tables were small.
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set jit = off
as $$
declare
  v_busy bigint[] := '{}';
  v_projects bigint[]; -- one element per queued fact
  v_tasks_of bigint[]; -- likewise
  v_seen bigint[];
  v_gone bigint[];
  v_free bigint[];
  v_held bigint[];
  v_recount bigint[];
  v_recounts bigint;
  v_tasks bigint[];
  v_consumed integer;
  v_facts headway.pending_fact[];
  v_counted boolean;
begin
  if max_facts is null or max_facts < 1 then
    raise exception 'max_facts is %, which folds nothing', max_facts using
      errcode = 'invalid_parameter_value',
      hint = 'Give 1 or more, or leave it out.';
  end if;
  -- Folds never overlap: nothing else writes the progress tables.
  perform pg_advisory_xact_lock(headway.lock_key('fold'));

  -- Choose what to fold. A project whose rows are locked by others (one deleting it, or posting to its staff channel in
  -- a long transaction) waits in the queue rather than hold up all the others.
  loop
    select array_agg(f.project_id), array_agg(f.task_id)
    into v_projects, v_tasks_of
    from (
      select f.project_id, f.task_id
      from headway.pending_fact f
      -- "not in" hashes them, of which there may be thousands.
      where f.project_id not in (select b.id from unnest(v_busy) b (id))
      limit fold.max_facts
    ) f;
    if v_projects is null then
      return 0;
    end if;
    select array_agg(p.id), array_agg(p.id) filter (where not exists (select from headway.project e where e.id = p.id))
    into v_seen, v_gone
    from (select distinct p.id from unnest(v_projects) p (id)) p;
    if v_gone is not null then
      -- Facts of a deleted project concern nobody.
      delete from headway.pending_fact f
      where f.project_id = any (v_gone) and not exists (select from headway.project p where p.id = f.project_id);
    end if;
    select array_agg(l.project_id)
    into v_free
    from (
      select s.project_id
      from headway.shared_progress s
      join headway.channel c on c.name = 'project_' || s.project_id || '_staff'
      where s.project_id = any (v_seen)
      order by s.project_id
      for no key update of s, c skip locked
    ) l;
    if v_free is null then
      v_busy := v_busy || v_seen;
      continue;
    end if;
    -- Where something must be recounted, all facts of the project are consumed. Elsewhere, it is all facts of a task or
    -- none of them: what they are worth depends on every change since the last fold.
    select coalesce(array_agg(distinct w.project_id), '{}'), count(*)
    into v_recount, v_recounts
    from headway.pending_recompute w
    where w.project_id = any (v_free);
    if v_recounts >= 100 then
      -- Somebody has loaded much. By a plan that was made before that, each recount might read all of it, and no plan is
      -- made anew before this transaction ends.
      discard plans;
    end if;
    select array_agg(distinct f.task_id)
    into v_tasks
    from unnest(v_projects, v_tasks_of) f (project_id, task_id)
    where f.project_id = any (v_free) and f.task_id is not null;
    -- Projects with something to post to a person's own channel also wait if somebody has that channel locked.
    with
      told as (
        select f.project_id, 'user_' || f.user_id as channel
        from headway.pending_fact f
        where f.task_id = any (v_tasks) and f.kind in ('assigned', 'reopened')
        union
        select f.project_id, 'user_' || f.user_id
        from headway.pending_fact f
        where f.project_id = any (v_recount) and f.kind in ('assigned', 'reopened')
        union
        select f.project_id, 'user_' || a.user_id
        from headway.pending_fact f
        cross join lateral (select a.user_id from headway.assignment a where a.task_id = f.task_id offset 0) a
        where f.project_id = any (v_recount) and f.kind = 'assigned' and f.user_id is null
      ),
      free as (
        select c.name
        from headway.channel c
        where c.name = any (array(select t.channel from told t))
        order by c.name
        for no key update skip locked
      )
    -- With "not exists", a plan made for an empty queue may compare each row with every other.
    select array_agg(distinct t.project_id)
    into v_held
    from told t
    join headway.channel c on c.name = t.channel
    where t.channel not in (select f.name from free f);
    if v_held is not null then
      v_busy := v_busy || v_held;
      continue;
    end if;

    v_counted := false;
    begin
      select c.consumed, c.facts into v_consumed, v_facts from headway.consume(v_recount, v_tasks) c;
      v_counted := true;
      -- A fact that arrived after the check may have something to post to a channel that somebody has locked:
      -- everything is then rolled back and checked again, rather than making everybody wait.
      perform from headway.channel c
      where c.name = any (array(select 'user_' || f.user_id from unnest(v_facts) f where f.kind in ('assigned', 'reopened')))
      for no key update nowait;
      exit;
    exception
      when lock_not_available then
        if not v_counted then
          raise;
        end if;
    end;
  end loop;
  begin
    perform headway.post_activity(v_facts);
  exception when unique_violation then
    -- A channel is behind its messages, as after a restore of tables that were dumped at different moments.
    perform headway.catch_up_channels();
    perform headway.post_activity(v_facts);
  end;
  return v_consumed;
end
$$;
comment on function headway.fold(integer) is
  'Folds queued facts into the progress tables, posts their activity messages and notifies; returns how many it consumed, 0 if there is nothing it can fold now. max_facts limits a batch, except where a project has to be recounted. What the worker does all day: select headway.fold(). Errors: invalid_parameter_value.';

create function headway.consume(recount bigint[], tasks bigint[], out consumed integer, out facts headway.pending_fact[])
language plpgsql
volatile
as $$
declare
  v_mode text := headway.notify_mode();
  v_notified bigint; -- never read, but a select in a with clause runs only if its result is used
begin
  -- One statement, hence one snapshot: the facts deleted from the queue, what they are worth and the tables that are
  -- counted belong together, whatever commits in the meantime.
  with
    waits as (
      select w.project_id from headway.pending_recompute w
    ),
    consumed as (
      delete from headway.pending_fact f
      where f.ctid = any (array(
        select f.ctid from headway.pending_fact f where f.project_id = any (consume.recount)
        union all
        select f.ctid
        from headway.pending_fact f
        where f.task_id = any (consume.tasks) and f.project_id not in (select w.project_id from waits w)
      ))
      returning f as fact
    ),
    delta as (
      select d.project_id, d.user_id, sum(d.done)::bigint as done, sum(d.total)::bigint as total
      from (
        select e.project_id, e.user_id, e.done, e.total, e.wavered
        from headway.pending_effect e
        where e.task_id = any (consume.tasks) and e.project_id not in (select w.project_id from waits w)
        union all
        select r.project_id, r.user_id, r.done, r.total, false from headway.recount_difference(consume.recount) r
        union all
        select e.project_id, e.user_id, 0, 0, true
        from headway.pending_effect e
        where e.project_id = any (consume.recount) and e.wavered
        union all
        -- Also news to whoever displays a list of customers: someone who joins or leaves moves no bar.
        select (c.fact).project_id, (c.fact).user_id, 0, 0, true
        from consumed c
        where (c.fact).kind in ('assigned', 'recompute')
      ) d
      group by d.project_id, d.user_id
      -- What adds up to nothing may have been something to those who read it in between: they are told what it is now.
      having sum(d.done) <> 0 or sum(d.total) <> 0 or bool_or(d.wavered)
    ),
    shared as (
      update headway.shared_progress s
      set done = s.done + d.done, total = s.total + d.total, version = s.version + 1
      from (
        select d.project_id,
          coalesce(sum(d.done) filter (where d.user_id is null), 0) as done,
          coalesce(sum(d.total) filter (where d.user_id is null), 0) as total
        from delta d
        group by d.project_id
      ) d
      where s.project_id = d.project_id
      returning s.project_id, s.done, s.total, s.version
    ),
    personal as (
      insert into headway.personal_progress as p (project_id, user_id, done, total)
      select d.project_id, d.user_id, d.done, d.total
      from delta d
      where d.user_id is not null and (d.done, d.total) <> (0, 0)
      order by d.project_id, d.user_id
      on conflict on constraint personal_progress_pkey do update
      set done = p.done + excluded.done, total = p.total + excluded.total
      returning p.project_id, p.user_id, p.done, p.total
    ),
    customers as (
      -- A notification with more than 200 customers is too long and goes out without them, so no more than that are
      -- rendered. Whoever has a personal part above zero is a customer. Anyone else may have left, which is looked up
      -- for each of them; offset 0 keeps the planner from reading all members instead.
      select n.project_id, array_to_json(array_agg(g order by n.user_id)) as customers
      from (
        select p.project_id, p.user_id, p.done, p.total,
          row_number() over (partition by p.project_id order by (p.done, p.total) = (0, 0), p.user_id) as number
        from (
          select p.project_id, p.user_id, p.done, p.total from personal p
          union all
          select d.project_id, d.user_id, coalesce(p.done, 0), coalesce(p.total, 0)
          from delta d
          left join headway.personal_progress p on p.project_id = d.project_id and p.user_id = d.user_id
          where d.user_id is not null and (d.done, d.total) = (0, 0)
        ) p
      ) n
      join shared s on s.project_id = n.project_id
      cross join lateral (
        select n.user_id, s.done + n.done as done, s.total + n.total as total,
          headway.percent(s.done + n.done, s.total + n.total) as percent
      ) g
      where case
        when (n.done, n.total) <> (0, 0) then n.number <= 200
        else exists (
          select from headway.member m
          where m.project_id = n.project_id and m.user_id = n.user_id and m.role = 'customer'
          offset 0
        )
      end
      group by n.project_id
    ),
    notified as (
      select count(pg_notify(e.channel, e.payload)) + count(pg_notify('headway_events', e.payload))
      from (
        select 'project_' || s.project_id as channel,
          headway.payload(v_mode, to_json(event), array['customers'], to_json(reference)) as payload
        from shared s
        left join customers c on c.project_id = s.project_id
        cross join lateral (select s.done, s.total) p
        cross join lateral (
          select 'progress' as kind, s.project_id, s.version, to_json(p) as shared, coalesce(c.customers, '[]') as customers
        ) event
        cross join lateral (select event.kind, event.project_id, event.version) reference
        where v_mode <> 'off'
        offset 0 -- builds the payload once for both channels
      ) e
    )
  select (select count(*) from consumed), array_agg(t.fact), (select n.count from notified n)
  into consume.consumed, consume.facts, v_notified
  from (
    select c.fact from consumed c where (c.fact).kind <> 'assigned' or (c.fact).user_id is not null
    union all
    -- A task that becomes assigned is news to each person it is assigned to.
    select jsonb_populate_record(c.fact, jsonb_build_object('user_id', a.user_id))
    from consumed c
    -- One task at a time, even where most assignments are of one task: a join would compare each of them with each fact.
    cross join lateral (select a.user_id from headway.assignment a where a.task_id = (c.fact).task_id offset 0) a
    where (c.fact).kind = 'assigned' and (c.fact).user_id is null
  ) t;
end
$$;
comment on function headway.consume(bigint[], bigint[]) is
  'Folds everything queued in the projects to recount, and everything queued for the given tasks in other projects, notifies of the progress, and returns the number of facts consumed and the facts to post. For headway.fold(), which holds the locks.';

create function headway.post_activity(facts headway.pending_fact[]) returns void
language plpgsql
volatile
as $$
begin
  with
    later as (
      -- The last completion among these facts, by task and person.
      select coalesce(jsonb_object_agg(f.task_id || ' ' || f.user_id, f.id order by f.id), '{}') as ids
      from unnest(post_activity.facts) f
      where f.kind = 'completed'
    ),
    waiting as (
      -- And those still in the queue. Evaluated only where needed, and once: checking each one separately would scan
      -- past all the facts just consumed.
      select coalesce(jsonb_object_agg(p.task_id || ' ' || p.user_id, true), '{}') as ids
      from headway.pending_fact p
      where p.kind = 'completed' and p.task_id = any (array(select f.task_id from unnest(post_activity.facts) f))
    ),
    done as materialized (
      -- For each shared task, the id of the fact whose completion counts: the first whose completion is still there, or 0
      -- if there is one from before all of these facts. Null if there is none but those whose facts are still in the
      -- queue. Computed once for each task: for each fact, it would compare every completion with every other.
      select coalesce(jsonb_object_agg(t.id, case
          when exists (
            select from headway.completion c
            where c.task_id = t.id
              and not (select l.ids from later l) ? (c.task_id || ' ' || c.user_id)
              and not (select w.ids from waiting w) ? (c.task_id || ' ' || c.user_id)
          ) then 0
          else (
            select min(((select l.ids from later l) -> (c.task_id || ' ' || c.user_id))::bigint)
            from headway.completion c
            where c.task_id = t.id and not (select w.ids from waiting w) ? (c.task_id || ' ' || c.user_id)
          )
        end), '{}') as ids
      from headway.task t
      where t.shared and t.id = any (array(
        select f.task_id from unnest(post_activity.facts) f where f.kind in ('completed', 'reopened')
      ))
    ),
    assigned as (
      -- The last assignment among these facts, by task and person, of those who were not assigned before: many ORMs save
      -- a list by deleting it and inserting it again.
      select coalesce(jsonb_object_agg(n.task_id || ' ' || n.user_id, n.id), '{}') as ids
      from (
        select f.task_id, f.user_id, max(f.id) as id
        from unnest(post_activity.facts) f
        where f.kind = 'assigned' or f.kind = 'recompute' and f.task_id is not null
        group by f.task_id, f.user_id
        having count(*) filter (where f.kind = 'assigned') > count(*) filter (where f.kind = 'recompute')
      ) n
    ),
    told as (
      select f.id, u.id as actor_id, h.channel, 'task_' || f.kind as kind, f.project_id, f.task_id, left(t.title, 10000) as title, f.user_id, f.reason
      from (
        select f.*, lead(f.kind) over (partition by f.task_id, f.kind in ('completed', 'reopened') order by f.id) as next_kind
        from unnest(post_activity.facts) f
      ) f
      join headway.task t on t.id = f.task_id and t.project_id = f.project_id
      -- The actor may be gone, or a number that somebody made up. Deleting a person waits for this.
      left join headway.appuser u on u.id = f.actor_id
      cross join lateral (
        -- Mostly nobody else has completed it, and nothing needs to be counted.
        select t.shared
          and (
            select true from headway.completion c where c.task_id = f.task_id and c.user_id <> f.user_id order by c.user_id limit 1
          ) is true
          and coalesce(((select d.ids from done d) ->> f.task_id::text)::bigint, f.id) < f.id as already
      ) d
      cross join lateral (
        select 'project_' || f.project_id || '_staff' as channel
        -- A shared task is completed once; in the order of the facts, whoever comes second changes nothing.
        where f.kind = 'completed' and not d.already
        union all
        select r.channel
        from (
          -- Where several people had completed a shared task, the last of their rows to be deleted tells the staff.
          select 'project_' || f.project_id || '_staff' as channel
          where not t.shared or f.next_kind is distinct from 'reopened'
          union all
          select 'user_' || f.user_id where f.actor_id is distinct from f.user_id
        ) r
        -- While anyone's completion stands, a shared task is not open; a later one does not count.
        where f.kind = 'reopened' and not d.already
        union all
        -- The case keeps the planner from checking first, for everyone, whether they are a customer.
        select 'user_' || f.user_id
        where case
          when f.kind = 'assigned' and t.audience = 'assigned'
            -- If the task became assigned and the person was assigned to it at the same time, they are told only once.
            and ((select a.ids from assigned a) -> (f.task_id || ' ' || f.user_id))::bigint = f.id
          then exists (
            select from headway.member m
            where m.project_id = f.project_id and m.user_id = f.user_id and m.role = 'customer'
          )
        end
      ) h
    ),
    place as (
      update headway.channel c
      set last_seq = c.last_seq + k.messages
      from (select t.channel, count(*) as messages from told t group by t.channel) k
      where c.name = k.channel
      returning c.name, c.last_seq - k.messages as seq
    )
  insert into headway.message (sender, channel, content, seq, kind, task_id, data)
  select t.actor_id, t.channel,
    case t.kind
      when 'task_completed' then 'completed "' || t.title || '"'
      when 'task_reopened' then 'reopened "' || t.title || '"' || coalesce(': ' || t.reason, '')
      else 'You were assigned "' || t.title || '"'
    end,
    p.seq + row_number() over (partition by t.channel order by t.id),
    t.kind, t.task_id,
    jsonb_strip_nulls(jsonb_build_object(
      'project_id', t.project_id, 'title', t.title, 'user_id', t.user_id, 'reason', t.reason
    ))
  from told t
  join place p on p.name = t.channel
  order by t.channel, t.id;
end
$$;
comment on function headway.post_activity(headway.pending_fact[]) is
  'Posts the activity in the folded facts: completions and reopenings to the staff, assignments and reopenings to the people concerned.';
