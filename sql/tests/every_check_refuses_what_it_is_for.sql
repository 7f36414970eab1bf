-- Each check constraint that there is refuses a row that breaks it and no other.
begin;
set local session_replication_role = replica; -- triggers refuse some of them first

do $$
declare
  v_row text;
  v_name text;
  v_refused text[] := '{}';
begin
  foreach v_row in array array[
    'appuser (id, fullname) values (0, ''Abe'')',
    'appuser (fullname) values (E'' \t'')',
    'appuser (fullname, email) values (''Abe'', ''abe@example.com, bob@example.com'')',
    'appuser (fullname, digest_after) values (''Abe'', ''0'')',
    'appuser (fullname, time_zone) values (''Abe'', ''+03'')',
    'appuser (fullname, quiet_from) values (''Abe'', ''22:00'')',
    'appuser (fullname, mail_suspended_at) values (''Abe'', now())',
    'project (id, name) values (0, ''Website'')',
    'project (name) values (E'' \t'')',
    'member (project_id, user_id, role) values (1, 1, ''guest'')',
    'task (project_id, title) values (1, E'' \t'')',
    'task (project_id, title, weight) values (1, ''Send the logo'', 0)',
    'task (project_id, title, audience) values (1, ''Send the logo'', ''some'')',
    'prerequisite (task_id, requires_id) values (1, 1)',
    'channel (name) values (''Design'')',
    'channel (name) values (''project_x'')',
    'subscription (channel, user_id, read_seq) values (''broadcast'', 1, 9223372036854775807)',
    'message (sender, channel, content, seq) values (1, ''broadcast'', ''Hello'', 0)',
    'message (sender, channel, content, seq) values (null, ''broadcast'', ''Hello'', 1)',
    'message (sender, channel, content, seq, kind) values (1, ''broadcast'', ''Hello'', 1, ''shout'')',
    'digest (user_id, state) values (1, ''lost'')',
    'digest (user_id, state) values (1, ''sending'')',
    'digest (user_id, state) values (1, ''sent'')',
    'digest_item (digest_id, channel, from_seq, through_seq) values (1, ''broadcast'', 2, 1)'
  ] loop
    begin
      execute 'insert into headway.' || v_row;
      raise assert_failure using message = v_row;
    exception when check_violation then
      get stacked diagnostics v_name = constraint_name;
      v_refused := v_refused || v_name;
    end;
  end loop;
  assert (select array_agg(r order by r) from unnest(v_refused) r)
    = (select array_agg(c.conname::text order by c.conname::text) from pg_constraint c where c.connamespace = 'headway'::regnamespace and c.contype = 'c'),
    v_refused::text;
end
$$;
rollback;
