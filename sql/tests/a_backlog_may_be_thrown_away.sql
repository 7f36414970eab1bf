-- What docs/operations.md does with a queue too long to fold: bars are exact without its facts.
begin;
insert into headway.appuser (id, fullname) values (1, 'Abe'), (2, 'Bob');
insert into headway.project (id, name) values (1, 'Website'), (2, 'Shop');
insert into headway.member (project_id, user_id, role) values (1, 1, 'customer'), (1, 2, 'customer'), (2, 2, 'customer');
insert into headway.task (id, project_id, title, weight, shared) values (1, 1, 'Copy', 3, true), (2, 1, 'Profile', 1, false), (3, 2, 'Prices', 1, true);
select headway.fold();
insert into headway.completion (task_id, user_id) values (1, 1), (2, 2), (3, 2);
update headway.task set weight = 2 where id = 1;

delete from headway.pending_fact where project_id = 1;
select headway.repair();

do $$
begin
  assert (select array_agg((p.user_id, p.done, p.total)::text order by p.user_id) from headway.progress p where p.project_id = 1)
    = array['(1,2,3)', '(2,3,3)'], 'the bars are right';
  assert not exists (select from headway.verify());
  assert not exists (select from headway.pending_fact);
  assert (select c.last_seq from headway.channel c where c.name = 'project_1_staff') = 0, 'the activity is gone';
  assert (select c.last_seq from headway.channel c where c.name = 'project_2_staff') = 1, 'but not that of another project';
end
$$;
rollback;
