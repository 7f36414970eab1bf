-- What was reserved outside quiet hours is not sent within them; what was reserved by hand within them is.
begin;
insert into headway.appuser (id, fullname, email) values (1, 'Abe', null), (2, 'Bob', 'bob@example.com');
select pg_temp.post(1, 'broadcast', '6 hours');

do $$
declare
  v_worker uuid := '11111111-1111-1111-1111-111111111111';
  v_id bigint;
begin
  assert headway.reserve_digests() = 1;
  select d.id into v_id from headway.digest d;
  perform headway.claim_digest(v_worker), headway.freeze_digest(v_id, v_worker, 'bob@example.com', 'mail'),
    headway.digest_failed(v_id, v_worker, 'retry', '450 later');
  update headway.digest set next_attempt_at = now();
  update headway.appuser u
  set quiet_from = (now() at time zone 'UTC' - interval '1 hour')::time, quiet_until = (now() at time zone 'UTC' + interval '1 hour')::time
  where u.id = 2;
  assert (select e.explanation from headway.explain_digest(2) e where e.channel = 'broadcast') like '%will be tried again at '
    || to_char(now() at time zone 'UTC' + interval '1 hour', 'YYYY-MM-DD HH24:MI') || ', when quiet hours end (450 later)',
    (select e.explanation from headway.explain_digest(2) e where e.channel = 'broadcast');
  assert headway.claim_digest(v_worker) is null, 'Bob sleeps, since before it was reserved as it turns out';
  assert (select d.state = 'reserved' and d.next_attempt_at = now() + interval '1 hour' and d.attempts = 1 and d.mail = 'mail' and d.claimed_by is null from headway.digest d),
    (select d::text from headway.digest d);
  assert (select e.explanation from headway.explain_digest(2) e where e.channel = 'broadcast') like '%at ' || to_char(now() at time zone 'UTC' + interval '1 hour', 'YYYY-MM-DD HH24:MI') || '%';
  -- The worker vanished in the evening; at night nobody sends it again.
  update headway.digest set state = 'sending', claimed_by = v_worker, lease_until = now() - interval '1 second', next_attempt_at = created_at;
  assert headway.claim_digest(v_worker) is null;
  assert (select d.state = 'reserved' and d.unknown_at = now() and d.next_attempt_at = now() + interval '1 hour' and d.lease_until is null from headway.digest d);
  update headway.digest set next_attempt_at = now();
  update headway.appuser u set quiet_from = null, quiet_until = null where u.id = 2;
  assert headway.claim_digest(v_worker) ->> 'mail' is not null;

  update headway.digest set state = 'failed';
  perform headway.post(1, 'broadcast', 'Another');
  update headway.appuser u
  set quiet_from = (now() at time zone 'UTC' - interval '1 hour')::time, quiet_until = (now() at time zone 'UTC' + interval '1 hour')::time
  where u.id = 2;
  v_id := headway.reserve_digest(2);
  assert (
    select headway.describe_digest(d, u) like '% goes out with the next run %'
    from headway.digest d
    join headway.appuser u on u.id = d.user_id
    where d.id = v_id
  );
  assert (headway.claim_digest(v_worker) ->> 'digest_id')::bigint = v_id, 'somebody asked for it';
end
$$;
rollback;
