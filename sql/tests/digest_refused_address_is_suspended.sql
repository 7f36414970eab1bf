-- The address that was refused is suspended, with the reason, if it is still the person's; resume_mail and retry_digest send it after all.
begin;
insert into headway.appuser (id, fullname, email) values (1, 'Abe', null), (2, 'Bob', 'bob@example.com');
select pg_temp.post(1, 'broadcast', '6 hours', 'One'), pg_temp.post(1, 'broadcast', '6 hours', 'Two');

do $$
declare
  v_worker uuid := '11111111-1111-1111-1111-111111111111';
  v_id bigint := headway.reserve_digest(2);
  v_content json;
begin
  -- Bob has changed the address while the mail was on its way to the old one.
  perform headway.claim_digest(v_worker), headway.freeze_digest(v_id, v_worker, 'bob@example.com', 'mail');
  update headway.appuser u set email = 'robert@example.com' where u.id = 2;
  assert headway.digest_failed(v_id, v_worker, 'refused', '550 no such user') = 'failed';
  assert (select u.mail_suspended_at is null from headway.appuser u where u.id = 2), 'the new address was not refused';
  assert headway.retry_digest(v_id) and not headway.retry_digest(v_id);
  assert (select d.state = 'reserved' and d.attempts = 0 and d.mail is null and d.recipient is null from headway.digest d), 'made anew, for the address of today';
  v_content := headway.claim_digest(v_worker);
  assert v_content ->> 'email' = 'robert@example.com' and v_content #>> '{counts,chat}' = '2', v_content::text;

  perform headway.freeze_digest(v_id, v_worker, 'robert@example.com', 'mail for Robert');
  assert headway.digest_failed(v_id, v_worker, 'refused', null) = 'failed', 'a server need not say why';
  assert (select u.mail_suspended_at = now() and u.mail_suspended_reason <> '' from headway.appuser u where u.id = 2);
  perform headway.mark_seen(2, array[(select m.id from headway.message m where m.content = 'One')]);
  assert headway.retry_digest(v_id) and headway.claim_digest(v_worker) is null, 'still suspended';
  assert (select d.state from headway.digest d) = 'cancelled';
  assert headway.resume_mail(2) and headway.retry_digest(v_id);
  assert headway.claim_digest(v_worker) #>> '{counts,chat}' = '1', 'without what was read meanwhile';
end
$$;
rollback;
