-- At most digest_max_items lines, excerpts of what is long, and the number of what is left out.
begin;
insert into headway.appuser (id, fullname, email) values (1, 'Abe', null), (2, 'Bob', 'bob@example.com'), (3, 'Charlie', null);
insert into headway.project (id, name) values (1, 'Website');
insert into headway.member (project_id, user_id, role) values (1, 1, 'customer'), (1, 2, 'staff'), (1, 3, 'staff');
insert into headway.task (project_id, title) select 1, 'Task ' || n || repeat(' and so on', 100000) from generate_series(1, 7) n;
insert into headway.completion (task_id, user_id) select t.id, 1 from headway.task t;
select headway.fold();
select headway.post(1, 'project_1', repeat('é', 1000000));
-- Nearly ten thousand more, without their triggers for the time it takes.
set local session_replication_role = replica;
insert into headway.message (sender, channel, content, seq) select 1, 'project_1', 'Message ' || n, n from generate_series(2, 9993) n;
update headway.channel set last_seq = 9993 where name = 'project_1';
set local session_replication_role = origin;

do $$
declare
  v_id bigint := headway.reserve_digest(2);
  v_content json := headway.digest_content(v_id);
begin
  assert (select sum(json_array_length(p -> 'lines')) from json_array_elements(v_content -> 'projects') p) = 50;
  assert v_content #>> '{projects,0,lines,0,messages}' = '7' and v_content ->> 'more' = (10000 - 7 - 49)::text, v_content ->> 'more';
  assert v_content ->> 'counts' = '{"chat" : 9993, "completed" : 7, "reopened" : 0, "assigned" : 0}', v_content ->> 'counts';
  assert (select l ->> 'content' from json_array_elements(v_content #> '{projects,0,lines}') l where l ->> 'content' like 'é%') = repeat('é', 501), 'an excerpt, and one more, which says that it goes on';
  assert octet_length(v_content::text) < 50000, octet_length(v_content::text)::text;
  perform headway.set_setting('digest_max_items', '1');
  v_content := headway.digest_content(v_id);
  assert json_array_length(v_content #> '{projects,0,lines}') = 1 and v_content ->> 'more' = '9993';
  perform headway.set_setting('digest_max_items', '100000');
  v_content := headway.digest_content(v_id);
  assert json_array_length(v_content #> '{projects,0,lines}') = 9994 and v_content ->> 'more' = '0';
  perform headway.mark_read(2, 'project_1'), headway.mark_read(2, 'project_1_staff');
  v_content := headway.digest_content(v_id);
  assert v_content ->> 'more' = '0' and json_array_length(v_content -> 'projects') = 0, 'nothing left';
end
$$;
rollback;
