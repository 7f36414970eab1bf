-- Whoever is inserted in the statement that inserts their project is subscribed to its channels, whichever trigger fires
-- first.
begin;
insert into headway.appuser (id, fullname) values (1, 'Abe'), (4, 'Dora');
with p as (insert into headway.project (id, name) values (1, 'Website'))
insert into headway.member (project_id, user_id, role) values (1, 1, 'customer'), (1, 4, 'staff');
with
  p as (insert into headway.project (id, name) values (2, 'Shop')),
  m as (insert into headway.member (project_id, user_id, role) values (2, 1, 'customer'), (2, 4, 'staff'))
select;
with
  m as (insert into headway.member (project_id, user_id, role) values (3, 1, 'customer'), (3, 4, 'staff')),
  p as (insert into headway.project (id, name) values (3, 'Blog'))
select;
with p as (insert into headway.project (id, name) values (4, 'Shop') returning id)
insert into headway.member (project_id, user_id, role)
select p.id, u.id, u.role from p cross join (values (1, 'customer'), (4, 'staff')) u (id, role);

do $$
begin
  for v_project in 1..4 loop
    assert (
      select array_agg(s.channel || ' ' || s.user_id order by s.channel, s.user_id)
      from headway.subscription s
      where s.channel in ('project_' || v_project, 'project_' || v_project || '_staff')
    ) = array['project_' || v_project || ' 1', 'project_' || v_project || ' 4', 'project_' || v_project || '_staff 4'], v_project;
  end loop;
  assert (select count(*) from headway.progress) = 4;
  assert not exists (select from headway.verify());
end
$$;
rollback;
