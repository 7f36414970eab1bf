-- A task that was reopened again and again is one that was reopened; of long words, as many come as say that there are more.
begin;
insert into headway.appuser (id, fullname, email) values (1, 'Abe', null), (4, 'Dana', 'dana@example.com');
insert into headway.project (id, name) values (1, 'Website');
insert into headway.member (project_id, user_id, role) values (1, 1, 'customer'), (1, 4, 'staff');
insert into headway.task (id, project_id, title) values (1, 1, 'Send the logo');

do $$
declare
  v_content json;
begin
  for v_round in 1..2 loop
    perform headway.complete_task(1, 1), headway.fold();
    perform headway.reopen_task(1, 1, 1, repeat('y', 600)), headway.fold();
  end loop;
  perform headway.post(1, 'project_1', repeat('x', 600));
  perform headway.reserve_digest(4);
  v_content := headway.claim_digest(gen_random_uuid());
  assert (v_content #>> '{counts,reopened}')::integer = 1, v_content ->> 'counts';
  assert (
    select array_agg(distinct char_length(coalesce(l ->> 'content', l ->> 'reason')))
    from json_array_elements(v_content #> '{projects,0,lines}') l
    where l ->> 'kind' in ('chat', 'task_reopened')
  ) = '{501}', 'cut off, and it does not show';
end
$$;
rollback;
