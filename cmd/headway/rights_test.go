package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/mail"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"time"

	"headway/internal/pgtest"
	"headway/internal/smtptest"
)

// TestALoginThatIsAWorkerAndNothingElseIsEnough runs all that a worker does as such a login, and what else a person may
// want to run with the worker's environment.
func TestALoginThatIsAWorkerAndNothingElseIsEnough(t *testing.T) {
	t.Parallel()
	db, conn := mailed(t)
	pgtest.Execute(t, conn, `insert into headway.task (project_id, title) values (1, 'Write')`)
	server := catcher(t, smtptest.Options{})
	addr := pgtest.FreeAddr(t)
	environment := map[string]string{
		"HEADWAY_SMTP_URL": server.URL(), "HEADWAY_MAIL_FROM": "headway@example.com", "HEADWAY_APP_URL": "http://" + addr,
		"HEADWAY_HTTP_ADDR": addr, "HEADWAY_DIGEST_SCHEDULE": "@every 1s", "HEADWAY_LOG_FORMAT": "json",
	}
	var variables []string
	for name, value := range environment {
		variables = append(variables, name+"="+value)
	}
	w := startWorker(t, build(t), db.URL, variables...)
	w.awaitLog("this worker is now the leader")

	// It folds, with what follows from that, and says how it is.
	pgtest.Execute(t, conn, `select headway.complete_task(1, 1)`)
	eventuallyFolded(t, conn)
	if n := count(t, conn, "headway.message where kind = 'task_completed'"); n != 1 {
		t.Errorf("there are %d messages of it", n)
	}
	pgtest.Eventually(t, soon, func() bool { return strings.Contains(page(t, http.MethodGet, "http://"+addr+"/readyz"), "ok") }, "it is not ready")
	pgtest.Eventually(t, soon, func() bool {
		metrics := page(t, http.MethodGet, "http://"+addr+"/metrics")
		return strings.Contains(metrics, "\nheadway_leader 1\n") && strings.Contains(metrics, "\nheadway_pending_facts 0\n")
	}, "its metrics are wrong")

	// It sends the two digests that are due, and takes an unsubscription.
	messages := server.Messages()
	pgtest.Eventually(t, soon, func() bool { messages = server.Messages(); return len(messages) >= 2 }, "it sends no digests")
	message, err := mail.ReadMessage(bytes.NewReader(messages[0].Data))
	if err != nil {
		t.Fatal(err)
	}
	link := strings.Trim(message.Header.Get("List-Unsubscribe"), "<>")
	if done := page(t, http.MethodPost, link); !strings.Contains(done, "You get no more of these mails") {
		t.Errorf("%s: %s", link, done)
	}
	if n := count(t, conn, "headway.appuser where mail_suspended_at is not null and email = '"+messages[0].To+"'"); n != 1 {
		t.Error("nobody has unsubscribed")
	}
	pgtest.Eventually(t, soon, func() bool { return count(t, conn, "headway.digest where state = 'sent'") == 2 }, "the ledger does not say sent")

	environment["DATABASE_URL"] = db.WorkerURL()
	findings, err := examine(t, environment)
	if err != nil {
		t.Error(err)
	}
	expect(t, findings, map[string]string{
		"rights": "ok: test_worker has the rights that a worker needs, and no more", "schema": "ok: ", "listen": "ok: ",
		"worker": "ok: 1 worker running", "queue": "ok: nothing is waiting", "notifications": "ok: ", "mail": "ok: ",
		"numbers": "skipped: test_worker may not call headway.verify(): members of headway_admin may",
	})

	w.signal(syscall.SIGTERM)
	if err := w.ended(25 * time.Second); err != nil {
		t.Error(err)
	}
	if n := count(t, conn, "headway.worker"); n != 0 {
		t.Error("its row is left")
	}
	for line := range strings.Lines(w.said()) {
		if strings.Contains(line, "failed") || strings.Contains(line, "could not") {
			t.Errorf("it says %s", line)
		}
	}

	// By hand, with the worker's environment.
	server.Fail(func(step smtptest.Step) error {
		if step.Name == "RCPT" {
			return smtptest.Reply(450, "4.2.0", "greylisted")
		}
		return nil
	})
	pgtest.Execute(t, conn, `select headway.reserve_digest(3)`)
	stdout, _, err := digestCommand(t, environment, "run")
	var id int
	if err := conn.QueryRow(t.Context(), `select max(id) from headway.digest`).Scan(&id); err != nil {
		t.Fatal(err)
	}
	if err == nil || err.Error() != "1 digest could not be sent" || stdout != fmt.Sprintf("reserved 0, sent 0\ndigest %d: RCPT: 450 4.2.0 greylisted\n", id) {
		t.Errorf("digest run: %v, %q", err, stdout)
	}
}

