-- Between two mails to one person lies digest_min_gap, counted from when the last one was sent.
begin;
insert into headway.appuser (id, fullname, email) values (1, 'Abe', null), (2, 'Bob', 'bob@example.com');
select pg_temp.post(1, 'broadcast', '9 hours');

do $$
declare
  v_states text[] := array['sent', 'failed', 'held', 'read_before_sending', 'cancelled'];
  v_counts boolean[] := array[true, true, true, false, false];
begin
  assert headway.reserve_digests() = 1;
  perform pg_temp.post(1, 'broadcast', '5 hours');
  assert not exists (select from headway.due_digests()) and headway.reserve_digests() = 0, 'one is open';
  assert not exists (select from headway.due_digests(now() + interval '1 year')), 'and it blocks for as long as it is';
  for i in 1..5 loop
    update headway.digest set state = v_states[i], sent_at = case when v_states[i] = 'sent' then created_at end;
    assert exists (select from headway.due_digests(now() + interval '59 minutes')) <> v_counts[i], v_states[i];
    assert exists (select from headway.due_digests(now() + interval '60 minutes')), v_states[i] || ' an hour later';
  end loop;
  update headway.digest set state = 'sent', created_at = now() - interval '3 hours', sent_at = now() - interval '10 minutes';
  assert not exists (select from headway.due_digests(now() + interval '49 minutes')), 'it was sent late: the person has just got it';
  assert exists (select from headway.due_digests(now() + interval '50 minutes'));
  update headway.digest set created_at = now() + interval '5 hours', sent_at = null, state = 'failed';
  assert exists (select from headway.due_digests()), 'a clock that was wrong keeps nobody from getting mail';
  update headway.digest set created_at = now() - interval '3 hours', sent_at = now() + interval '5 hours', state = 'sent';
  assert exists (select from headway.due_digests());
  update headway.digest set sent_at = now() + interval '1 second';
  assert not exists (select from headway.due_digests(now() + interval '59 minutes')), 'it was sent after this transaction began';
  update headway.digest set sent_at = now();
  perform headway.set_setting('digest_min_gap', '0');
  assert headway.reserve_digests() = 1;
end
$$;
rollback;
