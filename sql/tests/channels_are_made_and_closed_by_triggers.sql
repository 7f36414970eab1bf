-- A person's, a project's and its staff's channel come and go with them.
begin;
insert into headway.appuser (id, fullname) values (1, 'Abe'), (2, 'Bob');
insert into headway.project (id, name) values (1, 'Website'), (2, 'Shop');

do $$
begin
  assert (select array_agg(c.name order by c.name) from headway.channel c)
    = array['broadcast', 'project_1', 'project_1_staff', 'project_2', 'project_2_staff', 'user_1', 'user_2'];
  assert (select array_agg(s.channel || ' ' || s.user_id order by s.channel, s.user_id) from headway.subscription s)
    = array['broadcast 1', 'broadcast 2', 'user_1 1', 'user_2 2'];
  insert into headway.member (project_id, user_id, role) values (1, 1, 'customer'), (2, 1, 'staff');
  assert (select array_agg(s.channel order by s.channel) from headway.subscription s where s.user_id = 1)
    = array['broadcast', 'project_1', 'project_2', 'project_2_staff', 'user_1'];
  delete from headway.project p where p.id = 2;
  assert (select array_agg(s.channel order by s.channel) from headway.subscription s where s.user_id = 1)
    = array['broadcast', 'project_1', 'user_1'];
  assert not exists (select from headway.channel c where c.name ~ '^project_2');
  delete from headway.appuser u where u.id = 1;
  assert (select array_agg(c.name order by c.name) from headway.channel c) = array['broadcast', 'project_1', 'project_1_staff', 'user_2'];
end
$$;
rollback;
