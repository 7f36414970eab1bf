package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"headway/internal/bar"
	"headway/internal/pgtest"
	"headway/internal/postgres"
	"headway/sql"
	"headway/worker"
)

// TestADoctorWhoseConnectionEndsSaysSo has the server end it, as a pooler in statement mode does at the first begin.
func TestADoctorWhoseConnectionEndsSaysSo(t *testing.T) {
	t.Parallel()
	d := &doctor{conn: pgtest.New(t).Conn(t)}
	if _, err := d.conn.Exec(t.Context(), "select pg_terminate_backend(pg_backend_pid())"); err == nil {
		t.Fatal("the connection stays")
	}
	for _, c := range d.checks()[2:] {
		if c.name == "mail" {
			continue
		}
		if f := c.examine(t.Context()); f.grade != skipped || f.lines[0] != "there is no connection" {
			t.Errorf("%s: %d, %q", c.name, f.grade, f.lines)
		}
	}
}

// examine runs headway doctor and returns its findings by name, each in one line with its grade in front.
func examine(t *testing.T, variables map[string]string) (findings map[string]string, err error) {
	t.Helper()
	var out bytes.Buffer
	e := env{stdout: &out, stderr: &out, getenv: func(name string) string { return variables[name] }}
	for name, value := range variables {
		e.environ = append(e.environ, name+"="+value)
	}
	err = run(t.Context(), e, []string{"doctor"})
	return readFindings(t, out.String()), err
}

// readFindings returns what headway doctor printed by name.
func readFindings(t *testing.T, out string) (findings map[string]string) {
	t.Helper()
	findings = map[string]string{}
	name := ""
	number := 0
	for line := range strings.Lines(out) {
		if match := findingLine.FindStringSubmatch(line); match != nil {
			number++
			if match[1] != fmt.Sprint(number) {
				t.Errorf("number %s follows %d", match[1], number-1)
			}
			name = match[3]
			findings[name] = match[2] + ": " + match[4]
			continue
		}
		findings[name] += " " + strings.TrimSpace(line)
	}
	if number != len((&doctor{}).checks()) {
		t.Errorf("%d findings:\n%s", number, out)
	}
	return findings
}

var findingLine = regexp.MustCompile(`^ ?(\d+)  (ok|warning|failed|skipped) +(\w+) +(.*)`)

// expect checks findings: each must contain its text.
func expect(t *testing.T, findings map[string]string, want map[string]string) {
	t.Helper()
	for name, text := range want {
		if !strings.Contains(findings[name], text) {
			t.Errorf("%s is %q, want %q", name, findings[name], text)
		}
	}
}

func TestDoctorFindsNothingWrongWhereNothingIs(t *testing.T) {
	t.Parallel()
	db, conn := watched(t)
	pgtest.Execute(t, conn, `select headway.heartbeat(gen_random_uuid(), 'here', 1, 'test', true)`)
	findings, err := examine(t, map[string]string{"DATABASE_URL": db.URL})
	if err != nil {
		t.Error(err)
	}
	expect(t, findings, map[string]string{
		"configuration": "ok: ", "connection": "ok: database " + db.Name, "server": "ok: PostgreSQL ", "clock": "ok: ",
		"schema": fmt.Sprintf("ok: version %d", sql.Latest()), "listen": "ok: a notification came back",
		"worker": "ok: 1 worker running, the leader is here pid 1, last seen ", "queue": "ok: nothing is waiting", "notifications": "ok: ",
		"mail": "warning: HEADWAY_SMTP_URL is not set", "numbers": "ok: ",
	})
}

