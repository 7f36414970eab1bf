-- Nobody knows whether a server took it: resend sends the same again, hold asks a person; a late yes settles it.
begin;
insert into headway.appuser (id, fullname, email) values (1, 'Abe', null), (2, 'Bob', 'bob@example.com'), (3, 'Charlie', 'charlie@example.com');
select pg_temp.post(1, 'broadcast', '6 hours');

do $$
declare
  v_worker uuid := '11111111-1111-1111-1111-111111111111';
  v_other uuid := '22222222-2222-2222-2222-222222222222';
  v_id bigint := headway.reserve_digest(2);
  v_held bigint;
begin
  perform headway.claim_digest(v_worker), headway.freeze_digest(v_id, v_worker, 'bob@example.com', 'mail');
  assert headway.digests_to_send() = 0;
  update headway.digest set lease_until = now() - interval '1 second';
  assert headway.digests_to_send() = 1;
  assert decode(headway.claim_digest(v_other) ->> 'mail', 'base64') = 'mail';
  assert (select d.state = 'reserved' and d.attempts = 1 and d.claimed_by = v_other and d.unknown_at = now() from headway.digest d);
  assert headway.freeze_digest(v_id, v_other, null, null);
  assert (select d.state = 'sending' and d.attempts = 2 and d.claimed_by = v_other and d.unknown_at = now() from headway.digest d);
  assert headway.digest_failed(v_id, v_worker, 'rejected', 'late') = 'sending', 'the first worker lost it';
  assert headway.digest_sent(v_id), 'but its yes counts';
  assert headway.digest_failed(v_id, v_other, 'retry', '421') = 'sent' and not headway.digest_sent(v_id), 'the second one comes too late';
  assert (select d.state = 'sent' and d.error is null from headway.digest d);

  perform headway.set_setting('digest_when_unknown', 'hold');
  v_held := headway.reserve_digest(3);
  perform headway.claim_digest(v_worker), headway.freeze_digest(v_held, v_worker, 'charlie@example.com', 'for Charlie');
  update headway.digest d set lease_until = now() - interval '1 second' where d.id = v_held;
  assert headway.claim_digest(v_other) is null;
  assert (select d.state = 'held' and d.attempts = 1 and d.error <> '' and d.unknown_at = now() and d.claimed_by is null from headway.digest d where d.id = v_held);
  assert headway.digest_failed(v_held, v_worker, 'retry', 'late') = 'held' and headway.claim_digest(v_other) is null, 'held stays held';
  assert headway.retry_digest(v_held), 'a person lets it go';
  begin
    assert headway.digest_sent(v_held), 'even now a yes counts';
    raise sqlstate 'UNDO1';
  exception when sqlstate 'UNDO1' then
    null;
  end;
  assert decode(headway.claim_digest(v_other) ->> 'mail', 'base64') = 'for Charlie', 'as it was';
  update headway.digest d set lease_until = now() - interval '1 second' where d.id = v_held;
  assert decode(headway.claim_digest(v_other) ->> 'mail', 'base64') = 'for Charlie', 'no server has heard of it since';
  assert headway.freeze_digest(v_held, v_other, null, null);
  update headway.digest d set lease_until = now() - interval '1 second' where d.id = v_held;
  assert headway.claim_digest(v_other) is null;
  assert headway.digest_sent(v_held), 'the server took it after all';
  assert (select d.state = 'sent' and d.sent_at = now() from headway.digest d where d.id = v_held);
end
$$;
rollback;
