-- Per customer, the open tasks that are for them, with what blocks each.
begin;
insert into headway.appuser (id, fullname) values (1, 'Abe'), (2, 'Bob');
insert into headway.project (id, name) values (1, 'Website');
insert into headway.member (project_id, user_id, role) values (1, 1, 'customer'), (1, 2, 'customer');
insert into headway.task (id, project_id, title, shared, audience) values
  (1, 1, 'Send the logo', true, 'everyone'),
  (2, 1, 'Approve the draft', false, 'everyone'),
  (3, 1, 'Upload a portrait', false, 'assigned'),
  (4, 1, 'Launch', true, 'everyone');
insert into headway.assignment (task_id, user_id) values (3, 1);
insert into headway.prerequisite (task_id, requires_id) values (2, 1), (2, 3), (4, 2);

do $$
begin
  assert (select array_agg((o.user_id, o.task_id, o.blocked_by)::text order by o.user_id, o.task_id) from headway.outstanding_task o)
    = array['(1,1,{})', '(1,2,"{1,3}")', '(1,3,{})', '(1,4,{2})', '(2,1,{})', '(2,2,{1})', '(2,4,{2})'], 'at first';
  insert into headway.completion (task_id, user_id) values (1, 2);
  assert (select array_agg((o.user_id, o.task_id, o.blocked_by)::text order by o.user_id, o.task_id) from headway.outstanding_task o)
    = array['(1,2,{3})', '(1,3,{})', '(1,4,{2})', '(2,2,{})', '(2,4,{2})'], 'the logo is there';
end
$$;
rollback;