// TestDoctorFindsWhatARestoreWithoutRolesLeaves drops the policies, which pg_restore cannot make for roles that are not there,
// and before that the rights of one role.
func TestDoctorFindsWhatARestoreWithoutRolesLeaves(t *testing.T) {
	t.Parallel()
	db, conn := watched(t)
	pgtest.Execute(t, conn, "revoke usage on schema headway from headway_user")
	findings, err := examine(t, map[string]string{"DATABASE_URL": db.URL})
	if err == nil {
		t.Error("nothing is wrong")
	}
	expect(t, findings, map[string]string{"schema": "failed: headway_user may not use the schema, as after"})
	pgtest.Execute(t, conn, `
grant usage on schema headway to headway_user;
do $$
declare
  v_policy record;
begin
  for v_policy in select * from pg_policies where schemaname = 'headway' loop
    execute format('drop policy %I on headway.%I', v_policy.policyname, v_policy.tablename);
  end loop;
end
$$`)
	findings, err = examine(t, map[string]string{"DATABASE_URL": db.URL})
	if err == nil {
		t.Error("nothing is wrong")
	}
	expect(t, findings, map[string]string{"schema": "failed: headway.appuser lacks policies, headway.assignment lacks policies, "})
}

// TestDoctorFindsTriggersThatDoNotFire has them switched off for everybody, and on one table.
func TestDoctorFindsTriggersThatDoNotFire(t *testing.T) {
	t.Parallel()
	db, conn := watched(t)
	variables := map[string]string{"DATABASE_URL": db.URL}
	for off, c := range map[string]struct{ on, name, finding string }{
		"alter database " + db.Name + " set session_replication_role = replica": {
			"alter database " + db.Name + " reset session_replication_role", "server", ", where triggers do not fire",
		},
		"alter table headway.completion disable trigger all": {
			"alter table headway.completion enable trigger all", "schema", "`alter table headway.completion enable trigger all; select",
		},
		"alter table headway.completion disable trigger user": { // as an owner may who is no superuser
			"alter table headway.completion enable trigger user", "schema", "`alter table headway.completion enable trigger user; select",
		},
	} {
		pgtest.Execute(t, conn, off)
		findings, err := examine(t, variables)
		if err == nil {
			t.Errorf("%s: nothing is wrong", off)
		}
		expect(t, findings, map[string]string{c.name: c.finding})
		pgtest.Execute(t, conn, c.on)
		findings, _ = examine(t, variables)
		expect(t, findings, map[string]string{c.name: "ok: "})
	}
}

func TestDoctorFindsTheSchemaMissingStaleOrNewer(t *testing.T) {
	t.Parallel()
	db := pgtest.Empty(t)
	variables := map[string]string{"DATABASE_URL": db.URL}
	for _, c := range []struct{ migrate, schema string }{
		{"0", "failed: the database has no headway schema: run `headway migrate`"},
		{fmt.Sprint(sql.Latest() - 1), "run `headway migrate`"},
	} {
		if _, _, err := headway(t, db.URL, "migrate", "--to", c.migrate); err != nil {
			t.Fatal(err)
		}
		findings, err := examine(t, variables)
		if err == nil || !strings.Contains(err.Error(), "one check failed") {
			t.Errorf("at %s: %v", c.migrate, err)
		}
		expect(t, findings, map[string]string{"schema": c.schema, "listen": "ok: ", "worker": "skipped: ", "numbers": "skipped: "})
	}
	if _, _, err := headway(t, db.URL, "migrate"); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ done, schema string }{
		{"update " + sql.VersionTable + " set version = 99", "failed: the schema is at version 99"},
		{fmt.Sprintf("update %s set version = %d; drop schema headway cascade", sql.VersionTable, sql.Latest()), "but there is no schema headway: restore it"},
	} {
		pgtest.Execute(t, db.Conn(t), c.done)
		findings, err := examine(t, variables)
		if err == nil {
			t.Errorf("%s: nothing is wrong", c.done)
		}
		expect(t, findings, map[string]string{"schema": c.schema})
	}
	if _, _, err := headway(t, db.URL, "migrate"); err == nil || !strings.Contains(err.Error(), "there is no schema headway") {
		t.Errorf("migrating says %v", err)
	}
}

