-- An individual task for everyone is in everybody's total, and done by each for themselves.
begin;
insert into headway.appuser (id, fullname) values (1, 'Abe'), (2, 'Bob');
insert into headway.project (id, name) values (1, 'Website');
insert into headway.member (project_id, user_id, role) values (1, 1, 'customer'), (1, 2, 'customer');
insert into headway.task (id, project_id, title, shared, weight) values (1, 1, 'Sign the terms', false, 3), (2, 1, 'Send the logo', true, 1);

insert into headway.completion (task_id, user_id) values (1, 2);

do $$
declare
  v_bars text[];
begin
  for v_round in 1..2 loop
    select array_agg((g.user_id, g.done, g.total, g.percent)::text order by g.user_id) into v_bars from headway.progress g;
    assert v_bars = array['(1,0,4,0)', '(2,3,4,75)'], format('round %s: %s', v_round, v_bars);
    perform headway.fold();
  end loop;
end
$$;

insert into headway.completion (task_id, user_id) values (1, 1);
delete from headway.completion c where c.user_id = 2;

do $$
declare
  v_bars text[];
begin
  for v_round in 1..2 loop
    select array_agg((g.user_id, g.done, g.total, g.percent)::text order by g.user_id) into v_bars from headway.progress g;
    assert v_bars = array['(1,3,4,75)', '(2,0,4,0)'], format('round %s: %s', v_round, v_bars);
    perform headway.fold();
  end loop;
end
$$;
rollback;
