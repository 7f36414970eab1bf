-- What has to be completed before comes in the order of ids.
begin;
insert into headway.appuser (id, fullname) values (1, 'Abe');
insert into headway.project (id, name) values (1, 'Website');
insert into headway.member (project_id, user_id, role) values (1, 1, 'customer');
insert into headway.task (id, project_id, title) select n, 1, 'Task' from unnest(array[9, 3, 7, 1, 5]) n;
insert into headway.prerequisite (task_id, requires_id) values (1, 9), (1, 3), (1, 7), (1, 5);
do $$
begin
  assert (select o.blocked_by from headway.outstanding_task o where o.task_id = 1) = array[3, 5, 7, 9]::bigint[];
end
$$;
rollback;