func TestDoctorKnowsTheServersThatHeadwayRunsOn(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	conn := db.Conn(t)
	pgtest.Execute(t, conn, "create schema other; alter database "+db.Name+" set search_path = other, pg_catalog")
	for number, want := range map[int]string{
		140018: "failed: PostgreSQL 14.18 is too old: headway needs 15 or newer",
		150013: "warning: PostgreSQL 15.13 has a known vulnerability in row-level security (CVE-2025-8713): update it to 15.14 or newer",
		150014: "ok: PostgreSQL 15.14",
		160009: "warning: PostgreSQL 16.9",
		160010: "ok: PostgreSQL 16.10",
		170005: "warning: PostgreSQL 17.5",
		170006: "ok: PostgreSQL 17.6",
		180000: "ok: PostgreSQL 18.0",
		190001: "ok: PostgreSQL 19.1, newer than the versions that this headway was tested with, 15 to 18",
	} {
		// What the server says of itself cannot be set, so something else says it.
		pgtest.Execute(t, conn, fmt.Sprintf("create or replace function other.current_setting(text) returns text return %d", number))
		findings, err := examine(t, map[string]string{"DATABASE_URL": db.URL})
		if failed := strings.HasPrefix(want, "failed"); failed != (err != nil) {
			t.Errorf("%d: %v", number, err)
		}
		if got := findings["server"]; got != want && !strings.HasPrefix(got, want+" ") {
			t.Errorf("server is %q, want %q", got, want)
		}
	}
}

func TestDoctorFindsThePoolerThatDeliversNothing(t *testing.T) {
	t.Parallel()
	db, _ := watched(t)
	pooled := db.PgBouncer(t)

	findings, err := examine(t, map[string]string{"DATABASE_URL": pooled})
	if err == nil {
		t.Error("a pooler alone is fine")
	}
	expect(t, findings, map[string]string{
		"connection": "through a pooler", "listen": "set HEADWAY_LISTEN_URL to a direct connection", "schema": "ok: ", "numbers": "ok: ",
	})
	findings, err = examine(t, map[string]string{"DATABASE_URL": pooled, "HEADWAY_LISTEN_URL": db.URL})
	if err != nil {
		t.Error(err)
	}
	expect(t, findings, map[string]string{"connection": "through a pooler", "listen": "ok: a notification came back through HEADWAY_LISTEN_URL"})

	other := pgtest.New(t)
	findings, err = examine(t, map[string]string{"DATABASE_URL": db.URL, "HEADWAY_LISTEN_URL": other.URL})
	if err == nil {
		t.Error("another database is fine")
	}
	expect(t, findings, map[string]string{"listen": "failed: HEADWAY_LISTEN_URL leads to a different database"})
}

// TestDoctorFindsACommitThatWaitsForAStandby has one that notifies wait for a standby that never answers.
func TestDoctorFindsACommitThatWaitsForAStandby(t *testing.T) {
	t.Parallel()
	server := pgtest.Server(t, postgres.Options{})
	variables := map[string]string{"DATABASE_URL": server.URL("postgres")}
	do := func(statement string) string {
		t.Helper()
		answer, err := server.Psql(t.Context(), "postgres", statement)
		if err != nil {
			t.Fatal(err)
		}
		return answer
	}
	do("alter system set synchronous_standby_names = 'nobody'; select pg_reload_conf()")
	done := make(chan error, 1)
	go func() {
		_, err := server.Psql(context.WithoutCancel(t.Context()), "postgres", "begin; create table written (); notify x; commit")
		done <- err
	}()
	pgtest.Eventually(t, time.Minute, func() bool {
		return strings.Contains(do("select 'waits' from pg_stat_activity where wait_event = 'SyncRep'"), "waits")
	}, "no commit waits for the standby")
	findings, err := examine(t, variables)
	if err == nil {
		t.Error("nothing is wrong")
	}
	expect(t, findings, map[string]string{"listen": "failed: nobody can notify"})

	do("alter system reset synchronous_standby_names; select pg_reload_conf()")
	if err := <-done; err != nil {
		t.Error(err)
	}
	findings, _ = examine(t, variables)
	expect(t, findings, map[string]string{"listen": "ok: "})
}

