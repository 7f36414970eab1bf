-- What a person was told of a project that they have left makes no mail due, whoever else is still in it.
begin;
insert into headway.appuser (id, fullname, email) values (1, 'Abe', null), (2, 'Bob', 'bob@example.com');
insert into headway.project (id, name) values (1, 'Website');
insert into headway.member (project_id, user_id, role) values (1, 1, 'customer'), (1, 2, 'customer');
insert into headway.task (id, project_id, title, audience) values (1, 1, 'Send the logo', 'assigned');
insert into headway.assignment (task_id, user_id) values (1, 2);
select headway.fold();

do $$
begin
  assert exists (select from headway.unmailed n where n.user_id = 2);
  delete from headway.member m where m.user_id = 2;
  assert not exists (select from headway.unmailed n where n.user_id = 2), 'it could be in no mail';
  assert not exists (select from headway.due_digests(now() + interval '5 hours'));
end
$$;
rollback;
