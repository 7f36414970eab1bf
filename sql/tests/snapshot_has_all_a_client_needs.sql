-- Projects with progress and version, channels with last_seq, read_seq and unread, not yet folded
-- facts included.
begin;
insert into headway.appuser (id, fullname) values (1, 'Abe'), (4, 'Dana');
insert into headway.project (id, name) values (1, 'Website'), (2, 'Shop');
insert into headway.member (project_id, user_id, role) values (1, 1, 'customer'), (1, 4, 'staff'), (2, 1, 'customer');
insert into headway.task (id, project_id, title, shared) values (1, 1, 'Send the logo', true), (2, 1, 'Sign the terms', false);
select headway.fold();
insert into headway.completion (task_id, user_id) values (1, 1), (2, 1);
select headway.post(4, 'project_1', 'Hello'), headway.mute(1, 'broadcast');

do $$
declare
  v_abe jsonb := headway.snapshot(1)::jsonb;
  v_dana jsonb := headway.snapshot(4)::jsonb;
  v_version bigint := (select s.version from headway.shared_progress s where s.project_id = 1);
begin
  assert v_version > 0;
  assert v_abe - 'projects' - 'channels' = '{"user_id": 1, "fullname": "Abe"}', v_abe::text;
  assert v_abe #> '{projects,0}' = jsonb_build_object(
    'project_id', 1, 'name', 'Website', 'archived_at', null, 'role', 'customer', 'version', v_version,
    'shared', '{"done": 1, "total": 2}'::jsonb, 'progress', '{"done": 2, "total": 2, "percent": 100}'::jsonb
  ), v_abe::text;
  assert v_abe #> '{projects,1,progress}' = '{"done": 0, "total": 0, "percent": 0}', v_abe::text;
  assert v_abe -> 'channels' = '[
    {"channel": "broadcast", "project_id": null, "last_seq": 0, "read_seq": 0, "unread": 0, "muted": true},
    {"channel": "project_1", "project_id": 1, "last_seq": 1, "read_seq": 0, "unread": 1, "muted": false},
    {"channel": "project_2", "project_id": 2, "last_seq": 0, "read_seq": 0, "unread": 0, "muted": false},
    {"channel": "user_1", "project_id": null, "last_seq": 0, "read_seq": 0, "unread": 0, "muted": false}
  ]', v_abe::text;
  assert v_dana #> '{projects,0,role}' = '"staff"'
    and v_dana #> '{projects,0,progress}' = '{"done": 2, "total": 2, "percent": 100, "customers": 1}', v_dana::text;
  assert headway.snapshot(99) is null;
  delete from headway.member;
  assert headway.snapshot(1)::jsonb -> 'projects' = '[]';
end
$$;
rollback;
