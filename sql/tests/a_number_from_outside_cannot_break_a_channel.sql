-- seq is given, not taken: a client that brings one of its own neither skips ahead nor passes by the
-- rules of posting.
begin;
insert into headway.appuser (id, fullname) values (1, 'Abe'), (2, 'Bob');
select headway.post(1, 'broadcast', 'Hello');

do $$
declare
  v_seq bigint;
begin
  foreach v_seq in array array[0, 1, 2, 3, 1000] loop
    begin
      insert into headway.message (sender, channel, content, seq) values (1, 'broadcast', 'Numbered', v_seq);
    exception when unique_violation or check_violation or invalid_parameter_value or feature_not_supported then
      null;
    end;
  end loop;
  for v_round in 1..3 loop
    perform headway.post(2, 'broadcast', 'Still here');
  end loop;
  assert (select count(*) = max(m.seq) and min(m.seq) = 1 from headway.message m), 'a gap';
  begin
    -- Activity is numbered by whoever posts it, but not past a gap.
    insert into headway.message (sender, channel, content, kind, seq)
    select 1, c.name, 'Numbered', 'task_completed', c.last_seq + 2 from headway.channel c where c.name = 'broadcast';
    raise assert_failure using message = 'activity past a gap';
  exception when invalid_parameter_value then
    null;
  end;
  begin
    insert into headway.message (sender, channel, content, seq) values (1, 'nowhere', 'Numbered', 1);
    raise assert_failure using message = 'a message in no channel';
  exception when invalid_parameter_value then
    null;
  end;
  begin
    insert into headway.message (sender, channel, content, seq)
    select 2, 'user_1', 'I am not subscribed', c.last_seq + 1 from headway.channel c where c.name = 'user_1';
    raise assert_failure using message = 'a stranger posted';
  exception when insufficient_privilege or check_violation or invalid_parameter_value or feature_not_supported then
    null;
  end;
end
$$;
rollback;
