package main

import (
	"bytes"
	"context"
	"errors"
	"net/mail"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"headway/internal/pgtest"
	"headway/internal/smtptest"
)

const sqlMailed = `
insert into headway.appuser (fullname, email, digest_after) values
  ('Abe', null, null), ('Bob', 'bob@example.com', '1 microsecond'), ('Bob', 'bob2@example.com', null),
  ('Dora', 'dora@example.com', '1 microsecond'), ('Eve', 'eve@example.com', null);
insert into headway.project (name) values ('Website relaunch');
insert into headway.member (project_id, user_id, role) select 1, id, 'customer' from generate_series(1, 4) id;
select headway.post(1, 'project_1', 'Which photo goes on the front page?')`

// mailed is a database in which Bob and Dora, 2 and 4, are due.
func mailed(t *testing.T) (db *pgtest.DB, conn *pgx.Conn) {
	t.Helper()
	db = pgtest.New(t)
	conn = db.Conn(t)
	pgtest.Execute(t, conn, sqlMailed)
	return db, conn
}

// digestCommand runs headway digest with these variables.
func digestCommand(t *testing.T, variables map[string]string, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	var out, errs bytes.Buffer
	e := env{stdout: &out, stderr: &errs, getenv: func(name string) string { return variables[name] }}
	err = run(t.Context(), e, append([]string{"digest"}, args...))
	return out.String(), errs.String(), err
}

