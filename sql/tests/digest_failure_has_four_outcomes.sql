-- retry, refused, rejected and unknown each leave the digest, and the address, as they say.
begin;
insert into headway.appuser (id, fullname, email) select n, 'Person ' || n, 'person' || n || '@example.com' from generate_series(1, 6) n;
select pg_temp.post(1, 'broadcast', '6 hours');
select headway.reserve_digests();

do $$
declare
  v_worker uuid := '11111111-1111-1111-1111-111111111111';
  v_digest headway.digest;
  v_state text;
  v_outcomes text[] := array['retry', 'refused', 'rejected', 'unknown', 'unknown'];
  v_states text[] := array['reserved', 'failed', 'failed', 'reserved', 'held'];
begin
  for i in 1..5 loop
    if i = 5 then
      perform headway.set_setting('digest_when_unknown', 'hold');
    end if;
    select d.* into v_digest from headway.digest d where d.user_id = i + 1;
    assert headway.claim_digest(v_worker) ->> 'digest_id' = v_digest.id::text, 'in order';
    assert headway.freeze_digest(v_digest.id, v_worker, 'person' || i + 1 || '@example.com', 'mail');
    assert headway.digest_failed(v_digest.id, gen_random_uuid(), v_outcomes[i], 'by another') = 'sending', 'another worker has no say';
    v_state := headway.digest_failed(v_digest.id, v_worker, v_outcomes[i], 'the server said so');
    assert v_state = v_states[i], format('%s: %s', v_outcomes[i], v_state);
    select d.* into v_digest from headway.digest d where d.id = v_digest.id;
    assert v_digest.state = v_state and v_digest.error = 'the server said so' and v_digest.attempts = 1 and v_digest.mail = 'mail'
      and v_digest.claimed_by is null and v_digest.lease_until is null, v_digest::text;
    assert (v_digest.unknown_at is not null) = (v_outcomes[i] = 'unknown'), v_digest::text;
    assert (select (u.mail_suspended_reason = 'the server said so' and u.mail_suspended_at = now()) is true from headway.appuser u where u.id = i + 1) = (i = 2),
      'refused, and nothing else, suspends the address';
  end loop;
end
$$;
rollback;
