-- Subscriptions begin at the end of the channel; what was said before can be read all the same.
begin;
insert into headway.appuser (id, fullname) values (1, 'Abe');
insert into headway.project (id, name) values (1, 'Website');
insert into headway.member (project_id, user_id, role) values (1, 1, 'customer');
select headway.post(1, 'broadcast', 'Hello'), headway.post(1, 'project_1', 'Anybody?');
insert into headway.appuser (id, fullname) values (2, 'Bob');
insert into headway.member (project_id, user_id, role) values (1, 2, 'staff');

do $$
begin
  assert not exists (select from headway.unread u where u.user_id = 2);
  assert (select count(*) from headway.messages_since('project_1')) = 1;
  perform headway.post(1, 'project_1', 'Hello Bob');
  assert (select u.channel || ' ' || u.messages from headway.unread u where u.user_id = 2) = 'project_1 1';
end
$$;
rollback;
