-- A shared task is done once, by anyone it is for, for all it is for.
begin;
insert into headway.appuser (id, fullname) values (1, 'Abe'), (2, 'Bob'), (4, 'Dana');
insert into headway.project (id, name) values (1, 'Website');
insert into headway.member (project_id, user_id, role) values (1, 1, 'customer'), (1, 2, 'customer'), (1, 4, 'staff');
insert into headway.task (id, project_id, title) values (1, 1, 'Send the logo'), (2, 1, 'Choose colours');

insert into headway.completion (task_id, user_id) values (1, 1);

do $$
declare
  v_expected text[] := array['(1,1,2,50)', '(2,1,2,50)'];
  v_bars text[];
begin
  for v_round in 1..2 loop
    select array_agg((g.user_id, g.done, g.total, g.percent)::text order by g.user_id) into v_bars from headway.progress g;
    assert v_bars = v_expected, format('round %s: %s', v_round, v_bars);
    assert not exists (select from headway.verify()), 'verify finds a difference';
    perform headway.fold();
  end loop;
  assert (select (s.done, s.total)::text from headway.shared_progress s) = '(1,2)', 'one row was updated for all';
  assert not exists (select from headway.personal_progress p where (p.done, p.total) <> (0, 0)), 'and none per customer';
end
$$;
rollback;
