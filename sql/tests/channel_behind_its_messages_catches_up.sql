-- As after a restore of tables that were dumped at different moments: neither a fold nor a repair fails for ever.
begin;
insert into headway.appuser (id, fullname) values (1, 'Abe'), (2, 'Bob'), (4, 'Dora');
insert into headway.project (id, name) values (1, 'Website');
insert into headway.member (project_id, user_id, role) values (1, 1, 'customer'), (1, 2, 'customer'), (1, 4, 'staff');
insert into headway.task (id, project_id, title, shared) values (1, 1, 'Introduce yourself', false), (2, 1, 'Send the logo', true);
insert into headway.completion (task_id, user_id) values (1, 1), (1, 2);
select headway.fold(), headway.post(1, 'project_1', 'Hello');

set session_replication_role = replica;
update headway.channel set last_seq = 0 where project_id = 1;
set session_replication_role = origin;
do $$
begin
  insert into headway.completion (task_id, user_id) values (2, 1);
  assert headway.fold() = 1, 'it is folded';
  assert array(select m.seq from headway.message m where m.channel = 'project_1_staff' order by m.seq) = array[1, 2, 3]::bigint[];
  assert (select c.last_seq from headway.channel c where c.name = 'project_1_staff') = 3;
end
$$;

-- And where the channel itself is missing.
set session_replication_role = replica;
delete from headway.channel where name ~ '^project_1';
set session_replication_role = origin;
do $$
begin
  perform headway.repair();
  assert array(select c.name || ' ' || c.last_seq from headway.channel c where c.project_id = 1 order by 1)
    = array['project_1 1', 'project_1_staff 3'];
  delete from headway.completion where task_id = 2;
  perform headway.fold();
  assert (select max(m.seq) from headway.message m where m.channel = 'project_1_staff') = 4;
end
$$;
rollback;
