-- explain_digest() has a sentence for every case.
begin;
insert into headway.appuser (id, fullname, email, time_zone) values (1, 'Abe', null, 'UTC'), (2, 'Bob', 'bob@example.com', 'Asia/Kathmandu');
insert into headway.project (id, name) values (1, 'Website');
insert into headway.member (project_id, user_id, role) values (1, 1, 'staff'), (1, 2, 'customer');

create function pg_temp.says(channel text, variadic phrases text[]) returns void
language plpgsql
as $$
declare
  v_explanation text := (select e.explanation from headway.explain_digest(2) e where e.channel = says.channel);
  v_phrase text;
begin
  foreach v_phrase in array phrases loop
    assert v_explanation like '%' || v_phrase || '%', format('"%s" has no "%s"', v_explanation, v_phrase);
    assert v_explanation !~ '\(\)|  ', v_explanation;
  end loop;
end
$$;
create function pg_temp.at(at timestamptz) returns text
language sql
as $$
  select to_char(at.at at time zone 'Asia/Kathmandu', 'YYYY-MM-DD HH24:MI')
$$;

do $$
declare
  v_worker uuid := '11111111-1111-1111-1111-111111111111';
  v_id bigint;
begin
  assert (select array_agg(e.channel) from headway.explain_digest(2) e) = '{broadcast,project_1,user_2}';
  perform pg_temp.says('project_1', 'everything is read');
  perform pg_temp.post(1, 'project_1', '1 hour');
  perform pg_temp.says('project_1', 'mail is due at ' || pg_temp.at(now() + interval '3 hours'), 'Asia/Kathmandu', 'unread since ' || pg_temp.at(now() - interval '1 hour'), 'delay 04:00:00');
  perform pg_temp.says('broadcast', 'everything is read');
  perform headway.mute(2, 'project_1');
  perform pg_temp.says('project_1', 'no mail: the channel is muted');
  perform headway.mute(2, 'project_1', false);
  update headway.appuser u set digest_after = '30 minutes' where u.id = 2;
  perform pg_temp.says('project_1', 'mail is due now', 'delay 00:30:00');
  -- What is younger goes along.
  perform pg_temp.post(1, 'broadcast', '1 minute');
  perform pg_temp.says('broadcast', 'mail is due now', 'along with', 'project_1', 'unread since ' || pg_temp.at(now() - interval '1 minute'));
  update headway.appuser u set digest_after = '2 hours' where u.id = 2;
  perform pg_temp.says('broadcast', 'mail is due at ' || pg_temp.at(now() + interval '1 hour'), 'along with', 'project_1');
  update headway.appuser u
  set quiet_from = (now() at time zone 'Asia/Kathmandu' - interval '1 hour')::time, quiet_until = (now() at time zone 'Asia/Kathmandu' + interval '5 hours')::time
  where u.id = 2;
  perform pg_temp.says('project_1', 'mail is due at ' || pg_temp.at(now() + interval '5 hours'), 'quiet hours end');
  update headway.appuser u set email = null where u.id = 2;
  perform pg_temp.says('project_1', 'no mail: there is no address');
  update headway.appuser u set email = 'bob@example.com', mail_suspended_at = now(), mail_suspended_reason = '550 no such user' where u.id = 2;
  perform pg_temp.says('project_1', 'bob@example.com has been suspended since ' || pg_temp.at(now()), '550 no such user', 'headway.resume_mail(2)');
  update headway.appuser u set mail_suspended_at = null, mail_suspended_reason = null, quiet_from = null, quiet_until = null where u.id = 2;

  -- Through the life of a digest.
  v_id := headway.reserve_digest(2);
  perform pg_temp.says('project_1', 'everything unread is in digest ' || v_id, 'next run of a worker');
  perform pg_temp.post(1, 'project_1', '3 hours');
  perform pg_temp.says('project_1', 'waits for digest ' || v_id, 'next run of a worker');
  perform headway.claim_digest(v_worker), headway.freeze_digest(v_id, v_worker, 'bob@example.com', 'mail');
  perform pg_temp.says('project_1', 'waits for digest ' || v_id, 'being sent');
  perform pg_temp.says('broadcast', 'everything unread is in digest ' || v_id, 'being sent');
  perform headway.digest_failed(v_id, v_worker, 'retry', '450 try later');
  update headway.digest set next_attempt_at = now() + interval '7 minutes';
  perform pg_temp.says('project_1', 'waits for digest ' || v_id, 'again at ' || pg_temp.at(now() + interval '7 minutes'), '450 try later');
  update headway.digest set next_attempt_at = now();
  perform headway.claim_digest(v_worker), headway.digest_sent(v_id);
  perform pg_temp.says('broadcast', 'everything unread is in digest ' || v_id, 'sent at ' || pg_temp.at(now()));
  perform pg_temp.says('project_1', 'mail is due at ' || pg_temp.at(now() + interval '1 hour'), 'digest_min_gap');
  perform headway.mark_read(2, 'broadcast');
  perform pg_temp.says('broadcast', 'everything is read', 'digest ' || v_id, 'sent at');
  update headway.digest set state = 'held', sent_at = null, error = 'the worker vanished';
  perform pg_temp.says('broadcast', 'everything is read', 'held', 'the worker vanished');
  update headway.digest set state = 'failed', error = '554 no spam please';
  perform headway.mark_read(2, 'project_1'), headway.post(1, 'broadcast', 'And again');
  update headway.subscription s set mailed_seq = 2 where s.user_id = 2 and s.channel = 'broadcast';
  perform pg_temp.says('broadcast', 'everything unread is in digest ' || v_id, 'failed', '554 no spam please', 'headway.retry_digest(' || v_id || ')');

  assert (select array_agg(e.unread order by e.channel) from headway.explain_digest(2) e) = '{1,0,0}';
  assert not exists (select from headway.appuser u, headway.explain_digest(u.id) e where e.explanation is null);
  begin
    perform headway.explain_digest(99);
    raise assert_failure using message = 'nobody was explained';
  exception when no_data_found then
    assert sqlerrm like '%99%';
  end;
end
$$;
rollback;
