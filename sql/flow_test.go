package sql_test

import (
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"

	"headway/internal/pgtest"
)

// login connects as a login that is in one of headway's roles and nothing else. The tests' cluster keeps it.
func login(t *testing.T, db *pgtest.DB, role, attributes string) *pgx.Conn {
	t.Helper()
	name := "test_" + role + attributes
	pgtest.Execute(t, db.Conn(t), fmt.Sprintf(`
		do $$ begin
		  create role %s login %s in role %s;
		exception when duplicate_object or unique_violation then
		  null; -- another test has
		end $$`, name, attributes, role))
	return db.Conn(t, pgtest.User(name))
}

// TestAllOfItWithoutASuperuser has a backend, end users, a worker, an administrator and a monitor do what they are there
// for, each as a login of its own with one role.
func TestAllOfItWithoutASuperuser(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	backend, worker := login(t, db, "headway_app", ""), login(t, db, "headway_worker", "")
	admin, monitor := login(t, db, "headway_admin", ""), login(t, db, "headway_monitor", "")
	gateway := login(t, db, "headway_user", "noinherit")
	superuser := db.Conn(t)

	// A backend writes rows, as an ORM does.
	pgtest.Execute(t, backend, `
		insert into headway.appuser (fullname, email) values ('Abe', 'abe@example.com'), ('Bob', 'bob@example.com'), ('Charlie', null), ('Dora', null) returning id;
		insert into headway.project (name) values ('Website relaunch'), ('Soon gone') returning id, created_at;
		insert into headway.member (project_id, user_id, role) values (1, 1, 'customer'), (1, 2, 'customer'), (1, 3, 'customer'), (1, 4, 'staff'), (2, 1, 'customer');
		insert into headway.task (project_id, title, shared, audience, created_by) values
			(1, 'Choose a domain', true, 'everyone', 4), (1, 'Fill in your profile', false, 'everyone', 4), (1, 'Sign', true, 'assigned', 4), (2, 'Pay', true, 'everyone', 4);
		insert into headway.assignment (task_id, user_id) values (3, 1), (3, 2);
		insert into headway.prerequisite (task_id, requires_id) values (3, 1);
		select headway.open_channel('review', 1, array[1, 4]);
		insert into headway.message (sender, channel, content) values (4, 'review', 'Green.') returning id, seq, sent_at;
		insert into headway.completion (task_id, user_id, completed_by) values (2, 3, 4) on conflict do nothing;
		insert into headway.completion (task_id, user_id) values (4, 1);
		select set_config('headway.actor', '4', false);
		delete from headway.completion where task_id = 4;
		update headway.task set weight = 3, title = 'Choose a name' where id = 1;
		update headway.appuser set email = 'robert@example.com', digest_after = '1 microsecond' where id = 2;
		update headway.member set role = 'staff' where user_id = 3;
		update headway.project set archived_at = now() where id = 2;
		update headway.project set archived_at = null where id = 2;
		delete from headway.project where id = 2;
		select headway.mark_read(4, 'review'), headway.mute(4, 'review'), headway.post(1, 'broadcast', 'Hello, everyone.')`)
	exact(t, superuser, "as a backend has left it")

	// Whoever speaks for end users is nobody by itself, and nobody else.
	for _, statement := range []string{"select from headway.task", "set role headway_app", "set role headway_owner", "set session authorization headway_owner"} {
		if _, err := gateway.Exec(t.Context(), statement); code(err) != "42501" {
			t.Errorf("%s, as a gateway: %v", statement, err)
		}
	}
	pgtest.Execute(t, gateway, `
		begin;
		set local role headway_user;
		select set_config('headway.user_id', '1', true);
		select headway.snapshot(1), headway.complete_task(1, 1), headway.complete_task(3, 1), headway.complete_task(2, 1), headway.reopen_task(2, 1);
		select headway.post(1, 'project_1', 'Done!'), headway.mark_read(1, 'review'), headway.mute(1, 'review');
		insert into headway.completion (task_id, user_id) values (2, 1);
		update headway.appuser set quiet_from = '22:00', quiet_until = '07:00' where id = 1;
		commit;
		begin;
		set local role headway_user;
		select set_config('headway.user_id', '2', true);
		select headway.mark_seen(2, array(select m.id from headway.messages_since('project_1') m));
		update headway.appuser set digest_after = null where id = 2;
		update headway.appuser set digest_after = '1 microsecond' where id = 2;
		commit`)
	exact(t, superuser, "as end users have left it")

	// The worker folds all of it, and mails Bob what he has not read.
	for value[int](t, worker, "select headway.fold()") > 0 {
		exact(t, superuser, "folding")
	}
	if n := value[int](t, worker, "select count(*) from headway.pending_fact"); n > 0 {
		t.Errorf("%d facts are left", n)
	}
	const id = "'11111111-1111-1111-1111-111111111111'"
	pgtest.Execute(t, worker, "select headway.heartbeat("+id+", 'here', 1, 'test', true); select max(slot) from headway.digest_run")
	if n := value[int](t, worker, "select headway.reserve_digests()"); n != 1 {
		t.Errorf("%d digests are reserved", n)
	}
	for _, call := range []string{
		"headway.digests_to_send() = 1", "headway.claim_digest(" + id + ", '1 hour') ->> 'email' = 'robert@example.com'",
		"headway.freeze_digest(1, " + id + ", 'robert@example.com', 'mail')", "headway.digest_failed(1, " + id + ", 'refused', 'nobody of that name') = 'failed'",
	} {
		if !value[bool](t, worker, "select "+call) {
			t.Errorf("not %s", call)
		}
	}

	// An administrator finds out, and mends it.
	if n := value[int](t, admin, "select count(*) from headway.verify()"); n > 0 {
		t.Errorf("verify finds %d differences", n)
	}
	pgtest.Execute(t, admin, `
		select * from headway.explain_digest(2);
		select headway.resume_mail(2), headway.retry_digest(1), headway.repair(), headway.set_setting('digest_after', '1 day'), headway.fold();
		update headway.setting set value = '2 days' where name = 'digest_after'`)
	for _, call := range []string{
		"headway.claim_digest(" + id + ", '1 hour') is not null", "headway.freeze_digest(1, " + id + ", 'robert@example.com', 'mail')", "headway.digest_sent(1)",
		"headway.prune_digests() = 0",
	} {
		if !value[bool](t, worker, "select "+call) {
			t.Errorf("not %s", call)
		}
	}
	pgtest.Execute(t, worker, "select headway.digest_run_finished(now()), headway.retire("+id+")")
	if sent := value[bool](t, monitor, `select digests = '{"sent": 1}' and pending_facts = 0 and workers = 0 from headway.status`); !sent {
		t.Errorf("the status is %s", value[string](t, monitor, "select s::text from headway.status s"))
	}
	if token := value[string](t, admin, "select token::text from headway.digest"); !value[bool](t, worker, "select headway.unsubscribe($1)", token) {
		t.Error("nobody is unsubscribed")
	}
	pgtest.Execute(t, admin, "select headway.forget_user(2)")
	pgtest.Execute(t, backend, "delete from headway.project")

	for role, conn := range map[string]*pgx.Conn{"backend": backend, "worker": worker, "administrator": admin, "monitor": monitor} {
		for _, statement := range []string{
			"set role headway_owner", "set session authorization headway_owner", "set session_replication_role = replica",
			"alter table headway.completion disable trigger completion_after_insert", "alter role headway_user bypassrls",
			"grant headway_owner to current_user", "alter function headway.fold owner to current_user",
		} {
			if _, err := conn.Exec(t.Context(), statement); code(err) != "42501" {
				t.Errorf("%s, as the %s: %v", statement, role, err)
			}
		}
	}
}
