-- Completions to the staff, assignments to the assigned, in words and in data; nothing is told of a
-- task that is gone.
begin;
insert into headway.appuser (id, fullname) values (1, 'Abe'), (4, 'Dana');
insert into headway.project (id, name) values (1, 'Website');
insert into headway.member (project_id, user_id, role) values (1, 1, 'customer'), (1, 4, 'staff');
insert into headway.task (id, project_id, title, audience) values
  (1, 1, 'Send the "logo"', 'everyone'), (2, 1, 'Imprint', 'assigned'), (3, 1, 'Gone', 'everyone');
select headway.fold();
insert into headway.completion (task_id, user_id, completed_by) values (1, 1, 4), (3, 1, null);
select set_config('headway.actor', '4', true);
insert into headway.assignment (task_id, user_id) values (2, 1), (2, 4), (1, 1);
delete from headway.task t where t.id = 3;
select headway.fold();

do $$
begin
  assert (select array_agg(array[m.channel, m.sender::text, m.kind, m.task_id::text, m.content] order by m.channel) from headway.message m) = array[
    ['project_1_staff', '4', 'task_completed', '1', 'completed "Send the "logo""'],
    ['user_1', '4', 'task_assigned', '2', 'You were assigned "Imprint"']
  ], (select array_agg(m::text)::text from headway.message m);
  assert (select m.data from headway.message m where m.channel = 'project_1_staff')
    = '{"project_id": 1, "title": "Send the \"logo\"", "user_id": 1}';
end
$$;
rollback;
