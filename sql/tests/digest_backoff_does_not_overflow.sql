-- However often a digest is tried, the next time is no more than four hours and a quarter of them away.
begin;
insert into headway.appuser (id, fullname, email) values (1, 'Abe', null), (2, 'Bob', 'bob@example.com');
select headway.set_setting('digest_max_attempts', '10000'), headway.post(1, 'broadcast', 'Hello'), headway.reserve_digest(2);

do $$
declare
  v_worker uuid := '11111111-1111-1111-1111-111111111111';
  v_id bigint := (select d.id from headway.digest d);
begin
  perform headway.claim_digest(v_worker), headway.freeze_digest(v_id, v_worker, 'bob@example.com', 'mail');
  update headway.digest set attempts = 5000;
  assert headway.digest_failed(v_id, v_worker, 'retry', '450 later') = 'reserved';
  assert (select d.next_attempt_at - now() between interval '3 hours' and interval '5 hours' from headway.digest d);
end
$$;
rollback;
