-- The pause doubles from a minute up to four hours, give or take a quarter, and ends after digest_max_attempts.
begin;
insert into headway.appuser (id, fullname, email) select n, 'Person ' || n, 'person' || n || '@example.com' from generate_series(1, 51) n;
select pg_temp.post(1, 'broadcast', '6 hours');
select headway.reserve_digests();
select headway.set_setting('digest_max_attempts', '12');

do $$
declare
  v_worker uuid := '11111111-1111-1111-1111-111111111111';
  v_claim json;
  v_pause interval;
  v_states text[];
begin
  for v_attempt in 1..12 loop
    loop
      v_claim := headway.claim_digest(v_worker);
      exit when v_claim is null;
      assert (v_claim ->> 'mail' is null) = (v_attempt = 1);
      assert headway.freeze_digest(
        (v_claim ->> 'digest_id')::bigint, v_worker,
        case when v_attempt = 1 then v_claim ->> 'email' end, case when v_attempt = 1 then 'mail'::bytea end
      );
      perform headway.digest_failed((v_claim ->> 'digest_id')::bigint, v_worker, 'retry', '450 later');
    end loop;
    assert (select bool_and(d.attempts = v_attempt) from headway.digest d);
    select array_agg(distinct d.state) into v_states from headway.digest d;
    exit when v_attempt = 12;
    assert v_states = '{reserved}', v_states::text;
    v_pause := least(interval '1 minute' * 2 ^ (v_attempt - 1), interval '4 hours');
    assert (select bool_and(d.next_attempt_at - now() between v_pause * 0.75 and v_pause * 1.25) from headway.digest d), v_attempt::text;
    assert (select max(d.next_attempt_at) - min(d.next_attempt_at) > v_pause * 0.2 and count(distinct d.next_attempt_at) > 40 from headway.digest d), 'spread';
    update headway.digest set next_attempt_at = now();
  end loop;
  assert v_states = '{failed}', v_states::text;
  assert (select bool_and(d.error = 'given up after 12 attempts: 450 later') from headway.digest d), (select d.error from headway.digest d limit 1);
  assert (select count(*) from headway.appuser u where u.mail_suspended_at is not null) = 0, 'nobody said that an address is no good';
end
$$;
rollback;
