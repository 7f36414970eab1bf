-- Deleting one of two completions of a shared task moves no bar, and nobody is told that it is open.
begin;
insert into headway.appuser (id, fullname) values (1, 'Abe'), (2, 'Bob'), (4, 'Dana');
insert into headway.project (id, name) values (1, 'Website');
insert into headway.member (project_id, user_id, role) values (1, 1, 'customer'), (1, 2, 'customer'), (1, 4, 'staff');
insert into headway.task (id, project_id, title) values (1, 1, 'Send the logo');
insert into headway.completion (task_id, user_id) values (1, 1), (1, 2);
select headway.fold();

delete from headway.completion c where c.user_id = 1;

do $$
begin
  for v_round in 1..2 loop
    assert (select array_agg((g.user_id, g.done, g.total)::text order by g.user_id) from headway.progress g)
      = array['(1,1,1)', '(2,1,1)'], 'round ' || v_round;
    perform headway.fold();
  end loop;
  assert not exists (select from headway.message m where m.kind = 'task_reopened'), 'it is not open';
  delete from headway.completion c where c.user_id = 2;
  perform headway.fold();
  assert (select array_agg((g.user_id, g.done, g.total)::text order by g.user_id) from headway.progress g)
      = array['(1,0,1)', '(2,0,1)'], 'now it is';
  assert (select count(*) from headway.message m where m.kind = 'task_reopened' and m.channel = 'project_1_staff') = 1;
end
$$;
rollback;
