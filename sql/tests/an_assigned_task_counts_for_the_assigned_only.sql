-- An assigned task is in the bar of those it is assigned to: shared, one of them does it for all of
-- them; individual, each does it alone.
begin;
insert into headway.appuser (id, fullname) values (1, 'Abe'), (2, 'Bob'), (3, 'Charlie');
insert into headway.project (id, name) values (1, 'Website');
insert into headway.member (project_id, user_id, role) values (1, 1, 'customer'), (1, 2, 'customer'), (1, 3, 'customer');
insert into headway.task (id, project_id, title, shared, audience, weight) values
  (1, 1, 'Write the imprint', true, 'assigned', 2),
  (2, 1, 'Upload a portrait', false, 'assigned', 5),
  (3, 1, 'Nobody''s', true, 'assigned', 11);
insert into headway.assignment (task_id, user_id) values (1, 1), (1, 2), (2, 1), (2, 2);

insert into headway.completion (task_id, user_id) values (1, 1), (2, 2);

do $$
declare
  v_bars text[];
begin
  for v_round in 1..2 loop
    select array_agg((g.user_id, g.done, g.total, g.percent)::text order by g.user_id) into v_bars from headway.progress g;
    assert v_bars = array['(1,2,7,28)', '(2,7,7,100)', '(3,0,0,0)'], format('round %s: %s', v_round, v_bars);
    perform headway.fold();
  end loop;
end
$$;

-- Assigned to another, then taken away: what Abe completed is done for Charlie too, and nobody's for Abe.
insert into headway.assignment (task_id, user_id) values (1, 3);
delete from headway.assignment a where a.task_id = 1 and a.user_id = 1;
update headway.assignment a set user_id = 3 where a.task_id = 2 and a.user_id = 1;

do $$
declare
  v_bars text[];
begin
  for v_round in 1..2 loop
    select array_agg((g.user_id, g.done, g.total, g.percent)::text order by g.user_id) into v_bars from headway.progress g;
    assert v_bars = array['(1,0,0,0)', '(2,7,7,100)', '(3,2,7,28)'], format('round %s: %s', v_round, v_bars);
    perform headway.fold();
  end loop;
end
$$;

-- Whoever a task passes to is told, as whoever it was assigned to at first.
do $$
begin
  assert (
    select count(*) from headway.message m where m.channel = 'user_3' and m.kind = 'task_assigned' and m.task_id = 2
  ) = 1, 'Charlie is not told, or more than once';

  -- An assignment of a task that is for everyone is told when it matters, and only once.
  insert into headway.appuser (id, fullname) values (9, 'Eve');
  insert into headway.task (id, project_id, title, shared) values (4, 1, 'Photo', false), (5, 1, 'Logo', false);
  insert into headway.assignment (task_id, user_id) values (4, 1), (4, 9);
  perform headway.fold();
  insert into headway.assignment (task_id, user_id) values (5, 1);
  assert not exists (select from headway.message m where m.task_id in (4, 5) and m.kind = 'task_assigned');
  update headway.task t set audience = 'assigned' where t.id in (4, 5);
  update headway.task t set weight = 2 where t.id in (4, 5);
  perform headway.fold();
  assert (
    select array_agg(m.channel || ' ' || m.task_id order by m.task_id) from headway.message m where m.task_id in (4, 5) and m.kind = 'task_assigned'
  ) = array['user_1 4', 'user_1 5'];
  assert not exists (select from headway.verify());
end
$$;
rollback;
