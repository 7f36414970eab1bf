-- However many have nobody to go to any more, the one behind them is sent.
begin;
insert into headway.appuser (id, fullname, email) select n, 'Person ' || n, 'person@example.com' from generate_series(1, 202) n;
select pg_temp.post(1, 'broadcast', '6 hours'), headway.reserve_digests();

do $$
begin
  update headway.appuser set email = null where id < 202;
  update headway.digest set next_attempt_at = now() - interval '1 hour' where user_id < 202;
  assert (headway.claim_digest(gen_random_uuid()) ->> 'user_id')::bigint = 202;
end
$$;
rollback;
