-- In the bar that staff are shown, whoever is no customer counts neither now nor before.
begin;
insert into headway.appuser (id, fullname) values (1, 'Abe'), (2, 'Bob'), (3, 'Charlie'), (4, 'Dora');
insert into headway.project (id, name) values (1, 'Garden');
insert into headway.member (project_id, user_id, role) values (1, 1, 'customer'), (1, 2, 'customer'), (1, 3, 'customer'), (1, 4, 'staff');
insert into headway.task (id, project_id, title, weight, shared, audience) values
  (1, 1, 'Sign', 3, false, 'everyone'), (2, 1, 'Water', 5, true, 'assigned'), (3, 1, 'Dig', 7, false, 'assigned');
insert into headway.assignment (task_id, user_id) values (2, 1), (2, 3), (2, 4), (3, 1), (3, 3);
insert into headway.completion (task_id, user_id) values (1, 1), (1, 3), (2, 1), (3, 3);
-- Charlie becomes staff with what was done an hour ago.
update headway.completion set completed_at = now() - interval '1 hour';
update headway.member m set role = 'staff' where m.user_id = 3;

do $$
declare
  v_bar record;
begin
  for v_round in 1..2 loop
    select * into strict v_bar from headway.bar_since(1, 4, 'staff', now() - interval '1 day');
    assert (v_bar.done_before, v_bar.done, v_bar.total) = (0, 3 + 5, 2 * 3 + 5 + 7), v_bar::text;
    perform headway.fold();
  end loop;
end
$$;
rollback;
