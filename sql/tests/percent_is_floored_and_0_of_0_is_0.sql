-- 100 means that everything is done, and nothing less does.
begin;
insert into headway.appuser (id, fullname) values (1, 'Abe');
insert into headway.project (id, name) values (1, 'Website');
insert into headway.member (project_id, user_id, role) values (1, 1, 'customer');

do $$
begin
  assert (select (g.done, g.total, g.percent)::text from headway.progress g) = '(0,0,0)', 'a customer with no task';
  perform headway.fold();
  assert (select (g.done, g.total, g.percent)::text from headway.progress g) = '(0,0,0)', 'a customer with no task, folded';
  assert headway.percent(0, 0) = 0 and headway.percent(0, 9) = 0 and headway.percent(9, 9) = 100, 'the ends';
  assert headway.percent(2, 3) = 66, 'floor, not round';
  assert headway.percent(999999999999, 1000000000000) = 99, 'almost is not all';
  assert headway.percent(9223372036854775806, 9223372036854775807) = 99 and headway.percent(9223372036854775807, 9223372036854775807) = 100, 'much';
end
$$;

insert into headway.task (id, project_id, title, weight) values (1, 1, 'Nearly everything', 2147483647), (2, 1, 'The rest', 1);
insert into headway.completion (task_id, user_id) values (1, 1);

do $$
begin
  for v_round in 1..2 loop
    assert (select (g.done, g.total, g.percent)::text from headway.progress g) = '(2147483647,2147483648,99)', 'round ' || v_round;
    assert (select (g.customers, g.done, g.total, g.percent)::text from headway.project_progress g) = '(1,2147483647,2147483648,99)';
    perform headway.fold();
  end loop;
end
$$;
rollback;
