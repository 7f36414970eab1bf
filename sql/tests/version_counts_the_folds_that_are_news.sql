-- A fold makes a new version if it changes a bar, or if somebody may have read one that was different in between.
begin;
insert into headway.appuser (id, fullname) values (1, 'Abe'), (2, 'Bob');
insert into headway.project (id, name) values (1, 'Website'), (2, 'Shop');
insert into headway.member (project_id, user_id, role) values (1, 1, 'customer'), (2, 2, 'customer');
insert into headway.task (id, project_id, title, shared) values (1, 1, 'Send the logo', true), (2, 1, 'Sign', false);

do $$
begin
  perform headway.fold();
  assert (select array_agg(g.version order by g.project_id) from headway.progress g) = array[1, 1]::bigint[];
  insert into headway.completion (task_id, user_id) values (1, 1);
  delete from headway.completion;
  perform headway.fold();
  assert (select g.version from headway.progress g where g.project_id = 1) = 2, 'there and back';
  insert into headway.completion (task_id, user_id) values (2, 1);
  perform headway.fold();
  assert (select g.version from headway.progress g where g.project_id = 1) = 3, 'a personal part';
  update headway.task t set weight = 2;
  update headway.task t set weight = 1;
  perform headway.fold();
  assert (select g.version from headway.progress g where g.project_id = 1) = 4, 'counted anew, and the same';
  insert into headway.completion (task_id, user_id) values (1, 1);
  perform headway.fold();
  insert into headway.appuser (id, fullname) values (4, 'Dora');
  insert into headway.member (project_id, user_id, role) values (1, 4, 'customer');
  perform headway.fold();
  insert into headway.completion (task_id, user_id) values (1, 4);
  perform headway.fold();
  assert (select max(g.version) from headway.progress g where g.project_id = 1) = 6, 'it was complete all the time';
  insert into headway.appuser (id, fullname) values (3, 'Charlie');
  insert into headway.member (project_id, user_id, role) values (2, 3, 'customer');
  perform headway.fold();
  assert (select g.version from headway.progress g where g.project_id = 2 and g.user_id = 3) = 2, 'somebody joined with nothing done';
  delete from headway.member m where m.user_id = 3;
  perform headway.fold();
  assert (select g.version from headway.progress g where g.project_id = 2) = 3, 'and left';
end
$$;
rollback;
