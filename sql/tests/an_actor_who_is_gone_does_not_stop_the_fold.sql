-- Whoever reopened or completed may be deleted, or never have existed, before the fact is folded:
-- the message then has no sender, and the fold goes on.
begin;
insert into headway.appuser (id, fullname) values (1, 'Abe'), (2, 'Bob'), (4, 'Dana');
insert into headway.project (id, name) values (1, 'Website');
insert into headway.member (project_id, user_id, role) values (1, 1, 'customer'), (1, 2, 'customer'), (1, 4, 'staff');
insert into headway.task (id, project_id, title) values (1, 1, 'Send the logo'), (2, 1, 'Choose colours'), (3, 1, 'Write the imprint');
insert into headway.completion (task_id, user_id) values (1, 1), (2, 1);
select headway.fold();

do $$
begin
  perform headway.reopen_task(1, 1, 4);
  begin
    perform headway.reopen_task(2, 1, 99999);
    raise assert_failure using message = 'reopened by nobody';
  exception when no_data_found then
    assert sqlerrm = 'there is no person 99999', sqlerrm;
  end;
  perform set_config('headway.actor', '99999', true);
  delete from headway.completion c where c.task_id = 2;
  perform headway.complete_task(3, 2, 4);
  perform headway.reopen_task(3, 2);
  delete from headway.appuser u where u.id in (2, 4);
  assert headway.fold() > 0;
  assert (select count(*) from headway.message m where m.channel = 'project_1_staff' and m.kind = 'task_reopened' and m.sender is null) = 3;
  assert not exists (select from headway.pending_fact);
  assert not exists (select from headway.verify());
end
$$;
rollback;
