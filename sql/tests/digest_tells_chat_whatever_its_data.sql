-- What people say is in the mail whatever an application puts beside it, and what happened elsewhere is in that of members only.
begin;
insert into headway.appuser (id, fullname, email) values (1, 'Abe', null), (2, 'Bob', 'bob@example.com');
insert into headway.project (id, name) values (1, 'Website');
insert into headway.member (project_id, user_id, role) values (1, 1, 'customer');
select headway.open_channel('lounge', null, array[1, 2]);
insert into headway.message (sender, channel, content, data) values (1, 'lounge', 'Look at this', '{"project_id": 1}');

do $$
declare
  v_content json;
begin
  assert (select n.from_seq from headway.unmailed n where n.user_id = 2 and n.channel = 'lounge') = 1, 'a chat';
  perform headway.reserve_digest(2);
  v_content := headway.claim_digest(gen_random_uuid());
  assert v_content #>> '{projects,0,lines,0,content}' = 'Look at this', v_content::text;
  assert v_content #>> '{projects,0,name}' is null, 'Bob is not in it';
end
$$;
rollback;
