-- Staff see the customers of a project added up; staff themselves have no bar.
begin;
insert into headway.appuser (id, fullname) values (1, 'Abe'), (2, 'Bob'), (4, 'Dana');
insert into headway.project (id, name) values (1, 'Website'), (2, 'Empty');
insert into headway.member (project_id, user_id, role) values (1, 1, 'customer'), (1, 2, 'customer'), (1, 4, 'staff');
insert into headway.task (id, project_id, title, shared) values (1, 1, 'Send the logo', true), (2, 1, 'Sign the terms', false);
insert into headway.completion (task_id, user_id) values (2, 1);

do $$
begin
  for v_round in 1..2 loop
    assert (select (g.customers, g.done, g.total, g.percent)::text from headway.project_progress g where g.project_id = 1) = '(2,1,4,25)';
    assert (select (g.customers, g.done, g.total, g.percent)::text from headway.project_progress g where g.project_id = 2) = '(0,0,0,0)';
    assert not exists (select from headway.progress g where g.user_id = 4), 'staff has no bar';
    perform headway.fold();
  end loop;
end
$$;
rollback;