func TestDoctorFindsADatabaseThatOnlyReads(t *testing.T) {
	t.Parallel()
	cluster := pgtest.Server(t, postgres.Options{})
	url := cluster.URL("postgres")
	if _, _, err := headway(t, url, "migrate"); err != nil {
		t.Fatal(err)
	}
	standby := pgtest.Standby(t, cluster)
	findings, err := examine(t, map[string]string{"DATABASE_URL": standby.URL("postgres")})
	if err == nil {
		t.Error("a standby is fine")
	}
	expect(t, findings, map[string]string{"server": "a standby", "listen": "failed: LISTEN does not work on a standby"})
	watching := start(t, []string{"DATABASE_URL=" + standby.URL("postgres")}, "watch")
	watching.await("this is a standby, where LISTEN does not work\n")
	watching.signal(os.Interrupt)
	watching.exit(0)

	conn := (&pgtest.DB{URL: url}).Conn(t)
	pgtest.Execute(t, conn, sqlMailed)
	pgtest.Eventually(t, soon, func() bool {
		_, _, err = headway(t, standby.URL("postgres"), "digest", "preview", "2")
		return err != nil && strings.Contains(err.Error(), "a preview needs a primary")
	}, "it does not say that a preview needs a primary")

	pgtest.Execute(t, conn, "alter database postgres set default_transaction_read_only = on")
	findings, err = examine(t, map[string]string{"DATABASE_URL": url})
	if err == nil {
		t.Error("a database that only reads is fine")
	}
	expect(t, findings, map[string]string{"server": "default_transaction_read_only"})
}

func TestDoctorLooksAtTheGatewaysRights(t *testing.T) {
	t.Parallel()
	db, conn := watched(t)
	login := pgtest.Intrude(t, db)
	url := strings.Replace(db.URL, "postgres@", login+"@", 1)
	variables := map[string]string{"DATABASE_URL": url, "HEADWAY_HTTP_ADDR": ":8080", "HEADWAY_TOKEN_SECRET": strings.Repeat("k", 32)}
	pgtest.Execute(t, conn, "grant headway_worker to "+login)
	findings, err := examine(t, variables)
	if err == nil {
		t.Error("it is fine")
	}
	expect(t, findings, map[string]string{"rights": "grant headway_user to", "configuration": "ok: "})
	if !strings.HasPrefix(findings["rights"], "failed: ") || strings.Contains(findings["rights"], "and no more") {
		t.Errorf("rights are %q", findings["rights"])
	}
	pgtest.Execute(t, conn, "grant headway_user to "+login)
	findings, _ = examine(t, variables)
	expect(t, findings, map[string]string{"rights": "ok: "})
}

