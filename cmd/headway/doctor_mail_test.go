package main

import (
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"headway/internal/pgtest"
	"headway/internal/smtptest"
)

// TestDoctorLooksIntoTheLedger finds what became of mail that was not sent.
func TestDoctorLooksIntoTheLedger(t *testing.T) {
	t.Parallel()
	db, conn := watched(t)
	login := pgtest.Intrude(t, db)
	pgtest.Execute(t, conn, "grant headway_worker to "+login)
	variables := map[string]string{"DATABASE_URL": strings.Replace(db.URL, "postgres@", login+"@", 1)}
	for _, c := range []struct{ digests, finding string }{
		{"(1, 'sent', now(), now()), (1, 'reserved', null, now() + interval '1 day'), (1, 'failed', null, now() - interval '2 days')", "ok: "},
		{"(1, 'reserved', null, now() - interval '1 hour')", "failed: a digest has waited to be sent for 1h0m0s: "},
		{"(1, 'held', null, now() - interval '9 days')", "warning: 1 digest is held, "},
		{"(1, 'failed', null, now() - interval '1 hour'), (2, 'failed', null, now())", "warning: 2 digests failed within a day: "},
	} {
		pgtest.Execute(t, conn, "delete from headway.digest; insert into headway.digest (user_id, state, sent_at, next_attempt_at) values "+c.digests)
		findings, err := examine(t, variables)
		if failed := strings.HasPrefix(c.finding, "failed"); failed != (err != nil) {
			t.Errorf("%s: %v", c.digests, err)
		}
		expect(t, findings, map[string]string{"digests": c.finding})
	}
}

func TestDoctorSpeaksToTheMailServer(t *testing.T) {
	t.Parallel()
	db, _ := watched(t)
	server, err := smtptest.Start(smtptest.Options{User: "abe", Password: "secret"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() }) // it has been closed already
	variables := map[string]string{"DATABASE_URL": db.URL, "HEADWAY_SMTP_URL": server.URL(), "HEADWAY_MAIL_FROM": "headway@example.com"}

	findings, err := examine(t, variables)
	if err != nil {
		t.Error(err)
	}
	expect(t, findings, map[string]string{"configuration": "ok: ", "mail": "logged in as abe"})
	if len(server.Messages()) > 0 || strings.Contains(fmt.Sprint(findings), "secret") {
		t.Error("it sends a mail, or tells the password")
	}

	variables["HEADWAY_SMTP_URL"] = strings.Replace(server.URL(), "secret", "wrong", 1)
	findings, err = examine(t, variables)
	if err == nil {
		t.Error("a wrong password is fine")
	}
	expect(t, findings, map[string]string{"mail": "failed: "})

	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	findings, err = examine(t, variables)
	if err == nil {
		t.Error("no server is fine")
	}
	expect(t, findings, map[string]string{"mail": "connection refused"})
}

func TestDoctorReadsTheMailServersCertificate(t *testing.T) {
	t.Parallel()
	db, _ := watched(t)
	day := 24 * time.Hour
	for _, c := range []struct {
		expires  time.Duration
		implicit bool
		want     string
	}{
		{30 * day, false, "TLS 1.3, certificate for localhost until DATE"},
		{30 * day, true, "TLS 1.3, certificate for localhost until DATE"},
		{10 * day, false, "warning: SERVER; its certificate expires on DATE: renew it"},
		{-day, false, "failed: "},
		{0, false, "failed: "}, // no TLS at all
	} {
		t.Run(fmt.Sprintf("%v %v", c.expires, c.implicit), func(t *testing.T) {
			t.Parallel()
			expires := time.Now().Add(c.expires)
			options := smtptest.Options{Implicit: c.implicit}
			roots := filepath.Join(t.TempDir(), "roots.pem")
			if c.expires != 0 {
				var err error
				if options.TLS, _, err = smtptest.TLS(expires, "localhost"); err != nil {
					t.Fatal(err)
				}
				block := &pem.Block{Type: "CERTIFICATE", Bytes: options.TLS.Certificates[0].Certificate[0]}
				if err := os.WriteFile(roots, pem.EncodeToMemory(block), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			server := catcher(t, options)
			url := strings.TrimSuffix(server.URL(), "?tls=none")
			// The system's roots are read once in the life of a process.
			p := newProgram(t, []string{
				"DATABASE_URL=" + db.URL, "HEADWAY_SMTP_URL=" + url, "HEADWAY_MAIL_FROM=headway@example.com", "SSL_CERT_FILE=" + roots,
			}, []string{"doctor"})
			out, err := p.cmd.Output()
			if failed := strings.HasPrefix(c.want, "failed"); failed != (err != nil) {
				t.Errorf("%v", err)
			}
			found := readFindings(t, string(out))["mail"]
			want := strings.ReplaceAll(c.want, "DATE", expires.UTC().Format(time.DateOnly))
			for part := range strings.SplitSeq(want, "SERVER") {
				if !strings.Contains(found, part) {
					t.Errorf("mail is %q, want %q", found, want)
				}
			}
		})
	}
}
