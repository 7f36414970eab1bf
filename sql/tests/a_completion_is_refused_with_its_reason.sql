-- Staff, strangers, people it is not assigned to, archived projects, tasks that are not there: each
-- has its errcode, a message that names the value and a hint; none leaves a row or a fact.
begin;
insert into headway.appuser (id, fullname) values (1, 'Abe'), (2, 'Bob'), (3, 'Charlie'), (4, 'Dana');
insert into headway.project (id, name) values (1, 'Website'), (2, 'Old');
insert into headway.member (project_id, user_id, role) values (1, 1, 'customer'), (1, 2, 'customer'), (1, 4, 'staff'), (2, 1, 'customer');
insert into headway.task (id, project_id, title, audience) values
  (1, 1, 'Send the logo', 'everyone'), (2, 1, 'Write the imprint', 'assigned'), (3, 2, 'Old task', 'everyone');
insert into headway.assignment (task_id, user_id) values (2, 1), (2, 3);
update headway.project p set archived_at = now() where p.id = 2;
select headway.fold();

do $$
declare
  v_case record;
  v_state text;
  v_hint text;
begin
  for v_case in
    select * from (values
      (1, 4, '42501', '%person 4 is staff%project 1%', '%completed_by%'),
      (1, 3, '42501', '%person 3 is not a member of project 1%', '%customer of the project%'),
      (2, 3, '42501', '%person 3 is not a member%', '%customer of the project%'),
      (2, 2, '42501', '%task 2 is not assigned to person 2%', '%(2, 2)%'),
      (3, 1, '55000', '%project 2 is archived%', '%archived_at = null where id = 2%'),
      (99, 1, 'P0002', '%no task 99%', '%headway.task%')
    ) c (task_id, user_id, state, message, hint)
  loop
    begin
      perform headway.complete_task(v_case.task_id, v_case.user_id);
      raise assert_failure using message = format('task %s for %s was completed', v_case.task_id, v_case.user_id);
    exception when insufficient_privilege or object_not_in_prerequisite_state or no_data_found then
      get stacked diagnostics v_state = returned_sqlstate, v_hint = pg_exception_hint;
      assert v_state = v_case.state, format('%s: %s', v_state, sqlerrm);
      assert sqlerrm like v_case.message, sqlerrm;
      assert v_hint like v_case.hint, v_hint;
    end;
    begin
      insert into headway.completion (task_id, user_id) values (v_case.task_id, v_case.user_id);
      raise assert_failure using message = format('task %s for %s was inserted', v_case.task_id, v_case.user_id);
    exception when insufficient_privilege or object_not_in_prerequisite_state or foreign_key_violation then
      assert sqlstate = case v_case.state when 'P0002' then '23503' else v_case.state end, sqlstate;
    end;
  end loop;
  for v_case in
    select * from (values (99, null, '99'), (99, 4, '99'), (null, null, '<NULL>'), (1, 99, '99')) c (user_id, completed_by, missing)
  loop
    begin
      perform headway.complete_task(1, v_case.user_id, v_case.completed_by);
      raise assert_failure using message = format('completed for %s by %s', v_case.user_id, v_case.completed_by);
    exception when no_data_found then
      get stacked diagnostics v_hint = pg_exception_hint;
      assert sqlerrm = 'there is no person ' || v_case.missing, sqlerrm;
      assert v_hint like '%headway.appuser%', v_hint;
    end;
  end loop;
  assert not exists (select from headway.completion);
  assert not exists (select from headway.pending_fact);

  -- On a customer's behalf is fine.
  assert headway.complete_task(1, 1, 4);
  assert (select c.completed_by from headway.completion c) = 4;
end
$$;
rollback;
