-- What an insert, an upsert or a merge did not insert leaves no fact.
begin;
insert into headway.appuser (id, fullname) values (1, 'Abe'), (2, 'Bob');
insert into headway.project (id, name) values (1, 'Website');
insert into headway.member (project_id, user_id, role) values (1, 1, 'customer'), (1, 2, 'customer');
insert into headway.task (id, project_id, title, shared) values (1, 1, 'Sign the terms', false), (2, 1, 'Sign the rest', false);
insert into headway.completion (task_id, user_id) values (1, 1);
select headway.fold();

do $$
begin
  insert into headway.completion (task_id, user_id) values (1, 1), (1, 2) on conflict do nothing;
  assert (select array_agg(f.kind || ' ' || f.user_id) from headway.pending_fact f) = array['completed 2'], 'do nothing';
  insert into headway.completion (task_id, user_id) values (1, 1), (2, 1)
  on conflict on constraint completion_pkey do update set completed_at = excluded.completed_at;
  assert (select count(*) from headway.pending_fact) = 2, 'do update';
  merge into headway.completion c
  using (values (1, 1), (2, 1), (2, 2)) v (task_id, user_id) on c.task_id = v.task_id and c.user_id = v.user_id
  when matched and v.task_id = 1 then delete
  when matched then update set completed_by = 2
  when not matched then insert (task_id, user_id) values (v.task_id, v.user_id);
  assert (select count(*) from headway.pending_fact) = 4, 'merge';
  for v_round in 1..2 loop
    assert (select array_agg((g.user_id, g.done, g.total)::text order by g.user_id) from headway.progress g) = array['(1,1,2)', '(2,2,2)'];
    assert not exists (select from headway.verify());
    perform headway.fold();
  end loop;

  -- Tasks, members and assignments by upsert and merge.
  insert into headway.task (id, project_id, title, weight) values (1, 1, 'x', 5), (3, 1, 'y', 2)
  on conflict (id) do update set weight = excluded.weight;
  insert into headway.member (project_id, user_id, role) values (1, 1, 'staff') on conflict on constraint member_pkey do update set role = excluded.role;
  merge into headway.task t using (values (2)) v (id) on t.id = v.id when matched then delete;
  for v_round in 1..2 loop
    assert (select array_agg((g.user_id, g.done, g.total)::text order by g.user_id) from headway.progress g) = array['(2,5,7)'];
    assert not exists (select from headway.verify());
    perform headway.fold();
  end loop;
end
$$;
rollback;
