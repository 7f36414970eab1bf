-- No update, no delete, by no statement.
begin;
insert into headway.appuser (id, fullname) values (1, 'Abe');
insert into headway.project (id, name) values (1, 'Website');
insert into headway.member (project_id, user_id, role) values (1, 1, 'customer');
select headway.post(1, 'broadcast', 'Hello'), headway.post(1, 'project_1', 'Hello');

do $$
declare
  v_statement text;
  v_hint text;
begin
  foreach v_statement in array array[
    'update headway.message set content = ''Bye''',
    'update headway.message set content = content',
    'delete from headway.message',
    'delete from headway.message where channel = ''project_1''',
    'truncate headway.message',
    'insert into headway.message (id, sender, channel, content) select id, 1, ''broadcast'', ''x'' from headway.message limit 1 on conflict (id) do update set content = excluded.content'
  ] loop
    begin
      execute v_statement;
      raise assert_failure using message = v_statement;
    exception when feature_not_supported then
      get stacked diagnostics v_hint = pg_exception_hint;
      assert v_hint like '%project%', v_hint;
    end;
  end loop;
  assert (select count(*) from headway.message m where m.content = 'Hello') = 2;

  delete from headway.project;
  assert (select array_agg(m.channel) from headway.message m) = array['broadcast'], 'with their project they go';
end
$$;
rollback;
