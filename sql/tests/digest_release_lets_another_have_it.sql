-- A digest that was claimed and is not sent after all goes back as it was; one that is being sent does not.
begin;
insert into headway.appuser (id, fullname, email) values (1, 'Abe', null), (2, 'Bob', 'bob@example.com');
select pg_temp.post(1, 'broadcast', '6 hours');

do $$
declare
  v_worker uuid := '11111111-1111-1111-1111-111111111111';
  v_other uuid := '22222222-2222-2222-2222-222222222222';
  v_id bigint := headway.reserve_digest(2);
begin
  assert not headway.release_digest(v_id, v_worker), 'nobody claimed it';
  perform headway.claim_digest(v_worker);
  assert not headway.release_digest(v_id, v_other), 'by another';
  assert headway.digests_to_send() = 0, 'somebody has it';
  assert headway.release_digest(v_id, v_worker) and not headway.release_digest(v_id, v_worker);
  assert (select d.state = 'reserved' and d.attempts = 0 and d.claimed_by is null and d.lease_until is null and d.next_attempt_at <= now() and d.error is null from headway.digest d);
  assert not headway.freeze_digest(v_id, v_worker, 'bob@example.com', 'mail'), 'it let go of it';
  assert headway.digests_to_send() = 1;

  assert headway.claim_digest(v_other) ->> 'mail' is null;
  assert headway.freeze_digest(v_id, v_other, 'bob@example.com', 'mail');
  assert not headway.release_digest(v_id, v_other), 'a server may have it';
  assert headway.digest_failed(v_id, v_other, 'retry', '450 later') = 'reserved';
  assert headway.digests_to_send() = 0, 'it waits';
  update headway.digest set next_attempt_at = now();

  assert decode(headway.claim_digest(v_worker) ->> 'mail', 'base64') = 'mail';
  assert headway.release_digest(v_id, v_worker);
  assert (select d.state = 'reserved' and d.attempts = 1 and d.mail = 'mail' and d.claimed_by is null from headway.digest d);
  assert not headway.freeze_digest(v_id, v_worker, null, null);
  assert decode(headway.claim_digest(v_worker) ->> 'mail', 'base64') = 'mail', 'a retry comes back as one';
end
$$;
rollback;
