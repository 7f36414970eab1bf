-- What happened in a project that is gone, or that the person has left, is in no mail and makes none due.
begin;
insert into headway.appuser (id, fullname, email) values (1, 'Abe', null), (2, 'Bob', 'bob@example.com');
insert into headway.project (id, name) values (1, 'Website'), (2, 'Shop'), (3, 'Fair');
insert into headway.member (project_id, user_id, role)
select p, 2, 'customer' from generate_series(1, 3) p union all values (2, 1, 'staff');
insert into headway.task (id, project_id, title, audience) select p, p, 'Send the logo', 'assigned' from generate_series(1, 3) p;
insert into headway.assignment (task_id, user_id) values (1, 2), (3, 2);
select headway.fold();
set local session_replication_role = replica;
update headway.message set sent_at = now() - interval '5 hours';
set local session_replication_role = origin;

do $$
declare
  v_explanation text;
begin
  assert (select d.user_id = 2 and d.oldest_at = now() - interval '5 hours' from headway.due_digests() d);
  delete from headway.member m where m.project_id = 1;
  delete from headway.project p where p.id = 3;
  assert not exists (select from headway.due_digests()), 'nothing is left to say';
  assert not exists (select from headway.unmailed n where n.user_id = 2);
  select e.explanation into v_explanation from headway.explain_digest(2) e where e.channel = 'user_2';
  assert v_explanation = 'no mail: what is unread happened in a project that is gone, or that they have left', v_explanation;
  begin
    perform headway.reserve_digest(2);
    raise assert_failure using message = 'it is reserved';
  exception when no_data_found then
  end;

  perform pg_temp.post(1, 'project_2', '1 minute');
  assert not exists (select from headway.due_digests()) and headway.reserve_digests() = 0, 'a minute is not long';
  select e.explanation into v_explanation from headway.explain_digest(2) e where e.channel = 'project_2';
  assert v_explanation like 'mail is due at ' || to_char((now() + interval '239 minutes') at time zone 'UTC', 'YYYY-MM-DD HH24:MI') || '%', v_explanation;

  -- Whoever comes back is told.
  insert into headway.member (project_id, user_id, role) values (1, 2, 'customer');
  assert headway.reserve_digests() = 1;
  assert headway.claim_digest('11111111-1111-1111-1111-111111111111') ->> 'counts' = '{"chat" : 1, "completed" : 0, "reopened" : 0, "assigned" : 1}';
  delete from headway.member m where m.project_id = 1;
  select e.explanation into v_explanation from headway.explain_digest(2) e where e.channel = 'user_2';
  assert v_explanation like 'everything unread is in digest %', v_explanation;
end
$$;
rollback;
