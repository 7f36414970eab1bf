-- Nothing was sent, so whoever claims it next makes the mail anew.
begin;
insert into headway.appuser (id, fullname, email) values (1, 'Abe', null), (2, 'Bob', 'bob@example.com');
select pg_temp.post(1, 'broadcast', '6 hours', 'One'), pg_temp.post(1, 'broadcast', '6 hours', 'Two');
select headway.set_setting('digest_when_unknown', 'hold');

do $$
declare
  v_worker uuid := '11111111-1111-1111-1111-111111111111';
  v_other uuid := '22222222-2222-2222-2222-222222222222';
  v_id bigint := headway.reserve_digest(2);
begin
  assert headway.claim_digest(v_worker) #>> '{counts,chat}' = '2';
  perform headway.mark_seen(2, array[(select m.id from headway.message m where m.content = 'One')]);
  update headway.digest set lease_until = now() - interval '1 second';
  assert headway.claim_digest(v_other) #>> '{counts,chat}' = '1', 'fresh';
  assert not headway.freeze_digest(v_id, v_worker, 'bob@example.com', 'late'), 'the first worker woke up again';
  assert headway.digest_failed(v_id, v_worker, 'refused', 'late') = 'reserved', 'and has no say';
  assert headway.freeze_digest(v_id, v_other, 'bob@example.com', 'mail');
  assert (select d.attempts = 1 and d.mail = 'mail' and d.unknown_at is null from headway.digest d);
  -- Nobody else has claimed it: a late word is better than none.
  update headway.digest set lease_until = now() - interval '1 second';
  assert headway.digest_failed(v_id, v_other, 'retry', '450 later') = 'reserved';
end
$$;
rollback;
