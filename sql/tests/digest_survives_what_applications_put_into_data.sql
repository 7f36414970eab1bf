-- Whatever an application writes into data, one message spoils no mail, least of all everybody's.
begin;
insert into headway.appuser (id, fullname, email) values (1, 'Abe', null), (2, 'Bob', 'bob@example.com');
insert into headway.project (id, name) values (1, 'Website');
insert into headway.member (project_id, user_id, role) values (1, 1, 'customer'), (1, 2, 'staff');
insert into headway.message (sender, channel, content, kind, data)
select 1, c.channel, 'Odd', k.kind, d.data
from (values ('project_1'), ('broadcast')) c (channel),
  (values ('chat'), ('task_completed'), ('task_reopened'), ('task_assigned')) k (kind),
  (values (null::jsonb), ('{"project_id": "abc", "user_id": "abc", "title": 7}'), ('{"project_id": 99999999999999999999, "user_id": 1.5}'), ('[1]'), ('"title"'), ('{"project_id": null}'), ('{"title": {"a": 1}, "reason": []}'), ('{"project_id": 77, "user_id": -1}')) d (data);

do $$
declare
  v_content json;
begin
  perform headway.reserve_digest(2);
  v_content := headway.claim_digest('11111111-1111-1111-1111-111111111111');
  assert v_content #>> '{projects,0,name}' = 'Website', v_content::text;
  assert (v_content #>> '{counts,chat}')::integer = 16, v_content -> 'counts';
end
$$;
rollback;
