-- A suspension comes before what could be tried again, and every statement that is named helps.
begin;
insert into headway.appuser (id, fullname, email) values (1, 'Abe', null), (2, 'Bob', 'bob@example.com'), (3, 'Charlie', 'charlie@example.com');
select headway.post(3, 'broadcast', 'Hello'), headway.reserve_digest(2);

do $$
declare
  v_worker uuid := gen_random_uuid();
  v_digest bigint := (select d.id from headway.digest d);
  v_said text;
begin
  perform headway.claim_digest(v_worker);
  assert headway.freeze_digest(v_digest, v_worker, 'bob@example.com', 'mail');
  perform headway.digest_failed(v_digest, v_worker, 'refused', '550 no such user');
  select e.explanation into v_said from headway.explain_digest(2) e where e.channel = 'broadcast';
  assert v_said like format('%%digest %s, which was not sent (failed) (550 no such user); bob@example.com has been suspended since %% (550 no such user); '
    || 'select headway.resume_mail(2) lifts it; after that, select headway.retry_digest(%1$s) tries again', v_digest), v_said;

  assert headway.retry_digest(v_digest);
  select e.explanation into v_said from headway.explain_digest(2) e where e.channel = 'broadcast';
  assert v_said like '%, which will be dropped: bob@example.com has been suspended since %', v_said;

  assert headway.resume_mail(2);
  select e.explanation into v_said from headway.explain_digest(2) e where e.channel = 'broadcast';
  assert v_said like '%, which goes out with the next run of a worker, but none is running', v_said;
  perform headway.heartbeat(v_worker, 'here', 1, 'test', true);
  select e.explanation into v_said from headway.explain_digest(2) e where e.channel = 'broadcast';
  assert v_said like '%, which goes out with the next run of a worker', v_said;
  update headway.digest d set next_attempt_at = now() - interval '20 minutes' where d.id = v_digest;
  select e.explanation into v_said from headway.explain_digest(2) e where e.channel = 'broadcast';
  assert v_said like '%, which goes out with the next run of a worker, but has waited since %: unless HEADWAY_DIGEST_SCHEDULE is that rare, the log of a worker, or headway doctor, says why', v_said;

  perform headway.mark_read(1, 'broadcast');
  select e.explanation into v_said from headway.explain_digest(1) e where e.channel = 'broadcast';
  assert v_said = 'everything is read; no mail: there is no address', v_said;
  begin
    perform headway.reserve_digest(1);
    assert false, 'a digest for nobody';
  exception
    when object_not_in_prerequisite_state then
      assert sqlerrm = 'person 1 gets no mail: there is no address', sqlerrm;
  end;
  begin
    perform headway.retry_digest(99);
    assert false, 'a digest that is not there';
  exception
    when no_data_found then
      assert sqlerrm = 'there is no digest 99', sqlerrm;
  end;
  begin
    perform headway.resume_mail(99);
    assert false, 'a person who is not there';
  exception
    when no_data_found then
      assert sqlerrm = 'there is no person 99', sqlerrm;
  end;
end
$$;
rollback;
