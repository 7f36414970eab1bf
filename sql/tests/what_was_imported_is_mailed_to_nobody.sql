-- A backend that imports what it has already marks it read in one statement, and nobody gets a mail about it.
begin;
set local role headway_app;
insert into headway.appuser (id, fullname, email, digest_after) values
  (1, 'Abe', 'abe@example.com', null), (2, 'Bob', 'bob@example.com', '1 hour'), (3, 'Charlie', 'charlie@example.com', null);
insert into headway.project (id, name, created_at) values (1, 'Website', '2020-01-01');
insert into headway.member (project_id, user_id, role, joined_at) values
  (1, 1, 'customer', '2020-01-02'), (1, 2, 'staff', '2020-01-02'), (1, 3, 'customer', '2020-01-02');
insert into headway.task (id, project_id, title, audience) values (1, 1, 'Send the logo', 'everyone'), (2, 1, 'Choose colours', 'assigned');
insert into headway.assignment (task_id, user_id) values (2, 3);
insert into headway.completion (task_id, user_id, completed_at) values (1, 1, '2020-02-01'), (2, 3, '2020-03-01');
insert into headway.message (sender, channel, content) values (1, 'project_1', 'Where is the logo?');
reset role;
select headway.fold();

do $$
begin
  assert (select array_agg(d.user_id order by d.user_id) from headway.due_digests(now() + interval '1 day') d) = '{2,3}';
  set local role headway_app;
  update headway.subscription s set read_seq = c.last_seq
  from headway.channel c
  where c.name = s.channel and s.read_seq < c.last_seq;
  reset role;
  assert not exists (select from headway.unread);
  assert not exists (select from headway.due_digests(now() + interval '1 day'));

  -- What comes after it is mailed as ever.
  insert into headway.message (sender, channel, content) values (1, 'project_1', 'Here it is');
  assert (select array_agg(d.user_id order by d.user_id) from headway.due_digests(now() + interval '1 day') d) = '{2,3}';
end
$$;
rollback;
