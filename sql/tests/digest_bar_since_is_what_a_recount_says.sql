-- The bar of a digest is counted from what was completed since; a recount without that comes to the same.
begin;
insert into headway.appuser (id, fullname) values (1, 'Abe'), (2, 'Bob'), (3, 'Charlie'), (4, 'Dora');
insert into headway.project (id, name) values (1, 'Garden'), (2, 'Nobody yet');
insert into headway.member (project_id, user_id, role) values
  (1, 1, 'customer'), (1, 2, 'customer'), (1, 3, 'customer'), (1, 4, 'staff'), (2, 4, 'staff');
-- Four of each kind of task: complete long ago, again since, only since, and not at all.
insert into headway.task (id, project_id, title, weight, shared, audience)
select 100 * k.number + n, 1, 'Task ' || k.number || ' ' || n, k.number + n, k.shared, k.audience
from (values (1, true, 'everyone'), (2, false, 'everyone'), (3, true, 'assigned'), (4, false, 'assigned')) k (number, shared, audience),
  generate_series(1, 4) n;
insert into headway.assignment (task_id, user_id)
select t.id, u from headway.task t, generate_series(1, 2) u where t.audience = 'assigned';
insert into headway.completion (task_id, user_id, completed_at)
select t.id, c.user_id, now() - c.ago
from headway.task t
join (values
  (1, 1, interval '2 days'), (2, 1, '2 days'), (2, 2, '1 hour'), (3, 1, '1 hour'), (3, 2, '2 hours')
) c (which, user_id, ago) on t.id % 100 = c.which;
-- Whoever has left does not count.
delete from headway.member m where m.project_id = 1 and m.user_id = 3;

do $$
declare
  v_at timestamptz;
  v_recount headway.recount[];
  v_bar record;
  v_before bigint;
begin
  for v_round in 1..2 loop
    foreach v_at in array array['-infinity', now() - interval '3 days', now() - interval '1 day', now() - interval '90 minutes', now(), 'infinity'] loop
      begin
        delete from headway.completion c where c.completed_at > v_at;
        select array_agg(r) into v_recount from headway.recount r where r.project_id = 1;
        raise sqlstate 'UNDO1';
      exception when sqlstate 'UNDO1' then
        null;
      end;
      for v_user in 1..2 loop
        select * into strict v_bar from headway.bar_since(1, v_user, 'customer', v_at);
        select sum(r.done) into v_before from unnest(v_recount) r where r.user_id = v_user or r.user_id is null;
        assert v_bar.done_before = v_before, format('%s at %s: %s, recounted %s', v_user, v_at, v_bar, v_before);
        assert (select (v_bar.done, v_bar.total) = (p.done, p.total) from headway.progress p where p.project_id = 1 and p.user_id = v_user);
      end loop;
      select * into strict v_bar from headway.bar_since(1, 4, 'staff', v_at);
      select sum(r.done * case when r.user_id is null then 2 else 1 end) into v_before from unnest(v_recount) r;
      assert v_bar.done_before = v_before, format('staff at %s: %s, recounted %s', v_at, v_bar, v_before);
      assert (select (v_bar.done, v_bar.total) = (p.done, p.total) from headway.project_progress p where p.project_id = 1);
    end loop;
    -- Again with nothing waiting.
    perform headway.fold();
  end loop;
  assert (select b.done_before < b.done and b.done < b.total from headway.bar_since(1, 1, 'customer', now() - interval '1 day') b);
  assert (select (b.done_before, b.done, b.total) = (0, 0, 0) from headway.bar_since(2, 4, 'staff', now()) b), 'without tasks and customers';
end
$$;
rollback;
