-- What is blocked cannot be completed, the hint names what comes first, and one statement may bring
-- both in any order.
begin;
insert into headway.appuser (id, fullname) values (1, 'Abe'), (2, 'Bob');
insert into headway.project (id, name) values (1, 'Website');
insert into headway.member (project_id, user_id, role) values (1, 1, 'customer'), (1, 2, 'customer');
insert into headway.task (id, project_id, title, shared) values
  (1, 1, 'Send the logo', true), (2, 1, 'Approve the draft', true), (3, 1, 'Sign the terms', false), (4, 1, 'Celebrate', false);
insert into headway.prerequisite (task_id, requires_id) values (2, 1), (4, 3);

do $$
declare
  v_hint text;
begin
  begin
    insert into headway.completion (task_id, user_id) values (2, 1);
    raise assert_failure using message = 'blocked, and completed all the same';
  exception when object_not_in_prerequisite_state then
    get stacked diagnostics v_hint = pg_exception_hint;
    assert sqlerrm like '%task 2 %person 1%', sqlerrm;
    assert v_hint like '%1 "Send the logo"%', v_hint;
  end;
  begin
    perform headway.complete_task(2, 1);
    raise assert_failure using message = 'blocked, and complete_task completed it';
  exception when object_not_in_prerequisite_state then
    assert (select count(*) from headway.completion) = 0;
  end;
  assert not exists (select from headway.pending_fact f where f.kind = 'completed'), 'a refused completion left a fact';
end
$$;

-- Bob's logo is enough for Abe's draft, because it is shared; in one statement, in the wrong order.
insert into headway.completion (task_id, user_id) values (2, 1), (1, 2);

do $$
begin
  assert (select count(*) from headway.completion) = 2;
  -- Individual: Bob signed, Abe did not.
  insert into headway.completion (task_id, user_id) values (3, 2), (4, 2);
  begin
    insert into headway.completion (task_id, user_id) values (4, 1);
    raise assert_failure using message = 'the terms that Bob signed do not bind Abe';
  exception when object_not_in_prerequisite_state then
    null;
  end;
  -- Reopening the logo does not undo the draft.
  delete from headway.completion c where c.task_id = 1;
  assert exists (select from headway.completion c where c.task_id = 2);
  assert not exists (select from headway.verify());
end
$$;
rollback;
