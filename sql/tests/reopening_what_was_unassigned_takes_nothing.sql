-- Reopening what is not one's own any more takes nothing from one's bar.
begin;
insert into headway.appuser (id, fullname) values (1, 'Abe');
insert into headway.project (id, name) values (1, 'Website');
insert into headway.member (project_id, user_id, role) values (1, 1, 'customer');
insert into headway.task (id, project_id, title, shared, audience) values (1, 1, 'Send the logo', false, 'assigned');
insert into headway.assignment (task_id, user_id) values (1, 1);
insert into headway.completion (task_id, user_id) values (1, 1);
select headway.fold();
delete from headway.assignment;
select headway.fold();
delete from headway.completion;
do $$
begin
  for v_round in 1..2 loop
    assert not exists (select from headway.verify()), 'round ' || v_round;
    assert (select g.done = 0 and g.total = 0 from headway.progress g), 'round ' || v_round;
    perform headway.fold();
  end loop;
end
$$;
rollback;
