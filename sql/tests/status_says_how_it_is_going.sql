-- One row: the queue, the workers and the notification queue.
begin;
insert into headway.appuser (id, fullname) values (1, 'Abe');
insert into headway.project (id, name) values (1, 'Website');

do $$
declare
  v_status headway.status;
begin
  select * into strict v_status from headway.status;
  assert v_status.pending_facts = 0 and v_status.oldest_fact_age is null and v_status.workers = 0 and v_status.leader is null, v_status::text;
  assert v_status.notification_queue_percent between 0 and 100;
  insert into headway.member (project_id, user_id, role) values (1, 1, 'customer');
  perform headway.heartbeat('6f1c54f8-4a8e-4b5c-9f3e-2d6a1f0b7c11', 'one', 11, 'v0', true);
  perform headway.heartbeat('6f1c54f8-4a8e-4b5c-9f3e-2d6a1f0b7c22', 'two', 22, 'v0', false);
  perform headway.heartbeat('6f1c54f8-4a8e-4b5c-9f3e-2d6a1f0b7c33', 'gone', 33, 'v0', true);
  update headway.worker w set last_seen_at = now() - interval '2 minutes' where w.host = 'gone';
  select * into strict v_status from headway.status;
  assert v_status.pending_facts = 1 and v_status.oldest_fact_age is not null and v_status.workers = 2 and v_status.leader = 'one pid 11', v_status::text;
  update headway.worker w set last_seen_at = now() - interval '10 seconds', host = 'was killed' where w.host = 'one';
  perform headway.heartbeat('6f1c54f8-4a8e-4b5c-9f3e-2d6a1f0b7c22', 'two', 22, 'v0', true);
  assert (select s.leader from headway.status s) = 'two pid 22', 'of two rows, that of the one seen last';
  perform headway.heartbeat('6f1c54f8-4a8e-4b5c-9f3e-2d6a1f0b7c11', 'one', 11, 'v0', false);
  perform headway.retire('6f1c54f8-4a8e-4b5c-9f3e-2d6a1f0b7c22');
  select * into strict v_status from headway.status;
  assert v_status.workers = 1 and v_status.leader is null, v_status::text;
  update headway.worker w set last_seen_at = now() - interval '2 days' where w.host = 'gone';
  perform headway.heartbeat('6f1c54f8-4a8e-4b5c-9f3e-2d6a1f0b7c11', 'one', 11, 'v0', false);
  assert (select count(*) from headway.worker) = 1, 'yesterday''s rows go';
end
$$;
rollback;
