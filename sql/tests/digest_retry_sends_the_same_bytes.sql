-- Every attempt sends the bytes of the first one and is counted before it is made.
begin;
insert into headway.appuser (id, fullname, email) values (1, 'Abe', null), (2, 'Bob', 'bob@example.com');
select pg_temp.post(1, 'broadcast', '6 hours', 'One'), pg_temp.post(1, 'broadcast', '6 hours', 'Two');

do $$
declare
  v_worker uuid := '11111111-1111-1111-1111-111111111111';
  v_mail bytea := decode(repeat('00ff0d0a', 40000), 'hex');
  v_id bigint := headway.reserve_digest(2);
  v_claim json;
begin
  perform headway.claim_digest(v_worker);
  assert headway.freeze_digest(v_id, v_worker, 'bob@example.com', v_mail);
  for v_attempt in 2..4 loop
    assert headway.digest_failed(v_id, v_worker, 'retry', '450 later') = 'reserved';
    assert (select d.next_attempt_at > now() and d.error = '450 later' and d.claimed_by is null and d.lease_until is null from headway.digest d);
    assert headway.claim_digest(v_worker) is null, 'not yet';
    update headway.digest set next_attempt_at = now();
    -- Whatever changes meanwhile.
    perform headway.mark_seen(2, array[(select m.id from headway.message m where m.content = 'One')]);
    perform headway.post(1, 'broadcast', 'Three');
    update headway.appuser u set fullname = 'Robert' where u.id = 2;
    v_claim := headway.claim_digest(v_worker);
    assert decode(v_claim ->> 'mail', 'base64') = v_mail and v_claim ->> 'email' = 'bob@example.com', v_claim::text;
    assert (select d.state = 'reserved' and d.attempts = v_attempt - 1 and d.lease_until = now() + interval '5 minutes' from headway.digest d);
    assert not headway.freeze_digest(v_id, v_worker, 'bob@example.com', 'other bytes');
    assert not headway.freeze_digest(v_id, v_worker, 'robert@example.com', null);
    assert not headway.freeze_digest(v_id, v_worker, null, 'other bytes');
    assert headway.freeze_digest(v_id, v_worker, null, null, '1 hour');
    assert (select d.state = 'sending' and d.attempts = v_attempt and d.lease_until = now() + interval '1 hour' from headway.digest d);
    assert (select d.mail = v_mail and d.recipient = 'bob@example.com' from headway.digest d);
    assert not headway.freeze_digest(v_id, v_worker, null, null), 'one attempt for each claim';
  end loop;
  assert headway.digest_sent(v_id) and not headway.digest_sent(v_id);
  assert (select d.state = 'sent' and d.sent_at = now() and d.mail = v_mail and d.error is null and d.claimed_by is null from headway.digest d);
  assert headway.digest_failed(v_id, v_worker, 'retry', 'too late') = 'sent';
  assert headway.claim_digest(v_worker) is null;
end
$$;
rollback;