func TestDoctorFindsWhatIsWrongInside(t *testing.T) {
	t.Parallel()
	db, conn := watched(t)
	pgtest.Execute(t, conn, `
select headway.complete_task(1, 3);
update headway.pending_fact set at = now() - interval '1 hour';
select headway.set_setting('notify_payload', 'off');
select headway.heartbeat('00000000-0000-0000-0000-000000000001', 'gone', 9, 'old', true);
update headway.worker set last_seen_at = now() - interval '2 minutes';
set session_replication_role = replica;
update headway.shared_progress set done = 7;
reset session_replication_role`)
	variables := map[string]string{"DATABASE_URL": db.URL}
	findings, err := examine(t, variables)
	if err == nil || !strings.Contains(err.Error(), "one check failed") {
		t.Errorf("%v", err)
	}
	expect(t, findings, map[string]string{
		"worker": "warning: no worker is running", "queue": "warning: 1 fact waiting to be folded, the oldest for 1h0m",
		"notifications": "warning: the setting notify_payload is off", "numbers": "select headway.repair()",
	})
	expect(t, findings, map[string]string{"queue": ": start `headway worker`"})

	pgtest.Execute(t, conn, "insert into pg_subscription_rel (srsubid, srrelid, srsubstate) values (1, 'headway.task'::regclass, 'r')")
	findings, _ = examine(t, variables)
	expect(t, findings, map[string]string{"worker": "warning: no worker is running here, and none should while"})
	pgtest.Execute(t, conn, "select headway.heartbeat('00000000-0000-0000-0000-000000000002', 'elsewhere', 9, 'replicated', true)")
	findings, _ = examine(t, variables)
	expect(t, findings, map[string]string{"worker": "warning: no worker is running here, and none should while"})
	pgtest.Execute(t, conn, "select pg_advisory_lock(headway.lock_key('leader'))")
	findings, _ = examine(t, variables)
	expect(t, findings, map[string]string{"worker": "failed: a worker runs here, though this database follows another one"})
	if _, err := worker.Connect(t.Context(), db.URL, "test"); !errors.Is(err, worker.ErrFollows) {
		t.Errorf("who folds or mails connects: %v", err)
	}
	pgtest.Execute(t, conn, "select pg_advisory_unlock_all(); delete from headway.worker where host = 'elsewhere'; delete from pg_subscription_rel")

	pgtest.Execute(t, conn, `select headway.heartbeat(gen_random_uuid(), 'here', 1, E'\x1b[2Jone', false), headway.heartbeat(gen_random_uuid(), 'here', 2, 'two', true)`)
	findings, err = examine(t, variables)
	if err == nil || !strings.Contains(err.Error(), "2 checks failed") {
		t.Errorf("%v", err)
	}
	expect(t, findings, map[string]string{"worker": "warning: 2 workers run different versions ([2Jone, two)", "queue": "failed: "})

	pgtest.Execute(t, conn, `update headway.pending_fact set at = now()`)
	findings, _ = examine(t, variables)
	expect(t, findings, map[string]string{"queue": "ok: 1 fact waiting to be folded, none longer than "})
}

// TestDoctorFindsWhatARestoreOfSomeTablesLeaves has one without channels, one with channels that are older than messages, and
// one without any rows.
func TestDoctorFindsWhatARestoreOfSomeTablesLeaves(t *testing.T) {
	t.Parallel()
	db, conn := watched(t)
	variables := map[string]string{"DATABASE_URL": db.URL}
	for _, c := range []struct{ restored, finding string }{
		{"delete from headway.channel where name in ('project_1', 'project_1_staff', 'user_1', 'broadcast')", "failed: 4 channels are missing or behind"},
		{"update headway.channel set last_seq = 0 where name = 'project_1'", "failed: 1 channel is missing or behind"},
		{"select setval('headway.message_id_seq', 1, false)", "failed: the next id of a message or digest is already taken"},
	} {
		pgtest.Execute(t, conn, `
select headway.post(1, 'project_1', 'Hello');
set session_replication_role = replica;
`+c.restored+`;
reset session_replication_role`)
		findings, err := examine(t, variables)
		if err == nil {
			t.Errorf("%s: nothing is wrong", c.restored)
		}
		expect(t, findings, map[string]string{"numbers": c.finding})
		pgtest.Execute(t, conn, `select setval('headway.message_id_seq', max(id)) from headway.message`)
		pgtest.Execute(t, conn, "select headway.repair(); select headway.post(1, 'project_1', 'Hello'), headway.post(1, 'broadcast', 'Hello')")
		findings, _ = examine(t, variables)
		expect(t, findings, map[string]string{"numbers": "ok: "})
	}
	pgtest.Execute(t, conn, `
set session_replication_role = replica;
delete from headway.setting;
reset session_replication_role`)
	findings, err := examine(t, variables)
	if err == nil {
		t.Error("nothing is wrong without settings")
	}
	expect(t, findings, map[string]string{"notifications": "failed: there are no settings"})
}

