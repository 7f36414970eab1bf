-- However small the batches, every step in between is exact and the queue ends empty.
begin;
insert into headway.appuser (id, fullname) values (1, 'Abe'), (2, 'Bob');
insert into headway.project (id, name) values (1, 'Website'), (2, 'Shop');
insert into headway.member (project_id, user_id, role) select p, u, 'customer' from generate_series(1, 2) p, generate_series(1, 2) u;
select headway.fold();
insert into headway.task (id, project_id, title, shared, weight) select n, 1 + n % 2, 'Task ' || n, n % 3 > 0, n from generate_series(1, 20) n;
insert into headway.completion (task_id, user_id) select n, 1 + n / 2 % 2 from generate_series(1, 20) n;
delete from headway.completion c where c.task_id % 5 = 0;

do $$
declare
  v_bars text[];
  v_rounds integer := 0;
begin
  select array_agg((g.project_id, g.user_id, g.done, g.total)::text order by g.project_id, g.user_id) into v_bars from headway.progress g;
  assert v_bars[1] like '(1,1,%', v_bars::text;
  while headway.fold(1) > 0 loop
    v_rounds := v_rounds + 1;
    assert (select array_agg((g.project_id, g.user_id, g.done, g.total)::text order by g.project_id, g.user_id) from headway.progress g) = v_bars, 'round ' || v_rounds;
    assert not exists (select from headway.verify()), 'round ' || v_rounds;
  end loop;
  assert v_rounds = 20, 'a task at a time, not ' || v_rounds;
  assert not exists (select from headway.pending_fact);
end
$$;
rollback;
