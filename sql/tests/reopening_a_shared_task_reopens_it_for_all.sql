-- reopen_task opens a shared task whoever completed it, and however many did; staff hear of it once.
begin;
insert into headway.appuser (id, fullname) values (1, 'Abe'), (2, 'Bob'), (4, 'Dana');
insert into headway.project (id, name) values (1, 'Website');
insert into headway.member (project_id, user_id, role) values (1, 1, 'customer'), (1, 2, 'customer'), (1, 4, 'staff');
insert into headway.task (id, project_id, title) values (1, 1, 'Send the logo');
insert into headway.completion (task_id, user_id) values (1, 1), (1, 2);
select headway.fold();

do $$
begin
  assert headway.reopen_task(1, 2, 4, 'The logo is blurred'), 'it was complete';
  assert not headway.reopen_task(1, 2, 4), 'it is open';
  for v_round in 1..2 loop
    assert (select array_agg((g.user_id, g.done, g.total)::text order by g.user_id) from headway.progress g)
      = array['(1,0,1)', '(2,0,1)'], 'round ' || v_round;
    perform headway.fold();
  end loop;
  assert (select count(*) from headway.message m where m.channel = 'project_1_staff' and m.kind = 'task_reopened') = 1, 'told once';
  assert (select array_agg(m.channel order by m.channel) from headway.message m where m.kind = 'task_reopened' and m.channel ~ '^user_')
    = array['user_1', 'user_2'], 'those who had completed it are told';

  -- One by one, with something else in between.
  insert into headway.completion (task_id, user_id) values (1, 1), (1, 2);
  perform headway.fold();
  delete from headway.completion where user_id = 1;
  insert into headway.assignment (task_id, user_id) values (1, 1);
  delete from headway.completion where user_id = 2;
  perform headway.fold();
  assert (select count(*) from headway.message m where m.channel = 'project_1_staff' and m.kind = 'task_reopened') = 2, 'told once more';
end
$$;
rollback;
