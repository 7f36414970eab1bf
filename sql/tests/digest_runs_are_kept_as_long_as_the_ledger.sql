-- What the schedule has done is kept as long as the ledger.
begin;
insert into headway.digest_run (slot, finished_at) values (now() - interval '91 days', now() - interval '91 days'), (now() - interval '89 days', now() - interval '89 days');
do $$
begin
  perform headway.prune_digests();
  assert (select array_agg(r.slot) from headway.digest_run r) = array[now() - interval '89 days'];
end
$$;
rollback;
