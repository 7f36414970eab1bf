-- A project or a task may be deleted and come back under its old id, elsewhere even, before the facts
-- of the old one were folded.
begin;
insert into headway.appuser (id, fullname) values (1, 'Abe');
insert into headway.project (id, name) values (1, 'Website'), (2, 'Shop');
insert into headway.member (project_id, user_id, role) values (1, 1, 'customer'), (2, 1, 'customer');
select headway.fold();
insert into headway.task (id, project_id, title, weight) values (1, 1, 'Send the logo', 3), (2, 1, 'Choose colours', 1);
insert into headway.completion (task_id, user_id) values (1, 1);
savepoint before;

delete from headway.project p where p.id = 1;
insert into headway.project (id, name) values (1, 'Website');
insert into headway.task (id, project_id, title, weight) values (1, 1, 'Send the logo', 3);
insert into headway.member (project_id, user_id, role) values (1, 1, 'customer');

do $$
begin
  for v_round in 1..3 loop
    assert not exists (select from headway.verify()), (select string_agg(v::text, ' ') from headway.verify() v);
    assert (select (g.done, g.total)::text from headway.progress g where g.project_id = 1) = '(0,3)', 'the same ids in the same project';
    perform headway.fold(1);
  end loop;
end
$$;

rollback to before;
delete from headway.project p where p.id = 1;
insert into headway.task (id, project_id, title, weight) values (1, 2, 'Elsewhere', 5);
insert into headway.completion (task_id, user_id) values (1, 1);

do $$
begin
  for v_round in 1..5 loop
    assert not exists (select from headway.verify()), (select string_agg(v::text, ' ') from headway.verify() v);
    assert (select array_agg((g.project_id, g.done, g.total)::text) from headway.progress g) = array['(2,5,5)'], 'a task with the id of one that is gone';
    perform headway.fold(1);
  end loop;
  assert not exists (select from headway.pending_fact);
end
$$;

rollback to before;
delete from headway.task t where t.id = 1;
insert into headway.task (id, project_id, title, weight) values (1, 2, 'Elsewhere', 5);

do $$
begin
  for v_round in 1..5 loop
    assert not exists (select from headway.verify()), (select string_agg(v::text, ' ') from headway.verify() v);
    assert (select array_agg((g.project_id, g.done, g.total)::text order by g.project_id) from headway.progress g) = array['(1,0,1)', '(2,0,5)'], 'a task that moved this way';
    perform headway.fold(1);
  end loop;
  assert not exists (select from headway.pending_fact);
end
$$;
rollback;
