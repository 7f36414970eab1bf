-- All that one person completed in a project is one line; two people of one name are two.
begin;
insert into headway.appuser (id, fullname, email) values
  (1, 'Abe', null), (2, 'Bob', null), (3, 'Charlie', null), (4, 'Dora', 'dora@example.com'), (5, 'Abe', null);
insert into headway.project (id, name) values (1, 'Website'), (2, 'Shop');
insert into headway.member (project_id, user_id, role) values
  (1, 1, 'customer'), (1, 2, 'customer'), (1, 5, 'customer'), (1, 3, 'staff'), (1, 4, 'staff'), (2, 1, 'customer'), (2, 4, 'staff');
insert into headway.task (id, project_id, title) select n, 1 + (n > 20)::integer, 'Task ' || n from generate_series(1, 24) n;
insert into headway.completion (task_id, user_id) select n, 1 from generate_series(1, 12) n;
insert into headway.completion (task_id, user_id, completed_by) values (13, 2, 2), (14, 2, 3), (15, 5, 5), (21, 1, 1);
select headway.fold();
select headway.reopen_task(13, 2, 3, 'The logo is missing'), headway.post(3, 'project_1', 'Hello'), headway.post(3, 'project_1_staff', 'Who calls them?');
select headway.fold();
select headway.post(1, 'broadcast', 'To all');

do $$
declare
  v_id bigint := headway.reserve_digest(4);
  v_content json := headway.digest_content(v_id);
  v_lines text;
begin
  select string_agg(format('%s %s %s %s %s %s', p.project ->> 'project_id', l.line ->> 'kind', l.line ->> 'sender', l.line ->> 'messages',
    l.line ->> 'titles', coalesce(l.line ->> 'reason', l.line ->> 'content')), e'\n' order by p.number, l.number)
  into v_lines
  from json_array_elements(v_content -> 'projects') with ordinality p (project, number),
    json_array_elements(p.project -> 'lines') with ordinality l (line, number);
  assert v_lines = concat_ws(e'\n',
    '1 task_reopened Charlie 1 ["Task 13"] The logo is missing',
    '1 task_completed Abe 12 ["Task 1","Task 2","Task 3","Task 4","Task 5"] ',
    '1 task_completed Bob 1 ["Task 13"] ',
    '1 task_completed Charlie 1 ["Task 14"] ',
    '1 task_completed Abe 1 ["Task 15"] ',
    '1 chat Charlie 1  Hello',
    '1 chat Charlie 1  Who calls them?',
    '2 task_completed Abe 1 ["Task 21"] ',
    ' chat Abe 1  To all'), v_lines;
  assert v_content ->> 'more' = '0';
  assert v_content ->> 'counts' = '{"chat" : 3, "completed" : 16, "reopened" : 1, "assigned" : 0}', v_content ->> 'counts';
  assert v_content #>> '{projects,0,name}' = 'Website' and v_content #>> '{projects,2,name}' is null;
end
$$;
rollback;
