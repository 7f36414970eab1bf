-- What is told goes by the order in which it happened, wherever in the table of the queue its facts have found a place.
begin;
insert into headway.appuser (id, fullname) values (1, 'Abe'), (2, 'Bob');
insert into headway.project (id, name) values (1, 'Website');
insert into headway.member (project_id, user_id, role) values (1, 1, 'customer'), (1, 2, 'customer');
insert into headway.task (id, project_id, title) values (1, 1, 'Send the logo');
select headway.fold();
insert into headway.completion (task_id, user_id) values (1, 1);
delete from headway.completion;
insert into headway.completion (task_id, user_id) values (1, 2);
insert into headway.completion (task_id, user_id) values (1, 1);

do $$
declare
  -- As where space is used again that a vacuum has freed.
  v_facts headway.pending_fact[] := array(select f from headway.pending_fact f order by f.id desc);
begin
  delete from headway.pending_fact;
  perform headway.post_activity(v_facts);
  assert (
    select array_agg(concat_ws(' ', u.fullname, m.content) order by m.seq)
    from headway.message m left join headway.appuser u on u.id = m.sender
    where m.channel = 'project_1_staff'
  ) = array['Abe completed "Send the logo"', 'reopened "Send the logo"', 'Bob completed "Send the logo"'];
end
$$;
rollback;
