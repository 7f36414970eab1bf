-- Completing what is complete is no error, moves nothing and is told once.
begin;
insert into headway.appuser (id, fullname) values (1, 'Abe'), (2, 'Bob'), (4, 'Dana');
insert into headway.project (id, name) values (1, 'Website');
insert into headway.member (project_id, user_id, role) values (1, 1, 'customer'), (1, 2, 'customer'), (1, 4, 'staff');
insert into headway.task (id, project_id, title, shared) values (1, 1, 'Send the logo', true), (2, 1, 'Sign the terms', false);

do $$
begin
  assert headway.complete_task(1, 1), 'the first';
  assert not headway.complete_task(1, 1), 'the same once more';
  assert not headway.complete_task(1, 2), 'somebody else, of a shared task';
  assert headway.complete_task(2, 1) and headway.complete_task(2, 2), 'an individual task is each one''s own';
  assert not headway.complete_task(2, 2), 'an individual task once more';
  assert (select count(*) from headway.completion) = 3;

  -- A plain insert by somebody else is no error either.
  insert into headway.completion (task_id, user_id) values (1, 2);
  insert into headway.completion (task_id, user_id) values (1, 2) on conflict do nothing;
  begin
    insert into headway.completion (task_id, user_id) values (1, 2);
    raise assert_failure using message = 'a second row for one person';
  exception when unique_violation then
    null;
  end;

  for v_round in 1..2 loop
    assert (select array_agg((g.user_id, g.done, g.total)::text order by g.user_id) from headway.progress g)
      = array['(1,2,2)', '(2,2,2)'], 'round ' || v_round;
    perform headway.fold();
  end loop;
  assert (select count(*) from headway.message m where m.channel = 'project_1_staff' and m.task_id = 1) = 1, 'told once';
  assert (select count(*) from headway.message m where m.channel = 'project_1_staff' and m.task_id = 2) = 2, 'told for each';
end
$$;
rollback;
