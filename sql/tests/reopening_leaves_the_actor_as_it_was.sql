-- Who acts in a transaction still does after a task was reopened in somebody's name.
begin;
insert into headway.appuser (id, fullname) values (1, 'Abe'), (4, 'Dana'), (5, 'Eve');
insert into headway.project (id, name) values (1, 'Website');
insert into headway.member (project_id, user_id, role) values (1, 1, 'customer'), (1, 4, 'staff'), (1, 5, 'staff');
insert into headway.task (id, project_id, title) values (1, 1, 'Send the logo'), (2, 1, 'Sign');
insert into headway.completion (task_id, user_id) values (1, 1), (2, 1);
select headway.fold();

do $$
begin
  perform set_config('headway.actor', '4', true);
  perform headway.reopen_task(1, 1, 5);
  delete from headway.completion c where c.task_id = 2;
  perform headway.fold();
  assert (
    select array_agg(m.sender order by m.seq) from headway.message m where m.channel = 'project_1_staff' and m.kind = 'task_reopened'
  ) = array[5, 4]::bigint[];
end
$$;
rollback;
