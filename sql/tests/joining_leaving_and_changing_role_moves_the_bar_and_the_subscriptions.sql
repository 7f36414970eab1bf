-- Who joins has the tasks for everyone at once, what was completed counts again for whoever comes
-- back, and the staff channel is for staff.
begin;
insert into headway.appuser (id, fullname) values (1, 'Abe'), (2, 'Bob'), (4, 'Dana');
insert into headway.project (id, name) values (1, 'Website');
insert into headway.task (id, project_id, title, shared) values (1, 1, 'Send the logo', true), (2, 1, 'Sign the terms', false);
insert into headway.member (project_id, user_id, role) values (1, 1, 'customer');
insert into headway.completion (task_id, user_id) values (1, 1), (2, 1);
select headway.fold();
select headway.open_channel('design_review', 1, array[1]);

do $$
begin
  -- Later than the completion.
  insert into headway.member (project_id, user_id, role) values (1, 2, 'customer'), (1, 4, 'staff');
  for v_round in 1..2 loop
    assert (select array_agg((g.user_id, g.done, g.total)::text order by g.user_id) from headway.progress g) = array['(1,2,2)', '(2,1,2)'];
    perform headway.fold();
  end loop;
  assert (select array_agg(s.channel || ' ' || s.user_id order by s.channel, s.user_id) from headway.subscription s where s.channel ~ '^(project|design)')
    = array['design_review 1', 'project_1 1', 'project_1 2', 'project_1 4', 'project_1_staff 4'];

  -- A customer becomes staff and has no bar; what they did together stays done.
  update headway.member m set role = 'staff' where m.user_id = 1;
  for v_round in 1..2 loop
    assert (select array_agg((g.user_id, g.done, g.total)::text order by g.user_id) from headway.progress g) = array['(2,1,2)'];
    perform headway.fold();
  end loop;
  assert exists (select from headway.subscription s where s.channel = 'project_1_staff' and s.user_id = 1);
  update headway.member m set role = 'customer' where m.user_id in (1, 4);
  assert not exists (select from headway.subscription s where s.channel = 'project_1_staff');
  assert (select count(*) from headway.subscription s where s.channel = 'project_1') = 3;
  for v_round in 1..2 loop
    assert (select array_agg((g.user_id, g.done, g.total)::text order by g.user_id) from headway.progress g) = array['(1,2,2)', '(2,1,2)', '(4,1,2)'];
    perform headway.fold();
  end loop;

  -- Leaving takes every channel of the project along, coming back brings what was completed.
  delete from headway.member m where m.user_id = 1;
  assert (select array_agg(s.channel order by s.channel) from headway.subscription s where s.user_id = 1) = array['broadcast', 'user_1'];
  for v_round in 1..2 loop
    assert not exists (select from headway.progress g where g.user_id = 1);
    perform headway.fold();
  end loop;
  insert into headway.member (project_id, user_id, role) values (1, 1, 'customer');
  for v_round in 1..2 loop
    assert (select (g.done, g.total)::text from headway.progress g where g.user_id = 1) = '(2,2)';
    perform headway.fold();
  end loop;

  -- A membership may be given to somebody else.
  update headway.member m set user_id = 2 where m.user_id = 1 and not exists (select from headway.member o where o.user_id = 2);
  delete from headway.member m where m.user_id = 2;
  update headway.member m set user_id = 2 where m.user_id = 1;
  for v_round in 1..2 loop
    assert (select array_agg((g.user_id, g.done, g.total)::text order by g.user_id) from headway.progress g) = array['(2,1,2)', '(4,1,2)'];
    perform headway.fold();
  end loop;
  assert not exists (select from headway.subscription s where s.channel = 'project_1' and s.user_id = 1);
  assert not exists (select from headway.verify());
end
$$;
rollback;
