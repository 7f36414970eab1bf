-- A bulk load is one recount of its project, not a fact per task.
begin;
insert into headway.appuser (id, fullname) values (1, 'Abe');
insert into headway.project (id, name) values (1, 'Website'), (2, 'Shop');
insert into headway.member (project_id, user_id, role) values (1, 1, 'customer'), (2, 1, 'customer');
select headway.fold();
insert into headway.task (id, project_id, title) select n, case when n <= 500 then 1 else 2 end, 'Task ' || n from generate_series(1, 600) n;

do $$
begin
  assert (select array_agg(f order by f) from (select p.project_id || ' ' || p.kind || ' ' || count(*) as f from headway.pending_fact p group by p.project_id, p.kind) f)
    = array['1 recompute 1', '2 task_added 100'];
  for v_round in 1..2 loop
    assert (select array_agg(g.total order by g.project_id) from headway.progress g) = array[500, 100]::bigint[];
    perform headway.fold();
  end loop;
end
$$;
rollback;
