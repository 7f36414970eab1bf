-- What a backend, the worker, an administrator and a monitor are refused, whatever else they may do.
begin;
insert into headway.appuser (id, fullname, email) values (1, 'Abe', 'abe@example.com'), (4, 'Dora', null);
insert into headway.project (id, name) values (1, 'Website');
insert into headway.member (project_id, user_id, role) values (1, 1, 'customer'), (1, 4, 'staff');
insert into headway.task (id, project_id, title) values (1, 1, 'Send the logo');

do $$
declare
  v_all text[] := array[
    'alter table headway.completion disable trigger all', 'alter table headway.task disable row level security',
    'set local session_replication_role = replica',
    'drop policy joined on headway.task', 'create policy mine on headway.task to public using (true)',
    'create function headway.mine() returns void language sql return null', 'create table headway.mine ()',
    'create trigger mine before insert on headway.task for each row execute function suppress_redundant_updates_trigger()',
    'truncate headway.task cascade', 'select setval(''headway.message_id_seq'', 1)',
    'insert into headway.pending_fact (kind, project_id) values (''recompute'', 1)', 'delete from headway.pending_fact',
    'update headway.shared_progress set done = total', 'insert into headway.personal_progress values (1, 1, 1, 1)',
    'update headway.message set content = ''''', 'delete from headway.message',
    'insert into headway.digest (user_id) values (1)', 'update headway.digest set state = ''held''', 'delete from headway.digest',
    'insert into headway.digest_run (slot) values (now())', 'insert into headway.worker (id, host, pid, version) values (gen_random_uuid(), '''', 1, '''')',
    'insert into headway.setting (name, value, meaning) values (''mine'', '''', '''')', 'update headway.setting set name = ''mine''',
    'select headway.close_digest(1, ''sent'', null)', 'select headway.post_activity(''{}'')', 'select headway.reserve(''{1}'')',
    'select headway.ring()', 'select headway.actor()', 'select headway.recompute_everything()'
  ];
  v_writes text[] := array[
    'insert into headway.appuser (fullname) values (''Eve'')', 'update headway.appuser set email = ''eve@example.com''', 'delete from headway.appuser',
    'insert into headway.project (name) values (''Other'')', 'delete from headway.project',
    'insert into headway.member (project_id, user_id, role) values (1, 1, ''staff'')', 'update headway.member set role = ''staff''',
    'insert into headway.task (project_id, title) values (1, ''Pay'')', 'update headway.task set weight = 9', 'delete from headway.task',
    'insert into headway.completion (task_id, user_id) values (1, 1)', 'delete from headway.completion',
    'insert into headway.message (sender, channel, content) values (1, ''project_1'', ''Hello'')',
    'update headway.subscription set muted = true', 'delete from headway.subscription', 'insert into headway.channel (name) values (''mine'')',
    'select headway.complete_task(1, 1)', 'select headway.reopen_task(1, 1)', 'select headway.post(1, ''project_1'', ''Hello'')',
    'select headway.open_channel(''mine'')', 'select headway.mark_read(1, ''project_1'')', 'select headway.mute(1, ''project_1'')'
  ];
  v_personal text[] := array[
    'select * from headway.appuser', 'select email from headway.appuser', 'select fullname from headway.appuser', 'select * from headway.message',
    'select * from headway.member', 'select * from headway.progress', 'select * from headway.unread_message', 'select * from headway.outstanding_task',
    'select reason from headway.pending_fact', 'select user_id from headway.pending_fact', 'select user_id from headway.digest',
    'select * from headway.digest_item', 'select recipient from headway.digest', 'select error from headway.digest', 'select headway.snapshot(1)'
  ];
  v_mail text[] := array['select mail from headway.digest', 'select token from headway.digest', 'select recipient from headway.digest', 'select * from headway.digest'];
  v_case record;
  v_try text;
begin
  for v_case in
    select c.role, c.tries
    from (values
      ('headway_app', v_all || v_mail || array[
        'update headway.channel set last_seq = 9', 'insert into headway.channel (name, last_seq) values (''mine'', 9)',
        'update headway.setting set value = ''off''', 'select headway.set_setting(''notify_payload'', ''off'')', 'select headway.fold()',
        'select headway.repair()', 'select headway.claim_digest(gen_random_uuid())', 'select headway.reserve_digests()',
        'select headway.digest_sent(1)', 'select headway.retry_digest(1)', 'select headway.unsubscribe(gen_random_uuid())'
      ]),
      ('headway_worker', v_all || v_writes || v_personal || v_mail || array[
        'select headway.set_setting(''notify_payload'', ''off'')', 'update headway.setting set value = ''off''', 'select headway.repair()',
        'select headway.forget_user(1)', 'select headway.explain_digest(1)', 'select headway.digest_content(1)', 'select headway.reserve_digest(1)'
      ]),
      ('headway_admin', v_all || v_writes || array['select headway.claim_digest(gen_random_uuid())', 'select headway.digest_sent(1)']),
      ('headway_monitor', v_all || v_writes || v_personal || v_mail || array[
        'select headway.fold()', 'select headway.verify()', 'select headway.set_setting(''notify_payload'', ''off'')', 'select headway.lock_key(''fold'')'
      ]),
      ('headway_user', v_all || v_mail)
    ) c (role, tries)
  loop
    foreach v_try in array v_case.tries loop
      begin
        execute 'set local role ' || v_case.role;
        execute v_try;
        raise assert_failure using message = format('%s as %s', v_try, v_case.role);
      exception when insufficient_privilege then
        null;
      end;
    end loop;
  end loop;
  assert (select count(*) from headway.appuser) = 2 and not exists (select from headway.message);
end
$$;
rollback;
