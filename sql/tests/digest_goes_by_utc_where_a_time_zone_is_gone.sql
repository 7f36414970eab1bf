-- A time zone that PostgreSQL does not know any more, because its own data changed, counts as UTC and keeps nobody's mail back.
begin;
insert into headway.appuser (id, fullname, email) values
  (1, 'Abe', null), (2, 'Bob', 'bob@example.com'), (3, 'Charlie', 'charlie@example.com'), (4, 'Dora', 'dora@example.com');
-- What was known when it was written.
alter table headway.appuser disable trigger appuser_before_write;
update headway.appuser u set time_zone = 'US/Gone' where u.id in (2, 3);
alter table headway.appuser enable trigger appuser_before_write;
-- Whoever has it can change everything else, by an ORM that writes all columns, too.
update headway.appuser u
set time_zone = 'US/Gone', quiet_from = (now() at time zone 'UTC' + q.begins)::time, quiet_until = (now() at time zone 'UTC' + q.ends)::time
from (values (2, interval '-1 hour', interval '1 hour'), (3, '1 hour', '2 hours')) q (id, begins, ends)
where u.id = q.id;
select pg_temp.post(1, 'broadcast', '6 hours');

do $$
begin
  update headway.appuser u set mail_suspended_at = now(), mail_suspended_reason = 'unsubscribed' where u.id = 2;
  perform headway.resume_mail(2);
  begin
    update headway.appuser u set time_zone = 'US/Gone' where u.id = 4;
    raise assert_failure using message = 'it is not to be had any more';
  exception when check_violation then
    assert sqlerrm = 'there is no time zone "US/Gone"', sqlerrm;
  end;
end
$$;

do $$
declare
  v_worker uuid := '11111111-1111-1111-1111-111111111111';
  v_explanation text;
begin
  assert (select array_agg(d.user_id order by d.user_id) from headway.due_digests() d) = '{3,4}', 'Bob sleeps by UTC';
  select e.explanation into v_explanation from headway.explain_digest(2) e where e.channel = 'broadcast';
  assert v_explanation like 'mail is due at ' || to_char(now() at time zone 'UTC' + interval '1 hour', 'YYYY-MM-DD HH24:MI')
    || ', when quiet hours end (UTC, since the time zone US/Gone is not known;%', v_explanation;
  assert headway.reserve_digests() = 2;
  assert (select e.explanation from headway.explain_digest(3) e where e.channel = 'broadcast') like 'everything unread is in digest %';
  update headway.appuser u set quiet_from = (now() at time zone 'UTC' - interval '1 hour')::time where u.id = 3;
  update headway.digest d set created_at = now() - interval '3 hours';
  assert (headway.claim_digest(v_worker) ->> 'user_id')::bigint = 4;
  assert headway.claim_digest(v_worker) is null;
  assert (select d.next_attempt_at = now() + interval '2 hours' from headway.digest d where d.user_id = 3), 'the night has come for Charlie';
end
$$;
rollback;
