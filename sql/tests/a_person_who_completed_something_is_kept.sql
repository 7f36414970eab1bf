-- Deleting whoever completed a task, for themselves or for somebody else, says what to do instead.
begin;
insert into headway.appuser (id, fullname) values (1, 'Abe'), (2, 'Bob'), (4, 'Dora');
insert into headway.project (id, name) values (1, 'Website');
insert into headway.member (project_id, user_id, role) values (1, 1, 'customer'), (1, 2, 'customer'), (1, 4, 'staff');
insert into headway.task (id, project_id, title) values (1, 1, 'Send the logo');
do $$
declare
  v_user bigint;
  v_hint text;
begin
  perform headway.complete_task(1, 1, 4);
  foreach v_user in array array[1, 4] loop
    begin
      delete from headway.appuser u where u.id = v_user;
      raise assert_failure using message = v_user;
    exception when foreign_key_violation then
      get stacked diagnostics v_hint = pg_exception_hint;
      assert sqlerrm = format('person %s has completed tasks, which stay complete', v_user), sqlerrm;
      assert v_hint like format('%%select headway.forget_user(%s).', v_user), v_hint;
    end;
  end loop;
  delete from headway.appuser u where u.id = 2;
  perform headway.reopen_task(1, 1, 4);
  delete from headway.appuser u where u.id = 1;
end
$$;
rollback;
