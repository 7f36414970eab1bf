-- A retry whose every message was read meanwhile is not made.
begin;
insert into headway.appuser (id, fullname, email) values (1, 'Abe', null), (2, 'Bob', 'bob@example.com');
select pg_temp.post(1, 'broadcast', '6 hours');

do $$
declare
  v_worker uuid := '11111111-1111-1111-1111-111111111111';
  v_id bigint := headway.reserve_digest(2);
begin
  perform headway.claim_digest(v_worker), headway.freeze_digest(v_id, v_worker, 'bob@example.com', 'mail'),
    headway.digest_failed(v_id, v_worker, 'retry', '450 later'), headway.mark_read(2, 'broadcast');
  update headway.digest set next_attempt_at = now();
  assert headway.claim_digest(v_worker) is null;
  assert (select d.state = 'read_before_sending' and d.attempts = 1 and d.unknown_at is null from headway.digest d);
end
$$;
rollback;
