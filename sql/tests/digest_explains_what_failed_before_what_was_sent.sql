-- What somebody has to try again is named, also where a later digest went out; and one that may have arrived counts as the last.
begin;
insert into headway.appuser (id, fullname, email) values (1, 'Abe', null), (2, 'Bob', 'bob@example.com');
select headway.post(1, 'broadcast', 'One');

do $$
declare
  v_worker uuid := '11111111-1111-1111-1111-111111111111';
  v_failed bigint := headway.reserve_digest(2);
  v_sent bigint;
begin
  perform headway.claim_digest(v_worker);
  assert headway.freeze_digest(v_failed, v_worker, 'bob@example.com', 'mail');
  perform headway.digest_failed(v_failed, v_worker, 'rejected', 'mailbox full');
  perform headway.post(1, 'broadcast', 'Two');
  v_sent := headway.reserve_digest(2);
  perform headway.claim_digest(v_worker);
  assert headway.freeze_digest(v_sent, v_worker, 'bob@example.com', 'mail');
  perform headway.digest_sent(v_sent);
  assert (select e.explanation from headway.explain_digest(2) e where e.channel = 'broadcast')
    like format('some of what is unread is in digest %s, which was not sent (failed) (mailbox full); select headway.retry_digest(%s)%%', v_failed, v_failed),
    (select e.explanation from headway.explain_digest(2) e where e.channel = 'broadcast');
  perform headway.mark_read(2, 'broadcast', 1);
  assert (select e.explanation from headway.explain_digest(2) e where e.channel = 'broadcast')
    like format('everything unread is in digest %s, which was sent at %%', v_sent), 'what failed is read';

  delete from headway.digest;
  perform headway.post(1, 'broadcast', 'Three');
  v_sent := headway.reserve_digest(2);
  perform headway.claim_digest(v_worker);
  assert headway.freeze_digest(v_sent, v_worker, 'bob@example.com', 'mail');
  perform headway.digest_failed(v_sent, v_worker, 'unknown', 'no answer');
  update headway.digest set next_attempt_at = now();
  perform headway.mark_read(2, 'broadcast');
  assert headway.claim_digest(v_worker) is null;
  assert (select d.state from headway.digest d) = 'read_before_sending';
  assert (select p.not_before > now() from headway.mail_preference p where p.user_id = 2), 'the mail may have arrived';
end
$$;
rollback;
