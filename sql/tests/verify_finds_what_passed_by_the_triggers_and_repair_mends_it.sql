-- As after a data-only restore with session_replication_role = replica.
begin;
insert into headway.appuser (id, fullname) values (1, 'Abe'), (2, 'Bob');
insert into headway.project (id, name) values (1, 'Website'), (2, 'Shop'), (3, 'Fine');
insert into headway.member (project_id, user_id, role) values (1, 1, 'customer'), (1, 2, 'customer'), (2, 1, 'customer'), (3, 1, 'customer');
insert into headway.task (id, project_id, title, shared, weight) values (1, 1, 'Send the logo', true, 2), (2, 1, 'Sign the terms', false, 3), (3, 2, 'x', true, 1), (4, 3, 'y', true, 1);
select headway.fold();

do $$
begin
  assert not exists (select from headway.verify());
  assert headway.repair() = 0, 'nothing to mend';
end
$$;

set local session_replication_role = replica;
insert into headway.completion (task_id, user_id) values (1, 1), (2, 1);
update headway.task t set weight = 10 where t.id = 3;
set local session_replication_role = origin;

do $$
begin
  assert (select array_agg(v::text) from headway.verify() v)
    = array['(1,,0,5,2,5)', '(1,1,0,0,3,0)', '(2,,0,1,0,10)'], (select array_agg(v::text)::text from headway.verify() v);
  assert headway.repair() = 2, 'two projects';
  assert not exists (select from headway.verify());
  assert not exists (select from headway.pending_fact);
  assert (select array_agg((g.project_id, g.user_id, g.done, g.total)::text order by g.project_id, g.user_id) from headway.progress g)
    = array['(1,1,5,5)', '(1,2,2,5)', '(2,1,0,10)', '(3,1,0,1)'];
end
$$;

-- A lost queue, and lost progress rows.
insert into headway.completion (task_id, user_id) values (2, 2);
delete from headway.pending_fact;
delete from headway.shared_progress s where s.project_id in (2, 3);

do $$
begin
  assert exists (select from headway.verify() v where v.project_id = 1 and v.user_id = 2), 'the lost fact';
  assert exists (select from headway.verify() v where v.project_id = 2), 'the lost row';
  perform headway.repair();
  assert not exists (select from headway.verify());
  assert (select array_agg((g.project_id, g.user_id, g.done, g.total)::text order by g.project_id, g.user_id) from headway.progress g)
    = array['(1,1,5,5)', '(1,2,5,5)', '(2,1,0,10)', '(3,1,0,1)'];
end
$$;

-- Everything that triggers make, for people and a project that they never saw. Who was taken out of broadcast stays so.
delete from headway.subscription s where s.channel = 'broadcast' and s.user_id = 2;
set local session_replication_role = replica;
insert into headway.appuser (id, fullname) values (5, 'Eve'), (6, 'Frida');
insert into headway.project (id, name) values (5, 'Loaded');
insert into headway.member (project_id, user_id, role) values (5, 5, 'customer'), (5, 6, 'staff'), (1, 5, 'customer');
set local session_replication_role = origin;

do $$
begin
  assert (select array_agg(v::text) from headway.verify() v) = array['(5,,0,0,0,0)'], (select array_agg(v::text)::text from headway.verify() v);
  assert headway.repair() = 1;
  assert not exists (select from headway.verify());
  assert not exists (select from headway.pending_fact);
  assert (select count(*) from headway.progress g where g.project_id = 5) = 1, 'Eve has a bar';
  assert (select array_agg(s.channel || ' ' || s.user_id order by s.channel collate "C", s.user_id) from headway.subscription s where s.user_id in (2, 5, 6))
    = array['broadcast 5', 'broadcast 6', 'project_1 2', 'project_1 5', 'project_5 5', 'project_5 6', 'project_5_staff 6', 'user_2 2', 'user_5 5', 'user_6 6'],
    (select array_agg(s.channel || ' ' || s.user_id order by s.channel collate "C", s.user_id)::text from headway.subscription s where s.user_id in (2, 5, 6));
  perform headway.post(5, 'project_5', 'Hello');
end
$$;

-- A copy without rows, in which somebody was added.
set local session_replication_role = replica;
delete from headway.subscription s where s.channel = 'broadcast';
delete from headway.channel c where c.name = 'broadcast';
set local session_replication_role = origin;

do $$
begin
  assert headway.repair() = 0;
  assert (select count(*) from headway.subscription s where s.channel = 'broadcast') = (select count(*) from headway.appuser);
  perform headway.post(5, 'broadcast', 'Hello');
end
$$;
rollback;
