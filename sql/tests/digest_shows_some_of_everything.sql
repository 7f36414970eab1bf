-- However much was completed, questions are shown, and those of the other projects.
begin;
insert into headway.appuser (id, fullname, email) values (1, 'Abe', null), (2, 'Bob', 'bob@example.com'), (3, 'Charlie', null), (4, 'Dora', null);
insert into headway.project (id, name) values (1, 'Website'), (2, 'Shop');
insert into headway.member (project_id, user_id, role)
select p, u, case u when 2 then 'staff' else 'customer' end from generate_series(1, 2) p, generate_series(1, 4) u;
insert into headway.task (id, project_id, title, shared) values (1, 1, 'Profile', false);
insert into headway.completion (task_id, user_id) values (1, 1), (1, 3), (1, 4);
select headway.fold();
select headway.post(1, 'project_1', n || ' of the website') from generate_series(1, 3) n;
select headway.post(3, 'project_2', n || ' of the shop') from generate_series(1, 3) n;

do $$
declare
  v_id bigint := headway.reserve_digest(2);
  v_lines text[];
begin
  for v_max in 1..9 loop
    perform headway.set_setting('digest_max_items', v_max::text);
    select array_agg(coalesce(l ->> 'content', l ->> 'kind') order by p.number, l.number) into v_lines
    from json_array_elements(headway.digest_content(v_id) -> 'projects') with ordinality p (project, number)
    cross join json_array_elements(p.project -> 'lines') with ordinality l (l, number);
    assert cardinality(v_lines) = v_max, v_max || ': ' || v_lines::text;
    if v_max = 5 then
      assert v_lines = array['task_completed', 'task_completed', '1 of the website', '2 of the website', '1 of the shop'], v_lines::text;
    end if;
  end loop;
end
$$;
rollback;
