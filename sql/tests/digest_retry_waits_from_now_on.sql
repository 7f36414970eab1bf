-- A digest that is tried again waits from now on, whatever it waited for before.
begin;
insert into headway.appuser (id, fullname, email) values (1, 'Abe', null), (2, 'Bob', 'bob@example.com');
select headway.post(1, 'broadcast', 'Hello'), headway.reserve_digest(2);

do $$
declare
  v_id bigint := (select d.id from headway.digest d);
begin
  update headway.digest set state = 'failed', next_attempt_at = now() - interval '10 days';
  assert headway.retry_digest(v_id);
  assert (select s.oldest_digest_age from headway.status s) = interval '0', 'nothing has waited for ten days';
  update headway.digest set state = 'cancelled', next_attempt_at = now() + interval '3 hours';
  assert headway.retry_digest(v_id);
  assert (headway.claim_digest(gen_random_uuid()) ->> 'digest_id')::bigint = v_id, 'now means now';
end
$$;
rollback;
