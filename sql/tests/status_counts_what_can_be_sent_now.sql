-- What is to be sent later is not what waits now.
begin;
insert into headway.appuser (id, fullname, email) values (1, 'Abe', null), (2, 'Bob', 'bob@example.com');
select headway.post(1, 'broadcast', 'Hello'), headway.reserve_digest(2);

do $$
begin
  assert (select s.oldest_digest_age from headway.status s) = interval '0';
  update headway.digest set next_attempt_at = now() + interval '1 hour';
  assert (select s.oldest_digest_age from headway.status s) is null, 'it cannot be sent yet';
end
$$;
rollback;
