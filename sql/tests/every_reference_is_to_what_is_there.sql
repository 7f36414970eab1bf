-- Each foreign key refuses a row that refers to nothing; what refers to a person goes with them, or no longer says who.
begin;
insert into headway.appuser (id, fullname) values (1, 'Abe'), (2, 'Bob');
insert into headway.project (id, name) values (1, 'Website');
insert into headway.member (project_id, user_id, role) values (1, 1, 'customer'), (1, 2, 'customer');
insert into headway.task (id, project_id, title, audience, created_by) values (1, 1, 'Send the logo', 'assigned', 2), (2, 1, 'Launch', 'everyone', 1);
insert into headway.prerequisite (task_id, requires_id) values (2, 1);
insert into headway.assignment (task_id, user_id) values (1, 2);
insert into headway.digest (id, user_id) values (1, 2);
insert into headway.ticket (user_id, expires_at) values (2, now());
insert into headway.seen (channel, user_id, seq) values ('project_1', 2, 2);

do $$
declare
  v_row text;
  v_name text;
  v_refused text[] := '{}';
begin
  foreach v_row in array array[
    'member (project_id, user_id, role) values (99, 1, ''staff'')',
    'member (project_id, user_id, role) values (1, 99, ''staff'')',
    'task (id, project_id, title) values (3, 99, ''Send the logo'')',
    'task (id, project_id, title, created_by) values (3, 1, ''Send the logo'', 99)',
    'assignment (task_id, user_id) values (99, 1)',
    'assignment (task_id, user_id) values (1, 99)',
    'prerequisite (task_id, requires_id) values (99, 1)',
    'prerequisite (task_id, requires_id) values (1, 99)',
    'completion (task_id, user_id) values (99, 1)',
    'completion (task_id, user_id) values (1, 99)',
    'completion (task_id, user_id, completed_by) values (1, 2, 99)',
    'shared_progress (project_id) values (99)',
    'personal_progress (project_id, user_id, done, total) values (99, 1, 0, 0)',
    'channel (name, project_id) values (''design'', 99)',
    'subscription (channel, user_id) values (''nowhere'', 1)',
    'subscription (channel, user_id) values (''broadcast'', 99)',
    'seen (channel, user_id, seq) values (''user_1'', 2, 1)',
    'digest (id, user_id) values (2, 99)',
    'digest_item (digest_id, channel, from_seq, through_seq) values (99, ''broadcast'', 1, 1)',
    'digest_item (digest_id, channel, from_seq, through_seq) values (1, ''nowhere'', 1, 1)',
    'ticket (user_id, expires_at) values (99, now())'
  ] loop
    begin
      execute 'insert into headway.' || v_row;
      raise assert_failure using message = v_row;
    exception when foreign_key_violation then
      get stacked diagnostics v_name = constraint_name;
      v_refused := v_refused || v_name;
    end;
  end loop;
  assert (select array_agg(r order by r) from unnest(v_refused) r)
    = (select array_agg(c.conname::text order by c.conname::text) from pg_constraint c where c.connamespace = 'headway'::regnamespace and c.contype = 'f'),
    v_refused::text;

  delete from headway.appuser u where u.id = 2;
  assert (select array_agg(t.id || coalesce(' by ' || t.created_by, '') order by t.id) from headway.task t) = array['1', '2 by 1'];
  assert not exists (select from headway.assignment) and not exists (select from headway.digest) and not exists (select from headway.ticket)
    and not exists (select from headway.seen) and not exists (select from headway.member m where m.user_id = 2)
    and not exists (select from headway.subscription s where s.user_id = 2), 'something is left';
  delete from headway.task t where t.id = 2;
  assert not exists (select from headway.prerequisite);
end
$$;
rollback;
