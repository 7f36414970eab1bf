-- What concerns a project that is gone, or that the person has left, is in no mail.
begin;
insert into headway.appuser (id, fullname, email) values (1, 'Abe', null), (2, 'Bob', 'bob@example.com');
insert into headway.project (id, name) values (1, 'Website'), (2, 'Shop'), (3, 'Fair');
insert into headway.member (project_id, user_id, role) values (1, 2, 'customer'), (2, 2, 'customer'), (3, 2, 'customer'), (1, 1, 'staff'), (2, 1, 'staff');
insert into headway.task (id, project_id, title, audience) values (1, 1, 'Send the logo', 'assigned'), (2, 2, 'Count the stock', 'assigned'), (3, 3, 'Book a stand', 'assigned');
insert into headway.assignment (task_id, user_id) values (1, 2), (2, 2), (3, 2);
select headway.fold(), headway.post(1, 'project_1', 'Hello'), headway.post(1, 'project_2', 'Hello');

do $$
declare
  v_id bigint := headway.reserve_digest(2);
  v_content json;
begin
  assert (select count(*) from headway.digest_message m) = 5;
  delete from headway.project p where p.id = 1;
  delete from headway.member m where m.project_id = 2;
  v_content := headway.claim_digest('11111111-1111-1111-1111-111111111111');
  assert json_array_length(v_content -> 'projects') = 1 and v_content #>> '{projects,0,name}' = 'Fair', v_content::text;
  assert v_content ->> 'counts' = '{"chat" : 0, "completed" : 0, "reopened" : 0, "assigned" : 1}', v_content ->> 'counts';
  delete from headway.project p where p.id = 3;
  update headway.digest set lease_until = now() - interval '1 second';
  assert headway.claim_digest('11111111-1111-1111-1111-111111111111') is null;
  assert (select d.state from headway.digest d where d.id = v_id) = 'read_before_sending';
end
$$;
rollback;
