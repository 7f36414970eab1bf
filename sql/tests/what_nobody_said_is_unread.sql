-- What nobody is known to have said is unread, and a cursor does not pass over it, as over one's own.
begin;
insert into headway.appuser (id, fullname, email) values (1, 'Abe', null), (4, 'Dana', 'dana@example.com');
insert into headway.project (id, name) values (1, 'Website');
insert into headway.member (project_id, user_id, role) values (1, 1, 'customer'), (1, 4, 'staff');
insert into headway.task (id, project_id, title) values (1, 1, 'Send the logo');
insert into headway.completion (task_id, user_id) values (1, 1);
select headway.fold();
delete from headway.completion;
select headway.fold();

do $$
begin
  assert (select array_agg(m.sender order by m.seq) from headway.message m where m.channel = 'project_1_staff') = array[1, null]::bigint[];
  assert (select array_agg(m.seq order by m.seq) from headway.unread_message m where m.user_id = 4 and m.channel = 'project_1_staff') = '{1,2}';
  assert (select u.messages from headway.unread u where u.user_id = 4 and u.channel = 'project_1_staff') = 2;
  assert headway.mark_read(4, 'project_1_staff', 1) = 1, 'the cursor passed what was not read';
  assert (select array_agg(m.seq) from headway.unread_message m where m.user_id = 4 and m.channel = 'project_1_staff') = '{2}';
  assert (select n.from_seq from headway.unmailed n where n.user_id = 4 and n.channel = 'project_1_staff') = 2;
  perform headway.reserve_digest(4);
  assert (select array_agg(m.seq order by m.seq) from headway.digest_message m) = '{2}', 'it is in the mail';
  assert headway.mark_seen(4, array(select m.id from headway.message m where m.channel = 'project_1_staff')) = 1;
  assert not exists (select from headway.unread_message m where m.user_id = 4);
end
$$;
rollback;
