-- Many ORMs save a list of members by deleting it and inserting it again. Nobody's unread messages are lost by that, and no
-- channel is unmuted; outside the transaction, whoever comes back starts with what comes next.
begin;
insert into headway.appuser (id, fullname) values (1, 'Abe'), (2, 'Bob'), (3, 'Charlie');
insert into headway.project (id, name) values (1, 'Website'), (2, 'Fair');
insert into headway.member (project_id, user_id, role) values (1, 1, 'customer'), (1, 2, 'staff'), (1, 3, 'customer'), (2, 1, 'customer');
select headway.open_channel('design', 1, array[1, 2]);
select headway.post(3, 'project_1', 'One'), headway.post(3, 'project_1', 'Two'), headway.post(2, 'design', 'A draft');
select headway.mark_read(1, 'project_1', 1), headway.mute(1, 'design');
create temp table before as select s.* from headway.subscription s;

do $$
begin
  delete from headway.member where project_id = 1 and user_id <> 3;
  assert not exists (select from headway.subscription s join headway.channel c on c.name = s.channel and c.project_id = 1 where s.user_id <> 3),
    'they have left at once';
  insert into headway.member (project_id, user_id, role) values (1, 1, 'customer');
  insert into headway.member (project_id, user_id, role) values (1, 2, 'staff');
  assert not exists (select * from headway.subscription s except select * from before), 'somebody is subscribed otherwise';
  assert not exists (select * from before except select * from headway.subscription s), 'somebody is no longer subscribed';

  -- As something else: Bob is staff no more, Abe becomes staff.
  delete from headway.member where project_id = 1 and user_id <> 3;
  insert into headway.member (project_id, user_id, role) values (1, 1, 'staff'), (1, 2, 'customer');
  assert array(select s.channel || ' ' || s.read_seq || ' ' || s.muted from headway.subscription s where s.user_id = 1 and s.channel ~ 'project_1|design' order by 1)
    = array['design 0 true', 'project_1 1 false', 'project_1_staff 0 false'];
  assert array(select s.channel from headway.subscription s where s.user_id = 2 and s.channel ~ 'project_1|design' order by 1)
    = array['design', 'project_1'];

  -- Only where they were.
  insert into headway.member (project_id, user_id, role) values (2, 2, 'customer');
  assert array(select s.channel from headway.subscription s where s.user_id = 2 and s.channel ~ 'project_|design' order by 1)
    = array['design', 'project_1', 'project_2'];
end
$$;

-- What is rolled back is forgotten, too.
savepoint s;
delete from headway.member where project_id = 1 and user_id = 1;
select set_config('headway.left', '', true);
insert into headway.member (project_id, user_id, role) values (1, 1, 'customer');
do $$
begin
  assert (select (s.read_seq, s.muted) = (2, false) from headway.subscription s where s.user_id = 1 and s.channel = 'project_1'),
    'whoever comes back in a later transaction starts with what comes next';
end
$$;
rollback;
