-- Statements without a row, and updates of columns that no bar depends on.
begin;
insert into headway.appuser (id, fullname) values (1, 'Abe'), (2, 'Bob');
insert into headway.project (id, name) values (1, 'Website');
insert into headway.member (project_id, user_id, role) values (1, 1, 'customer');
insert into headway.task (id, project_id, title) values (1, 1, 'Send the logo');
insert into headway.assignment (task_id, user_id) values (1, 1);
insert into headway.completion (task_id, user_id) values (1, 1);
select headway.fold();

insert into headway.member (project_id, user_id, role) select 1, 2, 'customer' where false;
update headway.member m set role = 'staff' where false;
delete from headway.member m where false;
insert into headway.task (project_id, title) select 1, 'x' where false;
update headway.task t set weight = 9 where false;
delete from headway.task t where false;
insert into headway.assignment (task_id, user_id) select 1, 2 where false;
update headway.assignment a set user_id = 2 where false;
delete from headway.assignment a where false;
insert into headway.completion (task_id, user_id) select 1, 1 where false;
update headway.completion c set completed_at = now() where false;
delete from headway.completion c where false;
insert into headway.prerequisite (task_id, requires_id) select 1, 1 where false;
update headway.task t set title = 'Send the new logo', detail = 'SVG', due_at = now(), position = 7, weight = t.weight, created_by = 1;
update headway.member m set joined_at = now(), role = m.role;
update headway.completion c set completed_at = now();
update headway.project p set name = 'New name', archived_at = now();
update headway.appuser u set fullname = 'Abraham';

do $$
begin
  assert not exists (select from headway.pending_fact), (select string_agg(f.kind, ', ') from headway.pending_fact f);
end
$$;
rollback;
