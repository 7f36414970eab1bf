-- An application's own tables may refer to headway's once the owner has allowed it, and their rows go with what they
-- refer to, or keep it.
begin;
insert into headway.appuser (id, fullname) values (1, 'Abe'), (2, 'Bob');
insert into headway.project (id, name) values (1, 'Website');
insert into headway.member (project_id, user_id, role) values (1, 1, 'customer'), (1, 2, 'staff');
insert into headway.task (id, project_id, title) values (1, 1, 'Send the logo'), (2, 1, 'Choose colours');
create schema shop;
grant create, usage on schema shop to headway_app;
set local role headway_app;

do $$
begin
  create table shop.invoice (task_id bigint references headway.task);
  raise assert_failure using message = 'nobody has allowed it';
exception when insufficient_privilege then
  null;
end
$$;

set local role headway_owner;
grant references on headway.appuser, headway.project, headway.member, headway.task, headway.channel, headway.message
  to headway_app;
set local role headway_app;
create table shop.profile (user_id bigint primary key references headway.appuser on delete cascade);
create table shop.seat (
  project_id bigint references headway.project on delete cascade,
  user_id bigint,
  foreign key (project_id, user_id) references headway.member on delete cascade
);
create table shop.attachment (
  task_id bigint references headway.task on delete cascade,
  message_id bigint references headway.message on delete cascade,
  channel text references headway.channel on delete set null
);
create table shop.invoice (task_id bigint references headway.task);

do $$
declare
  v_message bigint := (select m.id from headway.post(1, 'project_1', 'Here it is') m);
begin
  insert into shop.profile (user_id) values (2);
  insert into shop.seat (project_id, user_id) values (1, 1), (1, 2);
  insert into shop.attachment (task_id, message_id, channel) values (null, v_message, 'project_1'), (1, null, 'project_1_staff');
  insert into shop.invoice (task_id) values (2);
  begin
    delete from headway.project;
    raise assert_failure using message = 'an invoice lost its task';
  exception when foreign_key_violation then
    null;
  end;

  delete from headway.member where user_id = 2;
  assert (select array_agg(s.user_id) from shop.seat s) = '{1}';
  delete from headway.appuser where id = 2;
  assert not exists (select from shop.profile);
  delete from shop.invoice;
  delete from headway.project;
  assert not exists (select from shop.seat) and not exists (select from shop.attachment);
end
$$;
rollback;
