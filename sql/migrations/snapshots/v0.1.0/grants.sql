-- Who may call which function and read which view. Nothing is granted to PUBLIC; functions called only by triggers and
-- by security definer functions are granted to nobody.
revoke execute on all functions in schema headway from public;

-- The policies on the underlying tables decide which people these may concern; they read and write as their caller.
grant execute on function headway.check_identity()
to headway_app, headway_worker, headway_user, headway_admin, headway_monitor;

grant execute on function
  headway.my_account(),
  headway.sender_name(bigint),
  headway.my_progress(bigint)
to headway_user;

grant select on
  headway.progress,
  headway.project_progress,
  headway.outstanding_task,
  headway.unread,
  headway.unread_message,
  headway.current_progress,
  headway.current_shared_progress,
  headway.current_personal_progress,
  headway.folded_progress,
  headway.pending_effect,
  headway.pending_recompute,
  headway.recount
to headway_app, headway_user, headway_admin;

grant execute on function
  headway.snapshot(bigint),
  headway.my_snapshot(),
  headway.messages_since(text, bigint, integer),
  headway.percent(bigint, bigint),
  headway.recount_project(bigint),
  headway.recount_person(bigint, bigint),
  headway.recount_shared(bigint),
  headway.current_bar(bigint, bigint),
  headway.is_for(bigint, text, bigint),
  headway.is_complete(bigint, boolean, bigint),
  headway.is_blocked_by(bigint, boolean, text, bigint),
  headway.check_people(bigint[]),
  headway.setting(text),
  headway.notify_mode()
to headway_app, headway_user, headway_admin;

grant execute on function
  headway.complete_task(bigint, bigint, bigint),
  headway.reopen_task(bigint, bigint, bigint, text),
  headway.is_shared(bigint),
  headway.post(bigint, text, text),
  headway.mark_read(bigint, text, bigint),
  headway.mark_seen(bigint, bigint[]),
  headway.advance_cursor(bigint, text, bigint),
  headway.mute(bigint, text, boolean),
  headway.refuse_stranger(bigint, text)
to headway_app, headway_user;

grant execute on function headway.open_channel(text, bigint, bigint[]) to headway_app;

grant execute on function
  headway.forget_user(bigint),
  headway.resume_mail(bigint)
to headway_app, headway_admin;

-- The worker: fold, send, report that it is alive.
grant execute on function
  headway.fold(integer),
  headway.notify_mode(),
  headway.lock_key(text),
  headway.setting(text),
  headway.heartbeat(uuid, text, integer, text, boolean),
  headway.retire(uuid),
  headway.reserve_digests(integer),
  headway.digests_to_send(),
  headway.claim_digest(uuid, interval),
  headway.release_digest(bigint, uuid),
  headway.freeze_digest(bigint, uuid, text, bytea, interval),
  headway.digest_sent(bigint),
  headway.digest_failed(bigint, uuid, text, text),
  headway.digest_run_finished(timestamptz),
  headway.prune_digests(),
  headway.unsubscribe(uuid),
  headway.issue_ticket(bigint, timestamptz),
  headway.redeem_ticket(uuid)
to headway_worker;

-- The administrator.
grant select on
  headway.unmailed,
  headway.mail_preference,
  headway.digest_message,
  headway.channel_to_repair
to headway_admin;

grant execute on function
  headway.set_setting(text, text),
  headway.verify(),
  headway.repair(),
  headway.fold(integer),
  headway.due_digests(timestamptz),
  headway.explain_digest(bigint),
  headway.why_no_mail(headway.appuser),
  headway.next_run(timestamptz, text),
  headway.describe_digest(headway.digest, headway.appuser),
  headway.known_time_zone(text),
  headway.is_between(time, time, time),
  headway.is_quiet(time, time, text, timestamptz),
  headway.quiet_end(time, time, text, timestamptz),
  headway.reserve_digest(bigint),
  headway.retry_digest(bigint),
  headway.prune_digests(),
  headway.digest_content(bigint),
  headway.bar_since(bigint, bigint, text, timestamptz),
  headway.id_in(jsonb, text)
to headway_admin;

grant select on headway.status to headway_app, headway_worker, headway_admin, headway_monitor;
