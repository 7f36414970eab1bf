-- Who can never complete a prerequisite, because it is individual and for others, is not held up by
-- it; a shared one binds all, whomever it is for.
begin;
insert into headway.appuser (id, fullname) values (1, 'Abe'), (2, 'Bob');
insert into headway.project (id, name) values (1, 'Website');
insert into headway.member (project_id, user_id, role) values (1, 1, 'customer'), (1, 2, 'customer');
insert into headway.task (id, project_id, title, shared, audience) values
  (1, 1, 'Upload a portrait', false, 'assigned'),
  (2, 1, 'Approve the team page', false, 'everyone'),
  (3, 1, 'Write the imprint', true, 'assigned'),
  (4, 1, 'Approve the imprint', false, 'everyone');
insert into headway.assignment (task_id, user_id) values (1, 1), (3, 1);
insert into headway.prerequisite (task_id, requires_id) values (2, 1), (4, 3);

do $$
begin
  insert into headway.completion (task_id, user_id) values (2, 2);
  begin
    insert into headway.completion (task_id, user_id) values (2, 1);
    raise assert_failure using message = 'the portrait is for Abe and binds them';
  exception when object_not_in_prerequisite_state then
    null;
  end;
  begin
    insert into headway.completion (task_id, user_id) values (4, 2);
    raise assert_failure using message = 'the imprint is shared and binds Bob';
  exception when object_not_in_prerequisite_state then
    null;
  end;
  insert into headway.completion (task_id, user_id) values (3, 1);
  insert into headway.completion (task_id, user_id) values (4, 2);
  assert (select count(*) from headway.completion) = 3;
end
$$;
rollback;
