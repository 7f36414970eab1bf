-- Who passes a task on to another is who tells them.
begin;
insert into headway.appuser (id, fullname) values (1, 'Abe'), (2, 'Bob'), (4, 'Dana');
insert into headway.project (id, name) values (1, 'Website');
insert into headway.member (project_id, user_id, role) values (1, 1, 'customer'), (1, 2, 'customer'), (1, 4, 'staff');
insert into headway.task (id, project_id, title, audience) values (1, 1, 'Send the logo', 'assigned');
insert into headway.assignment (task_id, user_id) values (1, 1);
select headway.fold();

do $$
begin
  perform set_config('headway.actor', '4', true);
  update headway.assignment a set user_id = 2;
  perform headway.fold();
  assert (select m.sender from headway.message m where m.channel = 'user_2') = 4, 'Dana did';
end
$$;
rollback;
