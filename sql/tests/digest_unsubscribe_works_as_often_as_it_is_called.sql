-- The token of any digest stops its person's mail, again and again, and outweighs what a server said.
begin;
insert into headway.appuser (id, fullname, email) values (1, 'Abe', null), (2, 'Bob', 'bob@example.com');
select pg_temp.post(1, 'broadcast', '6 hours');

do $$
declare
  v_id bigint := headway.reserve_digest(2);
  v_token uuid := (select d.token from headway.digest d);
  v_user headway.appuser;
begin
  assert headway.unsubscribe(v_token);
  select u.* into v_user from headway.appuser u where u.id = 2;
  assert v_user.mail_suspended_at = now() and v_user.mail_suspended_reason like 'unsubscribed%';
  update headway.appuser u set mail_suspended_at = now() - interval '1 day' where u.id = 2;
  assert headway.unsubscribe(v_token), 'twice';
  select u.* into v_user from headway.appuser u where u.id = 2;
  assert v_user.mail_suspended_at = now() - interval '1 day' and v_user.mail_suspended_reason like 'unsubscribed%', 'nothing changed';
  assert not headway.unsubscribe(gen_random_uuid()) and headway.unsubscribe(null) is not true;
  assert (select u.mail_suspended_at is null from headway.appuser u where u.id = 1), 'nobody else is';
  assert headway.claim_digest(gen_random_uuid()) is null;
  assert (select d.state from headway.digest d) = 'cancelled';
  assert headway.resume_mail(2);
  update headway.appuser u set mail_suspended_at = now(), mail_suspended_reason = '550 no such user' where u.id = 2;
  assert headway.unsubscribe(v_token);
  assert (select u.mail_suspended_reason from headway.appuser u where u.id = 2) like 'unsubscribed%', 'whoever lifts it should know that Bob wanted it';
end
$$;
rollback;
