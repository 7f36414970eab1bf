-- A database in which every table has rows, in the states that a restore could get wrong. Nothing of it changes by itself.
select headway.set_setting('digest_after', '1 minute'), headway.set_setting('digest_min_gap', '0'), headway.set_setting('notify_payload', 'reference');

insert into headway.appuser (fullname, email, digest_after, time_zone, quiet_from, quiet_until) values
  ('Abe "the \ first" Ångström', 'abe@example.com', null, 'Europe/Lisbon', '22:00', '07:00'),
  ('Bob', 'bob@example.com', '30 minutes', 'UTC', null, null),
  ('Charlie', 'charlie@example.com', null, 'UTC', null, null),
  ('Dora', null, null, 'UTC', null, null),
  ('Erin', 'erin@example.com', null, 'UTC', null, null);
insert into headway.project (name) values ('Website relaunch'), ('Last year''s'), ('Nothing yet'), ('Soon gone');
insert into headway.member (project_id, user_id, role) values
  (1, 1, 'customer'), (1, 2, 'customer'), (1, 3, 'customer'), (1, 4, 'staff'), (2, 1, 'customer'), (2, 4, 'staff'), (4, 1, 'customer');
insert into headway.task (project_id, title, detail, weight, shared, audience, due_at, position, created_by) values
  (1, 'Choose a domain', E'one\ttwo\nthree \\. \\N', 1, true, 'everyone', '2030-01-02 03:04:05.678901+00', 2, 4),
  (1, 'Write the copy', null, 3, true, 'everyone', null, 1, 4),
  (1, 'Fill in your profile', '', 1, false, 'everyone', null, 0, null),
  (1, 'Sign the contract', null, 5, true, 'assigned', null, 0, null),
  (1, 'Say who you are', null, 2, false, 'assigned', null, 0, null),
  (2, 'Pay', null, 2147483647, true, 'everyone', null, 0, null),
  (2, 'Say thank you', null, 1, true, 'everyone', null, 0, null),
  (1, 'Soon gone', null, 1, true, 'everyone', null, 0, null);
insert into headway.assignment (task_id, user_id) values (4, 1), (5, 1), (5, 2);
insert into headway.prerequisite (task_id, requires_id) values (4, 1);

-- What has been folded.
select headway.complete_task(1, 1), headway.complete_task(3, 2, completed_by => 4), headway.complete_task(5, 1), headway.complete_task(6, 1);
update headway.project set archived_at = '2026-01-01' where id = 2;
select headway.fold(), headway.fold();

-- Ids that must not be given again.
delete from headway.task where id = 8;
delete from headway.project where id = 4;
select headway.forget_user(5);

-- Chat: cursors, marks above them, a channel of somebody's own, one that is muted.
select headway.open_channel('design_review', 1, array[1, 4]);
select headway.post(1, 'project_1', 'Where is the logo? 😀'), headway.post(2, 'project_1', E'a\tb\\n'), headway.post(4, 'project_1', '\.'),
  headway.post(4, 'design_review', ''), headway.post(1, 'broadcast', repeat('long ', 2000));
select headway.mark_read(4, 'project_1', 1), headway.mute(1, 'design_review');
select headway.mark_seen(3, array(select m.id from headway.message m where m.channel = 'project_1' and m.sender = 4));

-- One digest in each state, to people 11 to 18, who have read nothing.
insert into headway.appuser (id, fullname, email)
select n, 'Person ' || n, 'person' || n || '@example.com' from generate_series(11, 18) n;
select setval('headway.appuser_id_seq', 20);
select headway.post(1, 'broadcast', 'Hello, everyone.');
do $$
declare
  v_worker uuid := '11111111-1111-1111-1111-111111111111';
  v_digest bigint;
begin
  for v_person in 11..18 loop
    v_digest := headway.reserve_digest(v_person);
    continue when v_person = 11; -- reserved
    if v_person = 12 then
      perform headway.mark_read(12, 'broadcast'); -- read_before_sending
    elsif v_person = 13 then
      perform headway.forget_user(13); -- cancelled
      continue;
    end if;
    -- The first one is out of the way until all is done.
    update headway.digest d set next_attempt_at = now() + interval '1 day' where d.user_id = 11;
    perform headway.claim_digest(v_worker, '100 years');
    continue when v_person = 12;
    assert headway.freeze_digest(v_digest, v_worker, 'person' || v_person || '@example.com', convert_to(E'\\x00 mail for ' || v_person, 'UTF8'), '100 years');
    case v_person
      when 14 then perform headway.digest_sent(v_digest);
      when 15 then perform headway.digest_failed(v_digest, v_worker, 'refused', '550 nobody of that name');
      when 16 then
        perform headway.set_setting('digest_when_unknown', 'hold');
        perform headway.digest_failed(v_digest, v_worker, 'unknown', 'the line went dead');
        perform headway.set_setting('digest_when_unknown', 'resend');
      when 17 then null; -- sending, for a long time to come
      when 18 then -- sending, by a worker that is gone
        update headway.digest d set lease_until = now() - interval '1 day' where d.id = v_digest;
    end case;
  end loop;
  update headway.digest d set next_attempt_at = now() - interval '1 hour' where d.user_id = 11;
end
$$;
select headway.digest_run_finished('2026-01-01 00:05:00+00');
select headway.heartbeat('11111111-1111-1111-1111-111111111111', 'there', 1, 'test', true);

-- What waits to be folded: a fact of each kind.
select headway.complete_task(2, 3), headway.complete_task(3, 1), headway.reopen_task(3, 2, 4, 'not \ finished');
insert into headway.task (project_id, title) values (1, 'Read the news');
insert into headway.assignment (task_id, user_id) values (4, 2);
update headway.task set weight = 4 where id = 4;
