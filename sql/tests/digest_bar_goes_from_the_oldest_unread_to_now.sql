-- The bar in a mail goes from where it was at the oldest unread message to where it is now, as a plain recount has it.
begin;
insert into headway.appuser (id, fullname, email) select n, 'Person ' || n, 'person' || n || '@example.com' from generate_series(1, 10) n;
insert into headway.project (id, name) values (1, 'Website'), (2, 'Shop');
insert into headway.member (project_id, user_id, role) select p, n, case when n < 9 then 'customer' else 'staff' end from generate_series(1, 2) p, generate_series(1, 10) n;
select setseed(0.5);
insert into headway.task (id, project_id, title, weight, shared, audience)
select n, 1 + n % 2, 'Task ' || n, 1 + n % 7, random() < 0.5, case when random() < 0.5 then 'everyone' else 'assigned' end from generate_series(1, 80) n;
insert into headway.assignment (task_id, user_id) select t.id, u.id from headway.task t, headway.appuser u where t.audience = 'assigned' and random() < 0.4;
insert into headway.completion (task_id, user_id, completed_at)
select t.id, m.user_id, now() - random() * interval '48 hours'
from headway.task t
join headway.member m on m.project_id = t.project_id and m.role = 'customer'
where headway.is_for(t.id, t.audience, m.user_id) and random() < case when t.shared then 0.1 else 0.5 end;
select headway.fold();
select headway.mark_read(s.user_id, s.channel) from headway.subscription s;

-- What the words of the definition say, task by task and customer by customer.
create function pg_temp.done(project_id bigint, user_id bigint, at timestamptz) returns bigint
language sql
as $$
  select coalesce(sum(t.weight), 0)
  from headway.member m
  join headway.task t on t.project_id = m.project_id
  where m.project_id = done.project_id and m.role = 'customer' and (m.user_id = done.user_id or done.user_id is null)
    and (t.audience = 'everyone' or exists (select from headway.assignment a where a.task_id = t.id and a.user_id = m.user_id))
    and exists (select from headway.completion c where c.task_id = t.id and (t.shared or c.user_id = m.user_id) and c.completed_at < done.at)
$$;
create function pg_temp.total(project_id bigint, user_id bigint) returns bigint
language sql
as $$
  select coalesce(sum(t.weight), 0)
  from headway.member m
  join headway.task t on t.project_id = m.project_id
  where m.project_id = total.project_id and m.role = 'customer' and (m.user_id = total.user_id or total.user_id is null)
    and (t.audience = 'everyone' or exists (select from headway.assignment a where a.task_id = t.id and a.user_id = m.user_id))
$$;

do $$
declare
  v_sent_at timestamptz := now() - interval '24 hours';
  v_id bigint;
  v_project json;
  v_whose bigint;
  v_want text;
  v_moved integer := 0;
  v_since timestamptz;
begin
  perform pg_temp.post(10, 'project_1', '23 hours'), pg_temp.post(10, 'project_2', '24 hours'), pg_temp.post(10, 'project_1', '1 hour');
  for v_user in 1..9 loop
    v_id := headway.reserve_digest(v_user);
    v_whose := case when v_user < 9 then v_user end;
    for v_project in select json_array_elements(headway.digest_content(v_id) -> 'projects') loop
      v_want := format('%s %s of %s, %s of %s', v_project ->> 'name',
        pg_temp.done((v_project ->> 'project_id')::bigint, v_whose, v_sent_at), pg_temp.total((v_project ->> 'project_id')::bigint, v_whose),
        pg_temp.done((v_project ->> 'project_id')::bigint, v_whose, 'infinity'), pg_temp.total((v_project ->> 'project_id')::bigint, v_whose));
      assert v_want = format('%s %s of %s, %s of %s', v_project ->> 'name', v_project #>> '{from,done}', v_project #>> '{from,total}', v_project #>> '{to,done}', v_project #>> '{to,total}'),
        format('%s should have %s: %s', v_user, v_want, v_project);
      assert (v_project #>> '{to,percent}')::integer = floor(100.0 * (v_project #>> '{to,done}')::integer / (v_project #>> '{to,total}')::integer);
      v_moved := v_moved + (v_project #>> '{from,done}' <> v_project #>> '{to,done}')::integer;
    end loop;
  end loop;
  assert v_moved > 12, 'hardly a bar moved: that proves little';

  -- To the staff the completions themselves are what is unread: the bar begins before the first of them, though one
  -- was entered with a date long past.
  delete from headway.completion c where c.task_id in (select t.id from headway.task t where t.project_id = 1 and t.shared);
  perform headway.fold(), headway.mark_read(9, s.channel) from headway.subscription s where s.user_id = 9;
  v_since := clock_timestamp();
  insert into headway.completion (task_id, user_id, completed_at)
  select t.id, a.user_id, case when t.id = (select min(f.id) from headway.task f where f.project_id = 1 and f.shared and f.audience = 'assigned') then '2001-01-01' else v_since end
  from headway.task t
  cross join lateral (select a.user_id from headway.assignment a where a.task_id = t.id and a.user_id < 9 order by a.user_id limit 1) a
  where t.project_id = 1 and t.shared and t.audience = 'assigned';
  perform headway.fold();
  update headway.completion set completed_at = v_since - interval '30 hours' where completed_at < v_since and completed_at > '2002-01-01';
  v_id := headway.reserve_digest(9);
  v_project := headway.digest_content(v_id) #> '{projects,0}';
  assert (v_project #>> '{to,done}')::bigint = pg_temp.done(1, null, 'infinity');
  assert (v_project #>> '{from,done}')::bigint = pg_temp.done(1, null, v_since - interval '25 hours'), v_project::text;
end
$$;
rollback;
