-- Triggers of an application read bars that are right, once headway's have fired: those for each statement whose names
-- come later, and those that are deferred.
begin;
insert into headway.appuser (id, fullname) values (1, 'Abe'), (2, 'Bob'), (3, 'Charlie');
insert into headway.project (id, name) values (1, 'Website');
insert into headway.member (project_id, user_id, role) values (1, 1, 'customer'), (1, 2, 'customer');
insert into headway.task (id, project_id, title, weight, audience) values (1, 1, 'Send the logo', 1, 'everyone'), (2, 1, 'Launch', 3, 'assigned');
select headway.fold();

create temporary table reading (trigger text, wrong bigint);
create function pg_temp.read() returns trigger
language plpgsql
as $$
begin
  insert into reading select tg_name || ' ' || tg_op || ' ' || tg_table_name, count(*) from headway.verify();
  return null;
end
$$;
do $$
declare
  v_table text;
begin
  foreach v_table in array array['completion', 'task', 'member', 'assignment'] loop
    execute format('create trigger zz_read after insert or update or delete or truncate on headway.%I for each statement execute function pg_temp.read()', v_table);
    execute format('create constraint trigger a_read after insert or update or delete on headway.%I deferrable initially deferred for each row execute function pg_temp.read()', v_table);
  end loop;
end
$$;

insert into headway.assignment (task_id, user_id) values (2, 1), (2, 2);
insert into headway.completion (task_id, user_id) values (1, 1), (1, 2), (2, 2);
update headway.task set weight = 9 where id = 1;
delete from headway.completion where task_id = 2;
insert into headway.task (id, project_id, title) values (3, 1, 'Celebrate');
insert into headway.member (project_id, user_id, role) values (1, 3, 'customer');
update headway.assignment set user_id = 3 where user_id = 1;
delete from headway.member where user_id = 2;
set constraints all immediate;
truncate headway.assignment;

do $$
begin
  assert (select count(distinct r.trigger) from reading r) >= 16, 'some of them did not fire';
  assert not exists (select from reading r where r.wrong > 0), (select string_agg(r.trigger, ', ') from reading r where r.wrong > 0);
end
$$;
rollback;
