-- TRUNCATE passes by row triggers; the bars follow all the same, in every project.
begin;
insert into headway.appuser (id, fullname) values (1, 'Abe'), (2, 'Bob');
insert into headway.project (id, name) values (1, 'Website'), (2, 'Shop'), (3, 'Empty');
insert into headway.member (project_id, user_id, role) values (1, 1, 'customer'), (1, 2, 'customer'), (2, 1, 'customer');
insert into headway.task (id, project_id, title, shared, audience) values
  (1, 1, 'Send the logo', true, 'everyone'), (2, 1, 'Sign the terms', false, 'everyone'), (3, 1, 'Portrait', false, 'assigned'),
  (4, 2, 'List the products', true, 'everyone');
insert into headway.assignment (task_id, user_id) values (3, 1);
insert into headway.prerequisite (task_id, requires_id) values (3, 1);
insert into headway.completion (task_id, user_id) values (1, 2), (2, 1), (3, 1), (4, 1);

do $$
declare
  v_case record;
  v_bars text[];
begin
  for v_case in
    select * from (values
      ('completion', array['(1,1,0,3)', '(1,2,0,2)', '(2,1,0,1)']),
      ('assignment', array['(1,1,2,2)', '(1,2,1,2)', '(2,1,1,1)']),
      ('prerequisite', array['(1,1,3,3)', '(1,2,1,2)', '(2,1,1,1)']),
      ('task cascade', array['(1,1,0,0)', '(1,2,0,0)', '(2,1,0,0)']),
      ('member', null)
    ) c (what, bars)
  loop
    for v_folded in 0..1 loop
      begin
        execute 'truncate headway.' || v_case.what;
        for v_round in 1..2 loop
          select array_agg((g.project_id, g.user_id, g.done, g.total)::text order by g.project_id, g.user_id) into v_bars from headway.progress g;
          assert v_bars is not distinct from v_case.bars, format('%s, round %s: %s', v_case.what, v_round, v_bars);
          assert not exists (select from headway.verify()), v_case.what;
          perform headway.fold();
        end loop;
        if v_case.what = 'member' then
          assert not exists (select from headway.subscription s where s.channel ~ '^project'), 'nobody reads a project they are not in';
          assert exists (select from headway.subscription s where s.channel = 'broadcast');
        end if;
        raise division_by_zero;
      exception when division_by_zero then
        null; -- undone
      end;
      -- Once with everything in the queue, once with everything folded.
      while headway.fold() > 0 loop
      end loop;
    end loop;
  end loop;
end
$$;
rollback;
