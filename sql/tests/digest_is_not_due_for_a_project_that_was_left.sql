-- What a person was told of a project that they have left makes no mail due, whoever else is still in it, and however
-- large the project's id.
begin;
insert into headway.appuser (id, fullname, email) values (1, 'Abe', null), (2, 'Bob', 'bob@example.com');
insert into headway.project (id, name) values (1, 'Website'), (1999999999999999999, 'Shop'), (9223372036854775807, 'Blog');
insert into headway.member (project_id, user_id, role) values (1, 1, 'customer');
insert into headway.member (project_id, user_id, role) select p.id, 2, 'customer' from headway.project p;
insert into headway.task (project_id, title, audience) select p.id, 'Send the logo', 'assigned' from headway.project p;
insert into headway.assignment (task_id, user_id) select t.id, 2 from headway.task t;
select headway.fold();

do $$
begin
  assert (select count(*) from headway.unread_message n where n.user_id = 2) = 3;
  assert exists (select from headway.unmailed n where n.user_id = 2);
  delete from headway.member m where m.user_id = 2;
  assert not exists (select from headway.unmailed n where n.user_id = 2), 'it could be in no mail';
  assert not exists (select from headway.due_digests(now() + interval '5 hours'));
end
$$;
rollback;