// TestDoctorReadsTheClockAndTheQueueOfTheServer has something else answer for them: they cannot be set.
func TestDoctorReadsTheClockAndTheQueueOfTheServer(t *testing.T) {
	t.Parallel()
	db, conn := watched(t)
	pgtest.Execute(t, conn, `
alter function pg_catalog.clock_timestamp() rename to real_clock;
alter function pg_catalog.pg_notification_queue_usage() rename to real_usage`)
	for _, c := range []struct{ clock, usage, wantClock, wantUsage string }{
		{"interval '1 hour'", "0.04", "warning: the server's clock is ", "ok: the server's queue is practically empty"},
		{"interval '-1 hour'", "0.06", "warning: the server's clock is ", "warning: the server's queue is 6% full; a listening session is stuck"},
		{"interval '0'", "0.51", "ok: ", "failed: the server's queue is 51% full, so headway sends no notifications"},
	} {
		pgtest.Execute(t, conn, `
create or replace function pg_catalog.clock_timestamp() returns timestamptz language sql as $$ select real_clock() + `+c.clock+` $$;
create or replace function pg_catalog.pg_notification_queue_usage() returns float8 language sql as 'select `+c.usage+`::float8'`)
		findings, err := examine(t, map[string]string{"DATABASE_URL": db.URL})
		if failed := strings.HasPrefix(c.wantUsage, "failed"); failed != (err != nil) {
			t.Errorf("%v: %v", c, err)
		}
		expect(t, findings, map[string]string{"clock": c.wantClock, "notifications": c.wantUsage})
		if ahead := strings.Contains(findings["clock"], " ahead of "); ahead != (c.clock == "interval '1 hour'") {
			t.Errorf("%s: clock is %q", c.clock, findings["clock"])
		}
	}
}

// TestDoctorKeepsToTheWidthOfTheTerminal has one that is narrow, and one where the findings have a column of their own.
func TestDoctorKeepsToTheWidthOfTheTerminal(t *testing.T) {
	t.Parallel()
	db, _ := watched(t)
	for _, columns := range []uint16{40, 70} {
		p := startOnTerminal(t, columns, 24, []string{"DATABASE_URL=" + db.URL}, "doctor")
		p.exit(0)
		p.await("numbers", "headway.verify()", "recount")
		for line := range strings.Lines(plain(p.output())) {
			if width := bar.Width(strings.TrimRight(line, "\r\n")); width >= int(columns) {
				t.Errorf("%d columns of %d: %q", width, columns, line)
			}
		}
	}
}

