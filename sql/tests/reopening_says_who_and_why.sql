-- The activity has the actor as its sender and the reason in words and data, and the setting of one
-- call does not leak into the next statement.
begin;
insert into headway.appuser (id, fullname) values (1, 'Abe'), (4, 'Dana');
insert into headway.project (id, name) values (1, 'Website');
insert into headway.member (project_id, user_id, role) values (1, 1, 'customer'), (1, 4, 'staff');
insert into headway.task (id, project_id, title, shared) values (1, 1, 'Send the logo', false);
insert into headway.completion (task_id, user_id) values (1, 1);
select headway.fold();

do $$
declare
  v_message headway.message;
begin
  perform headway.reopen_task(1, 1, 4, 'The logo is blurred');
  assert headway.actor() is null, 'the actor leaked';
  perform headway.fold();
  for v_message in select * from headway.message m where m.kind = 'task_reopened' loop
    assert v_message.sender = 4, 'sender';
    assert v_message.content like 'reopened "Send the logo": The logo is blurred', v_message.content;
    assert v_message.data @> '{"project_id": 1, "title": "Send the logo", "user_id": 1, "reason": "The logo is blurred"}', v_message.data::text;
    assert v_message.task_id = 1;
  end loop;
  assert (select array_agg(m.channel order by m.channel) from headway.message m where m.kind = 'task_reopened') = array['project_1_staff', 'user_1'];

  -- Without a reason there is none; one's own reopening is not told to oneself; a plain delete has no actor.
  perform headway.complete_task(1, 1);
  perform headway.fold();
  perform headway.reopen_task(1, 1);
  perform headway.fold();
  select * into v_message from headway.message m order by m.id desc limit 1;
  assert v_message.channel = 'project_1_staff' and v_message.sender = 1 and not v_message.data ? 'reason', v_message::text;
  perform headway.complete_task(1, 1);
  perform headway.fold();
  delete from headway.completion;
  perform headway.fold();
  assert (select count(*) from headway.message m where m.kind = 'task_reopened' and m.sender is null) = 2, 'staff and the person';
  begin
    perform headway.reopen_task(99, 1);
    raise assert_failure using message = 'a task that is not there';
  exception when no_data_found then
    assert sqlerrm like '%99%';
  end;

  -- What is too long is refused where it is said, or no fold could ever tell it.
  update headway.task set title = repeat('x', 300000);
  perform headway.complete_task(1, 1);
  begin
    perform headway.reopen_task(1, 1, 4, repeat('x', 10001));
    raise assert_failure using message = 'a reason of any length';
  exception when invalid_parameter_value then
    assert sqlerrm like '%10001%';
  end;
  perform headway.reopen_task(1, 1, 4, repeat('x', 10000));
  perform headway.fold();
  assert (select max(char_length(m.content)) from headway.message m) between 20000 and 20100;
end
$$;
rollback;
