-- A digest whose content raises an error ends as failed, and the next one is claimed.
begin;
insert into headway.appuser (id, fullname, email) values (1, 'Abe', 'abe@example.com'), (2, 'Bob', 'bob@example.com'), (3, 'Charlie', null);
insert into headway.project (id, name) values (1, 'Website relaunch');
insert into headway.member (project_id, user_id, role) values (1, 1, 'customer'), (1, 2, 'customer'), (1, 3, 'customer');
select headway.post(3, 'project_1', 'Hello');
select headway.reserve(array[1]), headway.reserve(array[2]);

-- Abe's is the one that raises.
create or replace function headway.digest_content(digest_id bigint) returns json
language plpgsql
as $$
declare
  v_user_id bigint := (select d.user_id from headway.digest d where d.id = digest_content.digest_id);
begin
  if v_user_id = 1 then
    raise exception 'it cannot be told';
  end if;
  return json_build_object('user_id', v_user_id, 'projects', json_build_array('Website relaunch'));
end
$$;

do $$
declare
  v_content json := headway.claim_digest(gen_random_uuid());
begin
  assert (v_content ->> 'user_id')::bigint = 2, 'Bob''s is claimed';
  assert (select d.state = 'failed' and d.error = 'it cannot be told' from headway.digest d where d.user_id = 1),
    'Abe''s has failed, and says why';
end
$$;
rollback;