// TestDoctorNamesWhoHoldsTheWorkersLocks has somebody hold them who is no worker: any login may.
func TestDoctorNamesWhoHoldsTheWorkersLocks(t *testing.T) {
	t.Parallel()
	db, conn := watched(t)
	other := db.Conn(t, pgtest.User("test_worker"))
	pgtest.Execute(t, other, `set application_name = 'psql'; select pg_advisory_lock(headway.lock_key('leader')), pg_advisory_lock_shared(headway.lock_key('fold'))`)
	who := fmt.Sprintf("held by pid %d, user test_worker, application psql", other.PgConn().PID())
	waiter, got := db.Conn(t), make(chan error, 1)
	go func() {
		_, err := waiter.Exec(t.Context(), `select headway.fold()`)
		got <- err
	}()
	waiting := fmt.Sprintf("pid %d,", waiter.PgConn().PID())
	pgtest.Eventually(t, soon, func() bool {
		return count(t, conn, fmt.Sprintf("pg_locks where locktype = 'advisory' and not granted and pid = %d", waiter.PgConn().PID())) == 1
	}, "nobody waits for a lock")
	findings, err := examine(t, map[string]string{"DATABASE_URL": db.URL})
	if err != nil {
		t.Error(err)
	}
	expect(t, findings, map[string]string{"worker": "warning: no worker is running"})
	if strings.Contains(findings["worker"], waiting) {
		t.Errorf("it names who waits for a lock: %q", findings["worker"])
	}
	for _, want := range []string{"the lock leader is " + who, "the lock fold is " + who, fmt.Sprintf("select pg_terminate_backend(%d)", other.PgConn().PID())} {
		if !strings.Contains(findings["worker"], want) {
			t.Errorf("worker is %q, want %q", findings["worker"], want)
		}
	}

	pgtest.Execute(t, conn, `select headway.heartbeat('00000000-0000-0000-0000-000000000001', 'here', 1, 'test', false)`)
	findings, _ = examine(t, map[string]string{"DATABASE_URL": db.WorkerURL()})
	expect(t, findings, map[string]string{"worker": "warning: 1 worker running, but none is the leader: see the workers' logs the lock fold is " + who})

	// One that leads and cannot fold.
	pgtest.Execute(t, conn, `select headway.heartbeat('00000000-0000-0000-0000-000000000001', 'here', 1, 'test', true);
		insert into headway.pending_fact (kind, project_id, at) values ('recompute', 1, now() - interval '1 hour')`)
	findings, _ = examine(t, map[string]string{"DATABASE_URL": db.URL})
	expect(t, findings, map[string]string{"worker": "ok: 1 worker running", "queue": "the lock fold is " + who})

	pgtest.Execute(t, other, `select pg_advisory_unlock_all()`)
	if err := <-got; err != nil {
		t.Error(err)
	}
	if findings, _ = examine(t, map[string]string{"DATABASE_URL": db.URL}); strings.Contains(fmt.Sprint(findings), "the lock ") {
		t.Errorf("nobody holds a lock: %q", findings)
	}

	// One that leads and folds, and cannot reserve. A reservation that nobody waits for is a worker's.
	pgtest.Execute(t, other, `select pg_advisory_lock(headway.lock_key('reserve'))`)
	if findings, _ = examine(t, map[string]string{"DATABASE_URL": db.URL}); !strings.HasPrefix(findings["worker"], "ok: ") {
		t.Errorf("worker is %q, though nobody waits", findings["worker"])
	}
	var reserving sync.WaitGroup
	defer reserving.Wait()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	reserver := db.Conn(t)
	reserving.Go(func() { _, _ = reserver.Exec(ctx, "select headway.reserve_digests()") })
	pgtest.Eventually(t, patience, func() bool {
		findings, _ = examine(t, map[string]string{"DATABASE_URL": db.URL})
		return strings.HasPrefix(findings["worker"], "warning: somebody keeps digests from being reserved, so no mail is sent the lock reserve is "+who)
	}, "nobody is named")
	pgtest.Execute(t, other, `select pg_advisory_unlock_all()`)
}

func TestDoctorSaysAllThatIsWrongWithTheConfiguration(t *testing.T) {
	t.Parallel()
	findings, err := examine(t, map[string]string{
		"DATABASE_URL": "postgres://nobody@127.0.0.1:1/nothing", "HEADWAY_POLL_INTERVAL": "soon", "HEADWAY_DIGEST_SCHEDULE": "never",
	})
	if err == nil || !strings.Contains(err.Error(), "2 checks failed") {
		t.Errorf("%v", err)
	}
	expect(t, findings, map[string]string{
		"connection": "failed: ", "server": "skipped: there is no connection", "numbers": "skipped: there is no connection",
	})
	expect(t, findings, map[string]string{"configuration": "HEADWAY_POLL_INTERVAL"})
	expect(t, findings, map[string]string{"configuration": "HEADWAY_DIGEST_SCHEDULE"})
}

// TestDoctorCutsNoName has a host be named as managed databases are.
func TestDoctorCutsNoName(t *testing.T) {
	t.Parallel()
	host := strings.Repeat("customers-", 6) + ".cluster-c0123456789a.eu-central-1.rds.invalid"
	findings, err := examine(t, map[string]string{"DATABASE_URL": "postgres://me@" + host + "/app"})
	if err == nil || !strings.Contains(findings["connection"], host) {
		t.Errorf("connection is %q", findings["connection"])
	}
}

func TestDoctorFindsAMisspeltVariable(t *testing.T) {
	t.Parallel()
	db, _ := watched(t)
	findings, err := examine(t, map[string]string{"DATABASE_URL": db.URL, "HEADWAY_SMPT_URL": "smtp://me:secret@mail.example.com"})
	if err != nil || strings.Contains(fmt.Sprint(findings), "secret") {
		t.Errorf("%v, %v", err, findings)
	}
	expect(t, findings, map[string]string{"configuration": "warning: HEADWAY_SMPT_URL: unknown variable"})
}