// page asks a worker and returns what it answers, "" where it does not.
func page(t *testing.T, method, address string) string {
	t.Helper()
	form := url.Values{"List-Unsubscribe": {"One-Click"}}.Encode()
	request, err := http.NewRequestWithContext(t.Context(), method, address, strings.NewReader(form))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		return ""
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return ""
	}
	return string(body)
}

// TestEveryCommandNamesTheRoleThatItNeeds runs each as a login of each role that may not.
func TestEveryCommandNamesTheRoleThatItNeeds(t *testing.T) {
	t.Parallel()
	db, conn := mailed(t)
	logins := map[string]string{}
	for role, roles := range map[string]string{
		"app": "headway_app", "worker": "headway_worker", "user": "headway_user", "admin": "headway_admin", "monitor": "headway_monitor",
		"gateway": "headway_worker, headway_user",
	} {
		login := role + "_" + db.Name
		logins[role] = strings.Replace(db.URL, "postgres@", login+"@", 1)
		pgtest.Execute(t, conn, "create role "+login+" login in role "+roles)
		t.Cleanup(func() {
			if err := conn.PgConn().Exec(context.WithoutCancel(t.Context()), "drop role "+login).Close(); err != nil {
				t.Error(err)
			}
		})
	}
	for _, c := range []struct {
		args  []string
		roles []string // that may not
		want  string
	}{
		{[]string{"watch"}, []string{"worker", "user", "monitor", "gateway"}, "may not see everybody's bars and messages: connect as a member of headway_admin ("},
		{[]string{"watch", "--project", "1"}, []string{"worker", "user", "monitor", "gateway"}, "may not see everybody's bars and messages: connect as a member of headway_admin ("},
		{[]string{"digest", "preview", "Bob"}, []string{"app", "worker", "user", "monitor"}, "may not see what a person would be mailed: connect as a member of headway_admin ("},
		{[]string{"digest", "preview", "2"}, []string{"app", "worker", "user", "monitor"}, "may not see what a person would be mailed: connect as a member of headway_admin ("},
		{[]string{"digest", "run"}, []string{"app", "user", "admin", "monitor"}, "may not send digests: connect as a member of headway_worker ("},
	} {
		for _, role := range c.roles {
			variables := map[string]string{"DATABASE_URL": logins[role], "HEADWAY_SMTP_URL": "smtp://localhost:1", "HEADWAY_MAIL_FROM": "headway@example.com"}
			e := env{stdout: io.Discard, stderr: io.Discard, getenv: func(name string) string { return variables[name] }}
			if err := run(t.Context(), e, c.args); err == nil || !strings.HasPrefix(err.Error(), role+"_"+db.Name+" "+c.want) {
				t.Errorf("%q as %s: it says %v", c.args, role, err)
			}
		}
	}

	// What doctor cannot see is no fault of the database.
	for role, want := range map[string]map[string]string{
		"monitor": {"worker": "warning: no worker is running", "queue": "ok: ", "notifications": "ok: ", "rights": "failed: "},
		"user": {
			"worker": "skipped: user_" + db.Name + " may not read it: members of headway_worker and headway_monitor may",
			"queue":  "skipped: user_", "notifications": "skipped: user_", "rights": "failed: ",
		},
	} {
		findings, err := examine(t, map[string]string{"DATABASE_URL": logins[role]})
		if err == nil || err.Error() != "one check failed" {
			t.Errorf("as %s: %v", role, err)
		}
		expect(t, findings, want)
	}
}

