-- Who was told that a task is theirs is not told again because somebody edits it, or writes the assignment as it is.
begin;
insert into headway.appuser (id, fullname) values (1, 'Abe'), (2, 'Bob');
insert into headway.project (id, name) values (1, 'Website');
insert into headway.member (project_id, user_id, role) values (1, 1, 'customer'), (1, 2, 'customer');
insert into headway.task (id, project_id, title, shared, audience) values (1, 1, 'Send the logo', false, 'assigned');
insert into headway.assignment (task_id, user_id) values (1, 1);
select headway.fold();

do $$
begin
  update headway.task t set title = 'Send the new logo', detail = 'SVG', due_at = now();
  update headway.task t set weight = 3, shared = true;
  perform headway.fold();
  assert (select count(*) from headway.message m where m.kind = 'task_assigned') = 1, 'told again, of an edited task';

  insert into headway.assignment (task_id, user_id) values (1, 1), (1, 2)
  on conflict (task_id, user_id) do update set user_id = excluded.user_id;
  update headway.assignment a set user_id = a.user_id;
  perform headway.fold();
  assert (select array_agg(m.channel order by m.id) from headway.message m where m.kind = 'task_assigned')
    = array['user_1', 'user_2'], 'told again, of an assignment that was there';
end
$$;
rollback;
