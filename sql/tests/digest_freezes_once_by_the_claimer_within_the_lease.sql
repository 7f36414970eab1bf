-- Only who claimed it puts the mail on record, once, while the lease lasts.
begin;
insert into headway.appuser (id, fullname, email) values (1, 'Abe', null), (2, 'Bob', 'bob@example.com');
select pg_temp.post(1, 'broadcast', '6 hours');

do $$
declare
  v_worker uuid := '11111111-1111-1111-1111-111111111111';
  v_other uuid := '22222222-2222-2222-2222-222222222222';
  v_id bigint := headway.reserve_digest(2);
begin
  assert not headway.freeze_digest(v_id, v_worker, 'bob@example.com', 'mail'), 'nobody claimed it';
  assert (headway.claim_digest(v_worker, '1 minute') ->> 'digest_id')::bigint = v_id;
  assert (select d.lease_until = now() + interval '1 minute' and d.claimed_by = v_worker and d.state = 'reserved' and d.attempts = 0 from headway.digest d);
  assert headway.claim_digest(v_other) is null, 'it is taken';
  assert not headway.freeze_digest(v_id, v_other, 'bob@example.com', 'mail'), 'by another';
  assert not headway.freeze_digest(v_id + 1, v_worker, 'bob@example.com', 'mail'), 'another digest';
  update headway.digest set lease_until = now();
  assert not headway.freeze_digest(v_id, v_worker, 'bob@example.com', 'mail'), 'the lease ran out';
  update headway.digest set lease_until = now() + interval '1 second';
  assert not headway.freeze_digest(v_id, v_worker, null, null), 'no mail is on record';
  assert not headway.freeze_digest(v_id, v_worker, 'old@example.com', 'mail'), 'the address is another by now';
  perform headway.mute(2, 'broadcast');
  assert not headway.freeze_digest(v_id, v_worker, 'bob@example.com', 'mail'), 'what it tells was muted';
  perform headway.mute(2, 'broadcast', false);
  assert headway.freeze_digest(v_id, v_worker, 'bob@example.com', 'mail');
  assert (select d.lease_until = now() + interval '5 minutes' from headway.digest d), 'from here on the lease counts anew';
  assert (select d.state = 'sending' and d.attempts = 1 and d.mail = 'mail' and d.recipient = 'bob@example.com' from headway.digest d), 'the attempt counts before any server hears of it';
  assert not headway.freeze_digest(v_id, v_worker, 'bob@example.com', 'other bytes'), 'twice';
  assert (select d.mail = 'mail' and d.attempts = 1 from headway.digest d);
  assert headway.claim_digest(v_other) is null, 'it is being sent';
end
$$;
rollback;
