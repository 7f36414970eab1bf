-- Who has not said who they are is told so, whatever they try to change, and finds nothing.
begin;
insert into headway.appuser (id, fullname, email) values (1, 'Abe', 'abe@example.com'), (4, 'Dora', null);
insert into headway.project (id, name) values (1, 'Website');
insert into headway.member (project_id, user_id, role) values (1, 1, 'customer'), (1, 4, 'staff');
insert into headway.task (id, project_id, title) values (1, 1, 'Send the logo'), (2, 1, 'Sign the terms');
insert into headway.completion (task_id, user_id) values (1, 1);
select headway.post(4, 'project_1', 'Hello'), headway.post(1, 'project_1', 'Hello'), headway.post(4, 'project_1', 'Hello');
select headway.mark_seen(1, array(select m.id from headway.message m where m.seq = 3));

create function public.refused(statement text) returns void language plpgsql as $$
declare
  v_hint text;
begin
  execute refused.statement;
  raise assert_failure using message = refused.statement;
exception when invalid_authorization_specification then
  get stacked diagnostics v_hint = pg_exception_hint;
  assert v_hint like '%set_config(''headway.user_id''%', v_hint;
end
$$;

do $$
declare
  v_identity text;
  v_statement text;
  v_relation regclass;
  v_rows bigint;
begin
  for v_relation in
    select c.oid from pg_class c
    where c.relnamespace = 'headway'::regnamespace and c.relkind in ('r', 'v') and has_any_column_privilege('headway_user', c.oid, 'select')
    order by c.relname
  loop
    set local role headway_user;
    foreach v_identity in array array[null, ''] loop
      perform set_config('headway.user_id', v_identity, true);
      execute format('select count(*) from %s', v_relation) into v_rows;
      assert v_rows = 0, format('%s rows of %s', v_rows, v_relation);
    end loop;
    reset role;
  end loop;

  foreach v_statement in array array[
    'insert into headway.completion (task_id, user_id) values (2, 1)',
    'insert into headway.completion (task_id, user_id, completed_by) values (2, 1, null) on conflict do nothing',
    'delete from headway.completion', 'delete from headway.completion where task_id = 1',
    'insert into headway.message (sender, channel, content) values (1, ''project_1'', ''Hello'')',
    'insert into headway.message (sender, channel, content) values (null, ''nowhere'', ''Hello'')',
    'insert into headway.seen (channel, user_id, seq) values (''project_1'', 1, 2)',
    'delete from headway.seen', 'delete from headway.seen where user_id = 1',
    'update headway.subscription set read_seq = 3', 'update headway.subscription set muted = true where user_id = 1',
    'update headway.appuser set digest_after = ''1 hour''', 'update headway.appuser set mail_suspended_at = null where id = 1',
    -- Also where there is no row that a policy could be asked about.
    'delete from headway.completion where false', 'delete from headway.seen where false',
    'update headway.subscription set muted = true where false', 'update headway.appuser set digest_after = null where false',
    'insert into headway.message (sender, channel, content) select 1, ''project_1'', ''Hello'' where false',
    'select headway.complete_task(2, 1)', 'select headway.complete_task(99, 1)', 'select headway.reopen_task(1, 1)', 'select headway.is_shared(1)',
    'select headway.post(1, ''project_1'', ''Hello'')', 'select headway.post(1, ''nowhere'', ''Hello'')',
    'select headway.mark_read(1, ''project_1'')', 'select headway.mark_seen(1, array[1, 2])', 'select headway.mark_seen(1, null)',
    'select headway.advance_cursor(1, ''project_1'', 1)', 'select headway.mute(1, ''project_1'')',
    'select headway.refuse_stranger(1, ''project_1'')', 'select headway.identity()', 'select headway.check_identity()'
  ] loop
    set local role headway_user;
    foreach v_identity in array array[null, ''] loop
      perform set_config('headway.user_id', v_identity, true);
      perform public.refused(v_statement);
    end loop;
    reset role;
  end loop;

  assert (select count(*) from headway.message) = 3 and (select count(*) from headway.completion) = 1 and (select count(*) from headway.seen) = 1;
  assert (select sum(c.last_seq) from headway.channel c) = 3, 'a refused message took a number';
end
$$;
rollback;
