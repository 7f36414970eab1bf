-- Back to a savepoint: no row, no fact, no message, no gap in the numbering.
begin;
insert into headway.appuser (id, fullname) values (1, 'Abe');
insert into headway.project (id, name) values (1, 'Website');
insert into headway.member (project_id, user_id, role) values (1, 1, 'customer');
insert into headway.task (id, project_id, title) values (1, 1, 'Send the logo'), (2, 1, 'Choose colours');
select headway.fold();
insert into headway.completion (task_id, user_id) values (1, 1);
savepoint here;
insert into headway.completion (task_id, user_id) values (2, 1);
update headway.task t set weight = 100;
select headway.post(1, 'project_1', 'Never said');
rollback to here;
select headway.post(1, 'project_1', 'Said');

do $$
begin
  assert (select array_agg(f.kind || ' ' || f.task_id) from headway.pending_fact f) = array['completed 1'];
  for v_round in 1..2 loop
    assert (select (g.done, g.total)::text from headway.progress g) = '(1,2)';
    perform headway.fold();
  end loop;
  assert (select array_agg(m.seq || m.content) from headway.message m where m.kind = 'chat') = array['1Said'];
end
$$;
rollback;
