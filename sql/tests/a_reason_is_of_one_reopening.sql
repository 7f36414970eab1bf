-- The reason of one reopening is not that of what is deleted later in the same transaction.
begin;
insert into headway.appuser (id, fullname) values (1, 'Abe'), (4, 'Dana');
insert into headway.project (id, name) values (1, 'Website');
insert into headway.member (project_id, user_id, role) values (1, 1, 'customer'), (1, 4, 'staff');
insert into headway.task (id, project_id, title, shared) values (1, 1, 'Send the logo', false), (2, 1, 'Sign', true);
insert into headway.completion (task_id, user_id) values (1, 1), (2, 1);
select headway.fold();

do $$
begin
  perform headway.reopen_task(1, 1, 4, 'The logo is blurred');
  delete from headway.completion c where c.task_id = 2;
  perform headway.fold();
  assert (
    select array_agg(distinct m.content order by m.content) from headway.message m where m.kind = 'task_reopened'
  ) = array['reopened "Send the logo": The logo is blurred', 'reopened "Sign"'], 'the reason leaked';
end
$$;
rollback;
