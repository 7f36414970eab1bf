-- With its completions, assignments and prerequisites; an id may even be used again.
begin;
insert into headway.appuser (id, fullname) values (1, 'Abe'), (2, 'Bob');
insert into headway.project (id, name) values (1, 'Website');
insert into headway.member (project_id, user_id, role) values (1, 1, 'customer'), (1, 2, 'customer');
insert into headway.task (id, project_id, title, weight, shared, audience) values
  (1, 1, 'Send the logo', 3, true, 'everyone'), (2, 1, 'Sign the terms', 2, false, 'everyone'), (3, 1, 'Portrait', 7, false, 'assigned');
insert into headway.assignment (task_id, user_id) values (3, 1);
insert into headway.prerequisite (task_id, requires_id) values (2, 1);
insert into headway.completion (task_id, user_id) values (1, 1), (2, 1), (3, 1);

do $$
begin
  for v_round in 1..2 loop
    begin
      delete from headway.task t where t.id in (1, 3);
      for v_fold in 1..2 loop
        assert (select array_agg((g.user_id, g.done, g.total)::text order by g.user_id) from headway.progress g) = array['(1,2,2)', '(2,0,2)'];
        perform headway.fold();
      end loop;
      insert into headway.task (id, project_id, title, weight) values (1, 1, 'Another with this id', 10);
      for v_fold in 1..2 loop
        assert (select array_agg((g.user_id, g.done, g.total)::text order by g.user_id) from headway.progress g) = array['(1,2,12)', '(2,0,12)'];
        perform headway.fold();
      end loop;
      raise division_by_zero;
    exception when division_by_zero then
      null; -- all of that undone
    end;
    -- Once with everything in the queue, once with everything folded.
    perform headway.fold();
    assert (select array_agg((g.user_id, g.done, g.total)::text order by g.user_id) from headway.progress g) = array['(1,12,12)', '(2,3,5)'];
  end loop;
end
$$;
rollback;
