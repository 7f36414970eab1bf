-- Attempts of workers that vanished count; the limit holds for them too.
begin;
insert into headway.appuser (id, fullname, email) values (1, 'Abe', null), (2, 'Bob', 'bob@example.com');
select pg_temp.post(1, 'broadcast', '6 hours');
select headway.set_setting('digest_max_attempts', '2');

do $$
declare
  v_worker uuid := '11111111-1111-1111-1111-111111111111';
  v_id bigint := headway.reserve_digest(2);
begin
  perform headway.claim_digest(v_worker), headway.freeze_digest(v_id, v_worker, 'bob@example.com', 'mail');
  update headway.digest set lease_until = now() - interval '1 second';
  assert headway.claim_digest(v_worker) ->> 'mail' is not null;
  assert headway.freeze_digest(v_id, v_worker, null, null);
  update headway.digest set lease_until = now() - interval '1 second';
  assert headway.claim_digest(v_worker) is null;
  assert (select d.state = 'failed' and d.attempts = 2 and d.error like 'given up after 2 attempts%' and d.unknown_at = now() from headway.digest d), (select d::text from headway.digest d);
  -- Nobody knows whether one of them arrived: it is the same mail that is sent again.
  assert headway.retry_digest(v_id);
  assert decode(headway.claim_digest(v_worker) ->> 'mail', 'base64') = 'mail', 'the same Message-ID never stands for two mails';
end
$$;
rollback;
