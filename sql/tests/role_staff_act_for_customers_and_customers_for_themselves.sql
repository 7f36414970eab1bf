-- Staff of a project complete and reopen for its customers, a customer for themselves; nobody does it in another's name.
begin;
insert into headway.appuser (id, fullname) values (1, 'Abe'), (2, 'Bob'), (4, 'Dora'), (5, 'Erin');
insert into headway.project (id, name) values (1, 'Website'), (2, 'Other');
insert into headway.member (project_id, user_id, role) values (1, 1, 'customer'), (1, 2, 'customer'), (1, 4, 'staff'), (2, 1, 'customer'), (2, 5, 'staff');
insert into headway.task (id, project_id, title, shared) values (1, 1, 'Send the logo', true), (2, 1, 'Sign the terms', false), (3, 2, 'Pay', true);

set local role headway_user;
do $$
declare
  v_try text;
  v_hint text;
begin
  perform set_config('headway.user_id', '1', true);
  assert headway.complete_task(2, 1);
  assert headway.complete_task(1, 1);
  assert headway.complete_task(3, 1);
  assert (select array_agg(c.completed_by) from headway.completion c) = '{1,1,1}', 'who acts has completed it';
  assert headway.reopen_task(2, 1) and not headway.reopen_task(2, 1);

  -- Bob: what Abe completed for all is not his to reopen, nor what Abe may have of his own.
  perform set_config('headway.user_id', '2', true);
  foreach v_try in array array[
    'headway.complete_task(2, 1)', 'headway.complete_task(2, 2, 1)', 'headway.complete_task(2, 2, 4)', 'headway.complete_task(2, 1, 4)',
    'headway.reopen_task(1, 2)', 'headway.reopen_task(1, 1)', 'headway.reopen_task(2, 1)'
  ] loop
    begin
      execute 'select ' || v_try;
      raise assert_failure using message = v_try || ' by Bob';
    exception when insufficient_privilege then
      null;
    end;
  end loop;
  foreach v_try in array array[
    'headway.complete_task(2, 1)', 'headway.complete_task(2, 4)', 'headway.complete_task(2, 2, 1)', 'headway.reopen_task(2, 1)'
  ] loop
    begin
      execute 'select ' || v_try;
    exception when insufficient_privilege then
      get stacked diagnostics v_hint = pg_exception_hint;
      assert v_hint <> '', v_try || ' says nothing of what to do';
    end;
  end loop;
  assert not headway.complete_task(1, 2), 'it is complete';
  assert headway.complete_task(2, 2) and headway.reopen_task(2, 2);

  -- Dora: in her project, in her own name.
  perform set_config('headway.user_id', '4', true);
  assert headway.reopen_task(1, 2);
  assert headway.complete_task(1, 2) and headway.complete_task(2, 1);
  assert (select array_agg(c.completed_by) from headway.completion c) = '{4,4}';
  foreach v_try in array array[
    'headway.complete_task(2, 2, 1)', 'headway.complete_task(2, 2, 2)', 'headway.complete_task(2, 4)'
  ] loop
    begin
      execute 'select ' || v_try;
      raise assert_failure using message = v_try || ' by Dora';
    exception when insufficient_privilege then
      null;
    end;
  end loop;
  foreach v_try in array array['headway.complete_task(3, 1)', 'headway.reopen_task(3, 1)', 'headway.complete_task(2, 5)'] loop
    begin
      execute 'select ' || v_try;
      raise assert_failure using message = v_try || ' by Dora';
    exception when no_data_found then
      null;
    end;
  end loop;
end
$$;
reset role;

-- What the staff are told names who it was.
do $$
begin
  perform set_config('headway.user_id', '', true);
  perform headway.fold();
  assert (select array_agg(m.sender || ' ' || m.kind order by m.seq) from headway.message m where m.channel = 'project_1_staff')
    = array['1 task_completed', '1 task_completed', '1 task_reopened', '2 task_completed', '2 task_reopened', '4 task_reopened',
      '4 task_completed', '4 task_completed'],
    (select array_agg(m.sender || ' ' || m.kind order by m.seq)::text from headway.message m where m.channel = 'project_1_staff');
  assert not exists (select from headway.verify());
end
$$;
rollback;
