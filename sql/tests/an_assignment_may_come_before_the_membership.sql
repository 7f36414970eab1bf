-- It counts from the moment the person is a customer, and only then.
begin;
insert into headway.appuser (id, fullname) values (1, 'Abe'), (2, 'Bob');
insert into headway.project (id, name) values (1, 'Website');
insert into headway.task (id, project_id, title, audience, weight) values (1, 1, 'Write the imprint', 'assigned', 4);
insert into headway.assignment (task_id, user_id) values (1, 1), (1, 2);
select headway.fold();

do $$
begin
  assert not exists (select from headway.message), 'nobody is told of a project they are not in';
  assert not exists (select from headway.personal_progress p where p.total > 0);
  insert into headway.member (project_id, user_id, role) values (1, 1, 'customer'), (1, 2, 'staff');
  for v_round in 1..2 loop
    assert (select array_agg((g.user_id, g.done, g.total)::text order by g.user_id) from headway.progress g) = array['(1,0,4)'];
    perform headway.fold();
  end loop;
  update headway.member m set role = 'customer' where m.user_id = 2;
  perform headway.complete_task(1, 2);
  for v_round in 1..2 loop
    assert (select array_agg((g.user_id, g.done, g.total)::text order by g.user_id) from headway.progress g) = array['(1,4,4)', '(2,4,4)'];
    perform headway.fold();
  end loop;
end
$$;
rollback;
