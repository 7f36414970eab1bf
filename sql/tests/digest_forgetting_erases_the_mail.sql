-- Forgetting a person leaves neither name nor address in the ledger, also in a mail that is on its way.
begin;
insert into headway.appuser (id, fullname, email) select n, 'Person ' || n, 'person' || n || '@example.com' from generate_series(1, 8) n;
select pg_temp.post(1, 'broadcast', '6 hours', 'Hello');

do $$
declare
  v_worker uuid := '11111111-1111-1111-1111-111111111111';
  v_claim json;
  v_ids bigint[];
begin
  perform headway.reserve_digests();
  loop
    v_claim := headway.claim_digest(v_worker);
    exit when v_claim is null;
    v_ids := v_ids || (v_claim ->> 'digest_id')::bigint;
    if v_claim ->> 'user_id' <> '8' then
      assert headway.freeze_digest((v_claim ->> 'digest_id')::bigint, v_worker, v_claim ->> 'email', convert_to('Dear ' || (v_claim ->> 'name'), 'UTF8'));
    end if;
  end loop;
  assert headway.digest_sent(v_ids[1]), 'before';
  update headway.digest d set state = 'held' where d.id = v_ids[2];
  update headway.digest d set error = '450 <person8@example.com> later' where d.id = v_ids[7];
  perform headway.forget_user(u.id) from headway.appuser u where u.id > 1;
  assert (select array_agg(d.state order by d.id) from headway.digest d) = '{sent,cancelled,sending,sending,sending,sending,cancelled}';
  assert headway.digest_sent(v_ids[3]) and headway.digest_sent(v_ids[2]), 'after';
  assert headway.digest_failed(v_ids[4], v_worker, 'refused', '550 <person5@example.com> who?') = 'failed';
  assert headway.digest_failed(v_ids[5], v_worker, 'retry', '450 <person6@example.com> later') = 'cancelled';
  assert (select d.mail is null and d.recipient is null and d.error is null from headway.digest d where d.id = v_ids[5]), 'at once';
  update headway.digest set next_attempt_at = now(), lease_until = now() - interval '1 second' where state in ('reserved', 'sending');
  assert headway.claim_digest(v_worker) is null;
  assert (select array_agg(d.state order by d.id) from headway.digest d) = '{sent,sent,sent,failed,cancelled,cancelled,cancelled}';
  assert not exists (select from headway.digest d where d.mail is not null or d.recipient is not null or d::text ~ 'person[0-9]|Person|Dear'), (select string_agg(d::text, e'\n') from headway.digest d);
  assert headway.digest_sent(v_ids[6]) and not headway.digest_sent(v_ids[7]), 'a late yes still counts for what was tried';
  assert not exists (select from headway.appuser u where u.id > 1 and u.mail_suspended_at is not null), 'no address, no suspension';
  assert headway.retry_digest(v_ids[5]) and headway.claim_digest(v_worker) is null, 'there is nobody to write to';
end
$$;
rollback;
