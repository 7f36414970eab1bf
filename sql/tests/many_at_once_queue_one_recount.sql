-- Where many of a project's people join, leave, or are assigned or no longer, one recount of the project covers
-- them.
begin;
insert into headway.appuser (id, fullname) select n, 'Person ' || n from generate_series(1, 2000) n;
insert into headway.project (id, name) values (1, 'Website'), (2, 'Shop');
insert into headway.task (id, project_id, title, weight, audience) values (1, 1, 'Logo', 2, 'everyone'), (2, 1, 'Portrait', 3, 'assigned');
select headway.fold();

create function pg_temp.check_step(step text, facts text[], bars text) returns void
language plpgsql
as $$
begin
  assert (
    select array_agg(f order by f)
    from (select format('%s %s %s', p.kind, case when p.user_id is null then 'all' else 'each' end, count(*)) as f from headway.pending_fact p group by p.kind, p.user_id is null) f
  ) = facts, step || ': ' || (select string_agg(distinct p.kind || coalesce(p.user_id::text, ''), ' ') from headway.pending_fact p);
  for v_round in 1..2 loop
    assert (
      select string_agg(b, ', ' order by b)
      from (select format('%s: %s of %s', count(*), g.done, g.total) as b from headway.progress g group by g.done, g.total) b
    ) = bars, step || ', round ' || v_round || ': ' || (select string_agg(distinct (g.done, g.total)::text, ' ') from headway.progress g);
    while headway.fold() > 0 loop
    end loop;
    assert not exists (select from headway.verify()), step;
  end loop;
end
$$;

insert into headway.member (project_id, user_id, role) select 1, n, 'customer' from generate_series(1, 100) n;
select pg_temp.check_step('a hundred join', '{recompute each 100}', '100: 0 of 2');
insert into headway.member (project_id, user_id, role) select 1, n, 'customer' from generate_series(101, 1800) n;
select pg_temp.check_step('many join', '{recompute all 1,recompute each 1700}', '1800: 0 of 2');
insert into headway.member (project_id, user_id, role) select 1, n, 'customer' from generate_series(1801, 1950) n;
select pg_temp.check_step('not so many of all', '{recompute each 150}', '1950: 0 of 2');

insert into headway.assignment (task_id, user_id) select 2, n from generate_series(1, 100) n;
select pg_temp.check_step('a hundred are assigned', '{assigned each 100}', '100: 0 of 5, 1850: 0 of 2');
insert into headway.assignment (task_id, user_id) select 2, n from generate_series(101, 700) n;
select pg_temp.check_step('many are assigned', '{assigned each 600,recompute all 1}', '1250: 0 of 2, 700: 0 of 5');
update headway.assignment set user_id = user_id + 1000 where user_id <= 300;
select pg_temp.check_step('many give way to others', '{assigned each 300,recompute all 1,recompute each 300}', '1250: 0 of 2, 700: 0 of 5');
delete from headway.assignment where user_id > 400;
select pg_temp.check_step('many are no longer', '{recompute all 1,recompute each 600}', '100: 0 of 5, 1850: 0 of 2');
do $$
begin
  assert (select count(*) from headway.message m where m.kind = 'task_assigned') = 1000, 'everybody is told';
end
$$;

delete from headway.member where user_id > 200;
select pg_temp.check_step('many leave', '{recompute all 1,recompute each 1750}', '200: 0 of 2');
rollback;
