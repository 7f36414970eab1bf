-- What waits of a task is not told of another task that got its id, in another project.
begin;
insert into headway.appuser (id, fullname) values (1, 'Abe'), (4, 'Dana');
insert into headway.project (id, name) values (1, 'Website'), (2, 'Secret');
insert into headway.member (project_id, user_id, role) values (1, 1, 'customer'), (1, 4, 'staff');
insert into headway.task (id, project_id, title) values (1, 1, 'Send the logo');
select headway.fold();
insert into headway.completion (task_id, user_id) values (1, 1);
delete from headway.task;
insert into headway.task (id, project_id, title) values (1, 2, 'Buy the competitor');

do $$
begin
  while headway.fold() > 0 loop
  end loop;
  assert not exists (select from headway.message), (select m.channel || ': ' || m.content from headway.message m);
  assert not exists (select from headway.verify());
end
$$;
rollback;
