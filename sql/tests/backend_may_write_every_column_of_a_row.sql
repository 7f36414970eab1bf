-- Many ORMs name every column of a row that they insert, and set every column of one that they insert or update, the key
-- to itself: a backend may, with any table that it writes.
begin;
insert into headway.appuser (id, fullname) values (1, 'Abe'), (2, 'Bob');
insert into headway.project (id, name) values (1, 'Website');
insert into headway.member (project_id, user_id, role) values (1, 1, 'customer'), (1, 2, 'customer');
insert into headway.task (id, project_id, title) values (1, 1, 'Send the logo'), (2, 1, 'Choose colours');
insert into headway.assignment (task_id, user_id) values (1, 1);
insert into headway.prerequisite (task_id, requires_id) values (2, 1);
insert into headway.completion (task_id, user_id) values (1, 1);
set local role headway_app;

do $$
declare
  v_table regclass;
begin
  foreach v_table in array array[
    'headway.appuser', 'headway.project', 'headway.member', 'headway.task', 'headway.assignment', 'headway.prerequisite',
    'headway.completion', 'headway.subscription'
  ]::regclass[] loop
    execute (
      select format(
        'insert into %1$s select * from %1$s on conflict on constraint %2$I do update set %3$s',
        v_table,
        (select k.conname from pg_constraint k where k.conrelid = v_table and k.contype = 'p'),
        string_agg(format('%1$I = excluded.%1$I', a.attname), ', ')
      )
      from pg_attribute a
      where a.attrelid = v_table and a.attnum > 0
    );
  end loop;

  insert into headway.channel (name, project_id, last_seq) values ('room', 1, default), ('lounge', null, 0);
  insert into headway.subscription (channel, user_id, muted) values ('user_1', 1, true)
  on conflict (channel, user_id) do update set channel = excluded.channel, user_id = excluded.user_id, muted = excluded.muted;
  assert (select s.muted from headway.subscription s where s.channel = 'user_1');
end
$$;
rollback;
