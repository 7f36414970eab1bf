-- Who unsubscribed while a mail was on its way stays unsubscribed, whatever the server says of the address.
begin;
insert into headway.appuser (id, fullname, email) values (1, 'Abe', null), (2, 'Bob', 'bob@example.com');
select headway.post(1, 'broadcast', 'Hello'), headway.reserve_digest(2);

do $$
declare
  v_worker uuid := '11111111-1111-1111-1111-111111111111';
  v_digest headway.digest;
begin
  select d.* into v_digest from headway.digest d;
  perform headway.claim_digest(v_worker), headway.freeze_digest(v_digest.id, v_worker, 'bob@example.com', 'mail');
  assert headway.unsubscribe(v_digest.token);
  update headway.appuser u set mail_suspended_at = now() - interval '1 minute' where u.id = 2;
  assert headway.digest_failed(v_digest.id, v_worker, 'refused', '550 no such user') = 'failed';
  assert (
    select u.mail_suspended_reason like 'unsubscribed%' and u.mail_suspended_at = now() - interval '1 minute' from headway.appuser u where u.id = 2
  ), 'whoever lifts it should know that Bob wanted it';
end
$$;
rollback;
