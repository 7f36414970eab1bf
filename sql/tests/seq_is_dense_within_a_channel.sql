-- Many rows at once, over several channels, with activity in between: no gap and no duplicate.
begin;
insert into headway.appuser (id, fullname) values (1, 'Abe'), (4, 'Dana');
insert into headway.project (id, name) values (1, 'Website');
insert into headway.member (project_id, user_id, role) values (1, 1, 'customer'), (1, 4, 'staff');
insert into headway.task (id, project_id, title) select n, 1, 'Task ' || n from generate_series(1, 20) n;
insert into headway.message (sender, channel, content)
select 4, (array['broadcast', 'project_1', 'project_1_staff'])[1 + n % 3], 'Message ' || n from generate_series(1, 30) n;
insert into headway.completion (task_id, user_id) select n, 1 from generate_series(1, 20) n;
select headway.fold();
select headway.post(4, 'project_1_staff', 'Well done');

do $$
begin
  assert (select bool_and(c.last_seq = m.messages and m.messages = m.last) from headway.channel c
    cross join lateral (select count(*) as messages, coalesce(max(m.seq), 0) as last from headway.message m where m.channel = c.name) m);
  assert (select c.last_seq from headway.channel c where c.name = 'project_1_staff') = 31;
  -- In the order of the tasks within one fold.
  assert (select array_agg(m.task_id order by m.seq) from headway.message m where m.kind = 'task_completed')
    = (select array_agg(n::bigint) from generate_series(1, 20) n);
end
$$;
rollback;
