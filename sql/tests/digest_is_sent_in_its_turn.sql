-- What has waited longest goes first, whichever was reserved first.
begin;
insert into headway.appuser (id, fullname, email) values (1, 'Abe', null), (2, 'Bob', 'bob@example.com'), (3, 'Charlie', 'charlie@example.com');
select headway.post(1, 'broadcast', 'Hello'), headway.reserve_digest(2), headway.reserve_digest(3);

do $$
begin
  update headway.digest set next_attempt_at = now() - case user_id when 2 then interval '1 hour' else interval '2 hours' end;
  assert (headway.claim_digest(gen_random_uuid()) ->> 'user_id')::bigint = 3;
  assert (headway.claim_digest(gen_random_uuid()) ->> 'user_id')::bigint = 2;
end
$$;
rollback;
