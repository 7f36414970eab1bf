-- No prerequisite on oneself, in another project, or in a circle of any length, by insert or update.
begin;
insert into headway.project (id, name) values (1, 'Website'), (2, 'Shop');
insert into headway.task (id, project_id, title) select n, 1, 'Task ' || n from generate_series(1, 5) n;
insert into headway.task (id, project_id, title) values (9, 2, 'Elsewhere');
insert into headway.prerequisite (task_id, requires_id) values (1, 2), (2, 3), (3, 4);

do $$
declare
  v_constraint text;
begin
  begin
    insert into headway.prerequisite (task_id, requires_id) values (4, 1);
    raise assert_failure using message = 'a circle of four';
  exception when check_violation then
    get stacked diagnostics v_constraint = constraint_name;
    assert v_constraint = 'prerequisite_no_cycle', v_constraint;
  end;
  begin
    insert into headway.prerequisite (task_id, requires_id) values (4, 5), (5, 4);
    raise assert_failure using message = 'a circle within one statement';
  exception when check_violation then
    null;
  end;
  begin
    update headway.prerequisite q set requires_id = 1 where q.task_id = 3;
    raise assert_failure using message = 'a circle by update';
  exception when check_violation then
    null;
  end;
  begin
    insert into headway.prerequisite (task_id, requires_id) values (5, 5);
    raise assert_failure using message = 'a task that waits for itself';
  exception when check_violation then
    null;
  end;
  begin
    insert into headway.prerequisite (task_id, requires_id) values (5, 9);
    raise assert_failure using message = 'a task of another project';
  exception when check_violation then
    assert sqlerrm like '%task 5 %task 9 %', sqlerrm;
  end;
  -- A diamond is no circle.
  insert into headway.prerequisite (task_id, requires_id) values (1, 5), (5, 4);
  assert (select count(*) from headway.prerequisite) = 5;
end
$$;
rollback;
