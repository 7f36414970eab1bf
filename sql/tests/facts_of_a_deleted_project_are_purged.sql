-- They have nobody to tell, and must not keep the queue from being empty.
begin;
insert into headway.appuser (id, fullname) values (1, 'Abe');
insert into headway.project (id, name) values (1, 'Website'), (2, 'Shop');
insert into headway.member (project_id, user_id, role) values (1, 1, 'customer'), (2, 1, 'customer');
insert into headway.task (id, project_id, title) values (1, 1, 'Send the logo'), (2, 2, 'x');
insert into headway.completion (task_id, user_id) values (1, 1), (2, 1);
delete from headway.project p where p.id = 1;

do $$
begin
  assert exists (select from headway.pending_fact f where f.project_id = 1);
  assert not exists (select from headway.verify());
  while headway.fold(1) > 0 loop
  end loop;
  assert not exists (select from headway.pending_fact);
  assert (select array_agg((g.project_id, g.done, g.total)::text) from headway.progress g) = array['(2,1,1)'];
  delete from headway.project;
  perform headway.fold();
  assert not exists (select from headway.pending_fact) and not exists (select from headway.shared_progress) and not exists (select from headway.personal_progress);
end
$$;
rollback;
