-- Who makes a task one for some is who tells those it is assigned to.
begin;
insert into headway.appuser (id, fullname) values (1, 'Abe'), (4, 'Dana');
insert into headway.project (id, name) values (1, 'Website');
insert into headway.member (project_id, user_id, role) values (1, 1, 'customer'), (1, 4, 'staff');
insert into headway.task (id, project_id, title) values (1, 1, 'Send the logo');
insert into headway.assignment (task_id, user_id) values (1, 1);
select headway.fold();

do $$
begin
  perform set_config('headway.actor', '4', true);
  update headway.task t set audience = 'assigned';
  perform headway.fold();
  assert (select m.sender from headway.message m where m.kind = 'task_assigned') = 4, 'Dana assigned it';
end
$$;
rollback;
