-- A task that several completed, each for themselves, counts as often.
begin;
insert into headway.appuser (id, fullname, email) values (1, 'Abe', null), (2, 'Bob', null), (4, 'Dana', 'dana@example.com');
insert into headway.project (id, name) values (1, 'Website');
insert into headway.member (project_id, user_id, role) values (1, 1, 'customer'), (1, 2, 'customer'), (1, 4, 'staff');
insert into headway.task (id, project_id, title, shared) values (1, 1, 'Sign the terms', false);
insert into headway.completion (task_id, user_id) values (1, 1), (1, 2);
select headway.fold(), headway.reserve_digest(4);

do $$
begin
  assert (headway.claim_digest(gen_random_uuid()) #>> '{counts,completed}')::integer = 2;
end
$$;
rollback;
