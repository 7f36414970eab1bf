-- Many ORMs save a list by deleting it and inserting it again. Only those whose assignment is new are told.
begin;
insert into headway.appuser (id, fullname) values (1, 'Abe'), (2, 'Bob'), (3, 'Charlie');
insert into headway.project (id, name) values (1, 'Website');
insert into headway.member (project_id, user_id, role) values (1, 1, 'customer'), (1, 2, 'customer'), (1, 3, 'customer');
insert into headway.task (id, project_id, title, audience) values (1, 1, 'Sign the contract', 'assigned'), (2, 1, 'Launch', 'everyone');
insert into headway.assignment (task_id, user_id) values (1, 1), (2, 1);
select headway.fold();

create function pg_temp.told(person bigint) returns bigint language sql as $$
  select count(*) from headway.message m where m.channel = 'user_' || person and m.kind = 'task_assigned'
$$;

do $$
begin
  assert pg_temp.told(1) = 1, 'assigned';
  delete from headway.assignment where task_id = 1;
  insert into headway.assignment (task_id, user_id) values (1, 1), (1, 2);
  perform headway.fold();
  assert pg_temp.told(1) = 1, 'Abe was assigned before';
  assert pg_temp.told(2) = 1, 'Bob was not';

  -- Taken back before anybody was told, and then given again.
  insert into headway.assignment (task_id, user_id) values (1, 3);
  delete from headway.assignment where task_id = 1 and user_id = 3;
  perform headway.fold();
  assert pg_temp.told(3) = 0, 'Charlie is not assigned';
  insert into headway.assignment (task_id, user_id) values (1, 3);
  delete from headway.assignment where task_id = 1 and user_id = 3;
  insert into headway.assignment (task_id, user_id) values (1, 3);
  perform headway.fold();
  assert pg_temp.told(3) = 1, 'Charlie is';

  -- Passed on and back.
  update headway.assignment set user_id = 3 where task_id = 2;
  update headway.assignment set user_id = 1 where task_id = 2;
  update headway.task set audience = 'assigned' where id = 2;
  perform headway.fold();
  assert pg_temp.told(1) = 2 and pg_temp.told(3) = 1, 'the task became one for Abe';

  delete from headway.assignment where task_id = 1 and user_id = 1;
  perform headway.fold();
  insert into headway.assignment (task_id, user_id) values (1, 1);
  perform headway.fold();
  assert pg_temp.told(1) = 3, 'assigned anew';
  assert not exists (select from headway.verify());
end
$$;
rollback;
