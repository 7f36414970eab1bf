-- A task that several completed, each for themselves, counts as often, and the bar begins before the first of them.
begin;
insert into headway.appuser (id, fullname, email) values (1, 'Abe', null), (2, 'Bob', null), (4, 'Dana', 'dana@example.com');
insert into headway.project (id, name) values (1, 'Website');
insert into headway.member (project_id, user_id, role) values (1, 1, 'customer'), (1, 2, 'customer'), (1, 4, 'staff');
insert into headway.task (id, project_id, title, shared) values (1, 1, 'Sign the terms', false);
insert into headway.completion (task_id, user_id) values (1, 1), (1, 2);
select headway.fold(), headway.reserve_digest(4);

do $$
declare
  v_content json := headway.claim_digest(gen_random_uuid());
begin
  assert v_content #>> '{counts,completed}' = '2';
  assert (v_content #>> '{projects,0,from,done}', v_content #>> '{projects,0,to,done}') = ('0', '2'), v_content;
end
$$;
rollback;
