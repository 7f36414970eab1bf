-- A task stays in its project, a completion with its task and person, a subscription with its channel and person.
begin;
insert into headway.appuser (id, fullname) values (1, 'Abe'), (2, 'Bob');
insert into headway.project (id, name) values (1, 'Website'), (2, 'Shop');
insert into headway.member (project_id, user_id, role) values (1, 1, 'customer'), (1, 2, 'customer');
insert into headway.task (id, project_id, title) values (1, 1, 'Send the logo'), (2, 1, 'Choose colours'), (3, 2, 'Elsewhere');
insert into headway.completion (task_id, user_id) values (1, 1);

do $$
declare
  v_statement text;
  v_hint text;
begin
  foreach v_statement in array array[
    'update headway.task set project_id = 2 where id = 2',
    'update headway.task set project_id = 3 - project_id where id in (2, 3)',
    'update headway.task set id = 20 where id = 2',
    'update headway.completion set user_id = 2',
    'update headway.completion set task_id = 2',
    'update headway.subscription set user_id = 3 - user_id where channel = ''project_1''',
    'update headway.subscription set user_id = 1, read_seq = 0 where channel = ''user_2''',
    'update headway.subscription set channel = ''project_2'' where channel = ''project_1'''
  ] loop
    begin
      execute v_statement;
      raise assert_failure using message = v_statement;
    exception when feature_not_supported then
      get stacked diagnostics v_hint = pg_exception_hint;
      assert v_hint ilike '%insert%', v_hint;
    end;
  end loop;
  -- Everything else may change.
  update headway.completion c set completed_by = 2, completed_at = now() - interval '1 day';
  assert (select c.completed_by from headway.completion c) = 2;
end
$$;
rollback;