func catcher(t *testing.T, options smtptest.Options) *smtptest.Server {
	t.Helper()
	server, err := smtptest.Start(options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	return server
}

func TestAPreviewShowsTheMailAndChangesNothing(t *testing.T) {
	t.Parallel()
	db, conn := mailed(t)
	cursors := func() (cursors string) {
		if err := conn.QueryRow(t.Context(), `select string_agg(s::text, ' ' order by s.user_id, s.channel) from headway.subscription s`).Scan(&cursors); err != nil {
			t.Fatal(err)
		}
		return cursors
	}
	before := cursors()
	page, whole := filepath.Join(t.TempDir(), "digest.html"), filepath.Join(t.TempDir(), "digest.eml")
	variables := map[string]string{"DATABASE_URL": db.URL, "HEADWAY_MAIL_FROM": "Site <site@example.org>", "HEADWAY_APP_URL": "https://app.example.com"}
	for _, args := range [][]string{
		{"preview", "4", "--html", page, "--eml", whole},
		{"preview", "--html=" + page, "--eml", whole, "Dora"},
		{"preview", "--html", page, "Dora", "--eml", whole},
	} {
		stdout, stderr, err := digestCommand(t, variables, args...)
		if err != nil || stderr != "" {
			t.Fatalf("%q: %v, %q", args, err, stderr)
		}
		if !strings.HasPrefix(stdout, "Subject: Website relaunch: 1 new message\n\nHello Dora,\n") || !strings.Contains(stdout, "Which photo goes on the front page?") {
			t.Errorf("%q:\n%s", args, stdout)
		}
		html, err := os.ReadFile(page)
		if err != nil || !strings.Contains(string(html), "Which photo goes on the front page?") || !strings.Contains(string(html), "</html>") {
			t.Errorf("%q: the page: %v\n%s", args, err, html)
		}
		raw, err := os.ReadFile(whole)
		if err != nil {
			t.Fatal(err)
		}
		message, err := mail.ReadMessage(bytes.NewReader(raw))
		if err != nil || message.Header.Get("From") != `"Site" <site@example.org>` || !strings.Contains(message.Header.Get("To"), "dora@example.com") {
			t.Errorf("%q: the mail: %v\n%s", args, err, raw)
		}
		for _, file := range []string{page, whole} {
			if err := os.Remove(file); err != nil {
				t.Fatal(err)
			}
		}
	}
	if n := count(t, conn, "headway.digest"); n != 0 || cursors() != before || count(t, conn, "headway.due_digests()") != 2 {
		t.Errorf("%d digests; the cursors were %s and are %s", n, before, cursors())
	}
}

func TestAPreviewWithoutASenderShowsAnother(t *testing.T) {
	t.Parallel()
	db, _ := mailed(t)
	whole := filepath.Join(t.TempDir(), "digest.eml")
	_, stderr, err := digestCommand(t, map[string]string{"DATABASE_URL": db.URL}, "preview", "2", "--eml", whole)
	if err != nil || !strings.Contains(stderr, "HEADWAY_MAIL_FROM is not set") || !strings.Contains(stderr, "headway@example.com") {
		t.Errorf("%v, %q", err, stderr)
	}
	if raw, err := os.ReadFile(whole); err != nil || !bytes.Contains(raw, []byte("<headway@example.com>")) {
		t.Errorf("%v\n%s", err, raw)
	}
	if _, stderr, err := digestCommand(t, map[string]string{"DATABASE_URL": db.URL}, "preview", "2"); err != nil || stderr != "" {
		t.Errorf("where nothing shows the sender: %v, %q", err, stderr)
	}
}

func TestAPreviewThatCannotBeSaysWhy(t *testing.T) {
	t.Parallel()
	db, conn := mailed(t)
	pgtest.Execute(t, conn, `select headway.mark_read(4, 'project_1', 1)`)
	for _, c := range []struct{ who, want string }{
		{"99", `nobody with the id or full name "99"`},
		{"Zoe", `nobody with the id or full name "Zoe"`},
		{"Bob", `2 people are called "Bob": say which by id, such as 2 or 3`},
		{"Abe", "person 1 gets no mail: there is no address\nhint: select * from headway.explain_digest(1)"},
		{"Dora", "person 4 has nothing unread that is not in a digest yet\nhint: select * from headway.explain_digest(4)"},
	} {
		stdout, _, err := digestCommand(t, map[string]string{"DATABASE_URL": db.URL}, "preview", c.who)
		if err == nil || !strings.Contains(err.Error(), c.want) || stdout != "" {
			t.Errorf("%s: %v, want %q; %q", c.who, err, c.want, stdout)
		}
	}
	pgtest.Execute(t, conn, `
		insert into headway.project (name) values ('Intranet');
		insert into headway.message (sender, channel, content, kind, data) values (1, 'broadcast', 'Assigned.', 'task_assigned', '{"project_id": 2}')`)
	stdout, _, err := digestCommand(t, map[string]string{"DATABASE_URL": db.URL}, "preview", "Dora")
	if err == nil || !strings.Contains(err.Error(), "person 4 has nothing unread that is not in a digest yet") || stdout != "" {
		t.Errorf("of a project that is none of hers: %v; %q", err, stdout)
	}
	if _, _, err := digestCommand(t, map[string]string{"DATABASE_URL": pgtest.Empty(t).URL}, "preview", "2"); err == nil || !strings.Contains(err.Error(), "headway migrate") {
		t.Errorf("without a schema: %v", err)
	}
	for _, args := range [][]string{{}, {"nonsense"}, {"preview"}, {"preview", "1", "2"}, {"preview", "--html"}, {"preview", "1", "--nonsense"}, {"run", "now"}} {
		if stdout, stderr, err := digestCommand(t, nil, args...); !errors.As(err, new(*usageError)) || stdout != "" || len(args) == 0 && !strings.HasPrefix(stderr, "usage: ") {
			t.Errorf("%q: %v, %q, %q", args, err, stdout, stderr)
		}
	}
	for _, args := range [][]string{{"preview", "-help"}, {"preview", "1", "-help"}, {"run", "-help"}} {
		if stdout, _, err := digestCommand(t, nil, args...); err != nil || !strings.HasPrefix(stdout, "usage: headway digest "+args[0]) {
			t.Errorf("%q: %v, %q", args, err, stdout)
		}
	}
}

func TestARunSendsWhatIsDueOnce(t *testing.T) {
	t.Parallel()
	db, conn := mailed(t)
	pgtest.Execute(t, conn, `select headway.mark_read(4, 'project_1', 1)`)
	server := catcher(t, smtptest.Options{})
	variables := map[string]string{"DATABASE_URL": db.URL, "HEADWAY_SMTP_URL": server.URL(), "HEADWAY_MAIL_FROM": "headway@example.com"}
	for i, want := range []string{"reserved 1, sent 1\n", "reserved 0, sent 0\n"} {
		stdout, stderr, err := digestCommand(t, variables, "run")
		if err != nil || stdout != want || stderr != "" {
			t.Errorf("run %d: %v, %q, %q", i+1, err, stdout, stderr)
		}
	}
	messages := server.Messages()
	if len(messages) != 1 || messages[0].To != "bob@example.com" {
		t.Errorf("%d mails, %+v", len(messages), messages)
	}
	if n := count(t, conn, "headway.digest where state = 'sent' and user_id = 2"); n != 1 {
		t.Errorf("%d digests are called sent", n)
	}
	// What was reserved by hand goes too.
	pgtest.Execute(t, conn, `select headway.reserve_digest(3)`)
	if stdout, _, err := digestCommand(t, variables, "run"); err != nil || stdout != "reserved 0, sent 1\n" || len(server.Messages()) != 2 {
		t.Errorf("%v, %q, %d mails", err, stdout, len(server.Messages()))
	}
}

func TestARunThatFailsSaysWhat(t *testing.T) {
	t.Parallel()
	db, conn := mailed(t)
	server := catcher(t, smtptest.Options{User: "abe", Password: "secret"})
	server.Fail(func(step smtptest.Step) error {
		switch {
		case step.Name == "RCPT" && step.Message.To == "bob@example.com":
			return smtptest.Reply(550, "5.1.1", "no such user")
		case step.Name == "RCPT":
			return smtptest.Reply(450, "4.2.0", "greylisted")
		}
		return nil
	})
	variables := map[string]string{"DATABASE_URL": db.URL, "HEADWAY_MAIL_FROM": "headway@example.com"}
	if stdout, _, err := digestCommand(t, variables, "run"); err == nil || !strings.Contains(err.Error(), "HEADWAY_SMTP_URL is not set") || stdout != "" {
		t.Errorf("without a server: %v, %q", err, stdout)
	}
	if n := count(t, conn, "headway.digest"); n != 0 {
		t.Errorf("without a server %d digests were reserved", n)
	}

	variables["HEADWAY_SMTP_URL"] = strings.Replace(server.URL(), "secret", "wrong", 1)
	stdout, stderr, err := digestCommand(t, variables, "run")
	if err == nil || !strings.Contains(err.Error(), "535") || stdout != "reserved 2, sent 0\n" || strings.Contains(err.Error()+stderr, "wrong@") {
		t.Errorf("with a wrong password: %v, %q", err, stdout)
	}
	if n := count(t, conn, "headway.digest where state = 'reserved' and attempts = 0 and claimed_by is null"); n != 2 {
		t.Errorf("with a wrong password %d digests were left alone", n)
	}

	variables["HEADWAY_SMTP_URL"] = server.URL()
	stdout, _, err = digestCommand(t, variables, "run")
	if err == nil || err.Error() != "2 digests could not be sent" {
		t.Errorf("%v", err)
	}
	for _, want := range []string{"reserved 0, sent 0\n", "for Bob, failed: RCPT: 550 5.1.1 no such user\n", "for Dora, next attempt at ", ": RCPT: 450 4.2.0 greylisted\n"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("it does not say %q:\n%s", want, stdout)
		}
	}
	for _, where := range []string{
		"headway.digest where user_id = 2 and state = 'failed'", "headway.appuser where id = 2 and mail_suspended_at is not null",
		"headway.digest where user_id = 4 and state = 'reserved' and attempts = 1 and next_attempt_at > now()", "headway.appuser where mail_suspended_at is not null",
	} {
		if n := count(t, conn, where); n != 1 {
			t.Errorf("%d: %s", n, where)
		}
	}
}

// TestARunThatIsInterruptedIsNoSuccess interrupts one with a mail in hand and another that is waiting.
func TestARunThatIsInterruptedIsNoSuccess(t *testing.T) {
	t.Parallel()
	db, conn := mailed(t)
	server := catcher(t, smtptest.Options{})
	ctx, interrupt := context.WithCancel(t.Context())
	server.Fail(func(smtptest.Step) error { interrupt(); return nil })
	variables := map[string]string{
		"DATABASE_URL": db.URL, "HEADWAY_SMTP_URL": server.URL(), "HEADWAY_MAIL_FROM": "headway@example.com", "HEADWAY_DIGEST_CONCURRENCY": "1",
	}
	var out bytes.Buffer
	e := env{stdout: &out, stderr: &out, getenv: func(name string) string { return variables[name] }}
	if err := run(ctx, e, []string{"digest", "run"}); !errors.Is(err, context.Canceled) || out.String() != "reserved 2, sent 1\n" {
		t.Errorf("%v, %q", err, &out)
	}
	if n := count(t, conn, "headway.digest where state = 'reserved' and attempts = 0"); n != 1 {
		t.Errorf("%d are left for another time", n)
	}
}
