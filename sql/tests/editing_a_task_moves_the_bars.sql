-- Weight, kind and audience may change at any time, completed or not, folded or not.
begin;
insert into headway.appuser (id, fullname) values (1, 'Abe'), (2, 'Bob');
insert into headway.project (id, name) values (1, 'Website');
insert into headway.member (project_id, user_id, role) values (1, 1, 'customer'), (1, 2, 'customer');
insert into headway.task (id, project_id, title) values (1, 1, 'Send the logo'), (2, 1, 'Choose colours');
insert into headway.assignment (task_id, user_id) values (1, 2);
insert into headway.completion (task_id, user_id) values (1, 1);

do $$
declare
  v_step record;
  v_bars text[];
begin
  for v_step in
    select * from (values
      (1, 'weight = 5', array['(1,5,6)', '(2,5,6)']),
      (2, 'shared = false', array['(1,5,6)', '(2,0,6)']),
      (3, 'audience = ''assigned''', array['(1,0,1)', '(2,0,6)']),
      (4, 'shared = true', array['(1,0,1)', '(2,5,6)']),
      (5, 'weight = weight * 2, audience = ''everyone''', array['(1,10,11)', '(2,10,11)']),
      (6, 'weight = 1, shared = false', array['(1,1,2)', '(2,0,2)']),
      (7, 'shared = true', array['(1,1,2)', '(2,1,2)'])
    ) s (step, change, bars)
    order by 1
  loop
    execute 'update headway.task set ' || v_step.change || ' where id = 1';
    for v_round in 1..2 loop
      select array_agg((g.user_id, g.done, g.total)::text order by g.user_id) into v_bars from headway.progress g;
      assert v_bars = v_step.bars, format('%s, round %s: %s', v_step.change, v_round, v_bars);
      assert not exists (select from headway.verify()), v_step.change;
      -- Every other step stays in the queue and meets the next one there.
      if v_step.step % 2 = 0 then
        perform headway.fold();
      end if;
    end loop;
  end loop;
end
$$;
rollback;