func TestDoctorTellsWhatTheLoginMayDo(t *testing.T) {
	t.Parallel()
	db, conn := watched(t)
	role := "outsider_" + db.Name
	pgtest.Execute(t, conn, "create role "+role+" login")
	t.Cleanup(func() {
		if err := conn.PgConn().Exec(context.WithoutCancel(t.Context()), "drop owned by "+role+"; drop role "+role).Close(); err != nil {
			t.Error(err)
		}
	})
	outsider := strings.Replace(db.URL, "postgres@", role+"@", 1)

	for _, c := range []struct{ database, listen, allow, want string }{
		{db.WorkerURL(), "", "", "ok: test_worker has the rights that a worker needs, and no more"},
		{db.URL, "", "", "warning: postgres has more rights than a worker should: it is a superuser give the worker a login of its own, " +
			"`create role headway_worker_login login password '…' in role headway_worker`, or set HEADWAY_ALLOW_MORE_RIGHTS=true " +
			"until then no worker will start as postgres"},
		{db.URL, "", "true", "ok: postgres has more rights than a worker should, which HEADWAY_ALLOW_MORE_RIGHTS allows"},
		{outsider, "", "true", "failed: " + role + " lacks rights that a worker needs: it is not a member of headway_worker: grant headway_worker to " + role},
		{db.WorkerURL(), db.URL, "", "warning: test_worker has the rights that a worker needs, and no more postgres has more rights"},
	} {
		findings, _ := examine(t, map[string]string{"DATABASE_URL": c.database, "HEADWAY_LISTEN_URL": c.listen, "HEADWAY_ALLOW_MORE_RIGHTS": c.allow})
		if got := strings.Join(strings.Fields(findings["rights"]), " "); !strings.HasPrefix(got, c.want) {
			t.Errorf("rights are %q\nwant %q", got, c.want)
		}
	}

	// Who may not even read the version is told so, and nothing of a schema that is not there.
	findings, err := examine(t, map[string]string{"DATABASE_URL": outsider})
	if err == nil || err.Error() != "2 checks failed" {
		t.Errorf("it ends with %v", err)
	}
	expect(t, findings, map[string]string{
		"schema": "failed: " + role + " may not read public.headway_schema_version: `grant headway_owner to " + role + "` lets it migrate",
		"worker": "skipped: the login may not read the schema", "queue": "skipped: the login may not read the schema", "numbers": "skipped: the login may not read the schema",
	})
}

// TestNobodyTakesOverWhoLooks has somebody who may make things in public lie in wait for a superuser, who runs all there
// is to run.
func TestNobodyTakesOverWhoLooks(t *testing.T) {
	t.Parallel()
	db, conn := mailed(t)
	pgtest.Intrude(t, db)
	server := catcher(t, smtptest.Options{})
	environment := map[string]string{"DATABASE_URL": db.URL, "HEADWAY_SMTP_URL": server.URL(), "HEADWAY_MAIL_FROM": "headway@example.com"}
	looks := func(what, output string, err error) {
		t.Helper()
		if err != nil {
			output += err.Error()
		}
		if strings.Contains(output, pgtest.Called) {
			t.Errorf("%s: %s", what, output)
		}
	}
	for _, args := range [][]string{{"migrate"}, {"migrate", "--status"}, {"migrate", "--no-roles"}} {
		stdout, stderr, err := headway(t, db.URL, args...)
		looks(fmt.Sprint(args), stdout+stderr, err)
	}
	pgtest.Execute(t, conn, `insert into headway.task (project_id, title) values (1, 'Write'); select headway.heartbeat(gen_random_uuid(), 'here', 1, 'test', true)`)
	findings, err := examine(t, environment)
	looks("doctor", fmt.Sprint(findings), err)
	for _, args := range [][]string{{"preview", "1"}, {"preview", "Abe"}, {"run"}} {
		stdout, stderr, err := digestCommand(t, environment, args...)
		looks(fmt.Sprint("digest ", args), stdout+stderr, err)
	}

	watching := start(t, []string{"DATABASE_URL=" + db.URL}, "watch")
	watching.await("  listening\n")
	refused := start(t, []string{"DATABASE_URL=" + db.URL}, "worker")
	refused.await("it is a superuser")
	refused.exit(1)
	looks("worker", refused.output(), nil)
	addr := pgtest.FreeAddr(t)
	allowed := start(t, []string{"DATABASE_URL=" + db.URL, "HEADWAY_ALLOW_MORE_RIGHTS=true", "HEADWAY_HTTP_ADDR=" + addr, "HEADWAY_SMTP_URL=" + server.URL(),
		"HEADWAY_MAIL_FROM=headway@example.com", "HEADWAY_DIGEST_SCHEDULE=@every 1s", "HEADWAY_TOKEN_SECRET=" + strings.Repeat("s", 32)}, "worker")
	allowed.await("this worker is now the leader")
	pgtest.Execute(t, conn, `select headway.complete_task(1, 1)`)
	watching.await("100%")
	pgtest.Eventually(t, soon, func() bool { return strings.Contains(page(t, http.MethodGet, "http://"+addr+"/readyz"), "ok") }, "it is not ready")
	for _, p := range []*program{watching, allowed} {
		p.signal(syscall.SIGTERM)
		p.exit(0)
		looks("watch or worker", p.output(), nil)
	}
}
