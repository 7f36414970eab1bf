-- Finished digests go digest_keep after their mail; what is open, held or young stays.
begin;
insert into headway.appuser (id, fullname, email) select n, 'Person ' || n, 'person' || n || '@example.com' from generate_series(1, 9) n;
select pg_temp.post(1, 'broadcast', '6 hours');
select headway.reserve_digests();

do $$
declare
  v_old timestamptz := now() - interval '90 days' - interval '1 second';
  v_token uuid;
begin
  update headway.digest d set created_at = v_old,
    state = (array['reserved', 'sending', 'sent', 'read_before_sending', 'failed', 'held', 'cancelled', 'sent'])[d.user_id - 1],
    mail = 'mail', recipient = 'x@example.com', lease_until = now(), sent_at = case d.user_id when 4 then v_old when 9 then now() - interval '1 day' end;
  select d.token into v_token from headway.digest d where d.user_id = 4;
  assert headway.prune_digests() = 4;
  assert (select array_agg(d.user_id order by d.user_id) from headway.digest d) = '{2,3,7,9}', 'the last one was sent late, its links still work';
  assert headway.prune_digests() = 0;
  assert not headway.unsubscribe(v_token) and (select count(*) from headway.digest_item) = 4;
  assert (select s.mailed_seq from headway.subscription s where s.user_id = 4 and s.channel = 'broadcast') = 1, 'what was mailed stays mailed';
  assert (select e.explanation from headway.explain_digest(4) e where e.channel = 'broadcast') like '%no longer%', 'and explain has words for it';
  perform headway.set_setting('digest_keep', '1 hour'), headway.set_setting('digest_min_gap', '7 days');
  perform pg_temp.post(1, 'broadcast', '5 hours');
  assert headway.prune_digests() = 0, 'the next one still keeps its distance from it';
  assert not exists (select from headway.due_digests() d where d.user_id = 9);
  perform headway.set_setting('digest_min_gap', '1 hour');
  assert headway.prune_digests() = 1;
end
$$;
rollback;
