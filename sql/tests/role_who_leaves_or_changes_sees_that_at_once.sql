-- A member who leaves sees nothing of the project any more and changes nothing in it; staff who become customers see no
-- more than customers, and the other way round.
begin;
insert into headway.appuser (id, fullname) values (1, 'Abe'), (2, 'Bob'), (4, 'Dora');
insert into headway.project (id, name) values (1, 'Website');
insert into headway.member (project_id, user_id, role) values (1, 1, 'customer'), (1, 2, 'customer'), (1, 4, 'staff');
insert into headway.task (id, project_id, title, shared, audience) values (1, 1, 'Send the logo', true, 'everyone'), (2, 1, 'Sign', false, 'assigned');
insert into headway.assignment (task_id, user_id) values (2, 1), (2, 2);
insert into headway.completion (task_id, user_id) values (1, 1), (2, 1);
select headway.open_channel('review', 1, array[1, 4]), headway.post(1, 'review', 'Green.'), headway.post(4, 'project_1_staff', 'Bob is slow.');

-- What a person finds, in one line: bars of whom, tasks, assignments, completions, facts, channels, messages.
create function public.finds(person bigint) returns text language plpgsql as $$
declare
  v_found text;
begin
  perform set_config('headway.user_id', finds.person::text, true);
  set local role headway_user;
  select concat_ws(' ',
    (select array_agg(p.user_id order by p.user_id) from headway.progress p),
    (select count(*) from headway.task), (select count(*) from headway.assignment), (select count(*) from headway.completion),
    (select count(*) > 0 from headway.pending_fact),
    (select array_agg(c.name order by c.name) from headway.channel c), (select count(*) from headway.message)
  ) into v_found;
  reset role;
  perform set_config('headway.user_id', '', true);
  return v_found;
end
$$;

do $$
begin
  assert public.finds(1) = '{1} 2 1 2 t {broadcast,project_1,review,user_1} 1', public.finds(1);
  assert public.finds(4) = '{1,2} 2 2 2 t {broadcast,project_1,project_1_staff,review,user_4} 2', public.finds(4);

  -- Abe joins the staff, and Dora becomes a customer.
  update headway.member m set role = case m.role when 'staff' then 'customer' else 'staff' end where m.user_id in (1, 4);
  assert public.finds(1) = '{2,4} 2 2 2 t {broadcast,project_1,project_1_staff,review,user_1} 2', public.finds(1);
  assert public.finds(4) = '{4} 2 0 1 t {broadcast,project_1,review,user_4} 1', public.finds(4);
  -- And back.
  update headway.member m set role = case m.role when 'staff' then 'customer' else 'staff' end where m.user_id in (1, 4);
  assert public.finds(1) = '{1} 2 1 2 t {broadcast,project_1,review,user_1} 1', public.finds(1);
  assert public.finds(4) = '{1,2} 2 2 2 t {broadcast,project_1,project_1_staff,review,user_4} 2', public.finds(4);

  delete from headway.member m where m.user_id in (1, 4);
  assert public.finds(1) = '0 0 0 f {broadcast,user_1} 0', public.finds(1);
  assert public.finds(4) = '0 0 0 f {broadcast,user_4} 0', public.finds(4);
end
$$;

select set_config('headway.user_id', '1', true);
set local role headway_user;
do $$
begin
  delete from headway.completion;
  assert not found, 'what was completed stays completed';
  begin
    insert into headway.completion (task_id, user_id) values (1, 1);
    raise assert_failure;
  exception when insufficient_privilege then
    null;
  end;
  begin
    insert into headway.message (sender, channel, content) values (1, 'project_1', 'Am I still here?');
    raise assert_failure;
  exception when foreign_key_violation then
    null;
  end;
end
$$;
reset role;
rollback;
