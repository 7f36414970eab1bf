-- Whom a backend names as acting, or an end user, counts for nothing beside the identity.
begin;
insert into headway.appuser (id, fullname) values (1, 'Abe'), (2, 'Bob'), (4, 'Dora');
insert into headway.project (id, name) values (1, 'Website');
insert into headway.member (project_id, user_id, role) values (1, 1, 'customer'), (1, 2, 'customer'), (1, 4, 'staff');
insert into headway.task (id, project_id, title, shared) values (1, 1, 'Send the logo', false);

select set_config('headway.user_id', '1', true), set_config('headway.actor', '4', true), set_config('headway.reason', 'Dora says so', true);
set local role headway_user;
insert into headway.completion (task_id, user_id) values (1, 1);
delete from headway.completion;
do $$
declare
  v_try text;
begin
  perform headway.complete_task(1, 1), headway.reopen_task(1, 1, null, 'Again');
  foreach v_try in array array[
    'insert into headway.completion (task_id, user_id, completed_by) values (1, 1, 4)', 'select headway.complete_task(1, 1, 4)', 'select headway.reopen_task(1, 1, 4)',
    'insert into headway.message (sender, channel, content) values (4, ''project_1'', ''I quit.'')', 'select headway.post(4, ''project_1'', ''I quit.'')',
    'insert into headway.message (sender, channel, content) values (null, ''project_1'', ''I quit.'')',
    'insert into headway.message (sender, channel, content, kind) values (1, ''project_1'', ''completed'', ''task_completed'')',
    'insert into headway.message (sender, channel, content, sent_at) values (1, ''project_1'', ''Long ago'', ''2001-01-01'')',
    'insert into headway.message (sender, channel, content, data) values (1, ''project_1'', ''Hello'', ''{"project_id": 2}'')',
    'insert into headway.completion (task_id, user_id, completed_at) values (1, 1, ''2001-01-01'')'
  ] loop
    begin
      execute v_try;
      raise assert_failure using message = v_try;
    exception when insufficient_privilege then
      null;
    end;
  end loop;
end
$$;
reset role;

do $$
begin
  perform set_config('headway.user_id', '', true);
  assert (select array_agg(f.kind || ' by ' || f.actor_id order by f.id) from headway.pending_fact f where f.task_id = 1 and f.actor_id is not null)
    = '{completed by 1,reopened by 1,completed by 1,reopened by 1}';
  perform headway.fold();
  assert (select count(*) from headway.message m where m.sender is distinct from 1) = 0;
end
$$;
rollback;
