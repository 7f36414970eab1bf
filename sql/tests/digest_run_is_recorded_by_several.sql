-- Several workers may say that they have done what was due at a time.
begin;
do $$
begin
  perform headway.digest_run_finished(now()), headway.digest_run_finished(now());
  assert (select array_agg(r.slot) from headway.digest_run r) = array[now()];
end
$$;
rollback;
