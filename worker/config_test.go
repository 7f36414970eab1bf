package worker_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"headway/worker"
	"headway/worker/smtp"
)

func load(pairs ...string) (worker.Config, error) {
	env := map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		env[pairs[i]] = pairs[i+1]
	}
	return worker.LoadConfig(func(name string) string { return env[name] })
}

func TestAnEmptyEnvironmentIsEnough(t *testing.T) {
	t.Parallel()
	c, err := load()
	if err != nil {
		t.Fatal(err)
	}
	if c.AllowMoreRights || c.PollInterval != 5*time.Second || c.DigestConcurrency != 4 || c.SMTP != nil || c.AppURL != nil {
		t.Errorf("%+v", c)
	}
	next := time.Date(2026, 1, 1, 12, 1, 0, 0, time.UTC)
	for _, minute := range []int{5, 10, 15} {
		if next = c.DigestSchedule.Next(next); next.Hour() != 12 || next.Minute() != minute {
			t.Errorf("the next digest is at %v", next)
		}
	}
}

func TestEverythingCanBeConfigured(t *testing.T) {
	t.Parallel()
	c, err := load(
		"DATABASE_URL", "postgres://app@pooler:6432/app",
		"HEADWAY_LISTEN_URL", "host=db user=app dbname=app",
		"HEADWAY_ALLOW_MORE_RIGHTS", "true",
		"HEADWAY_POLL_INTERVAL", "1m30s",
		"HEADWAY_SMTP_URL", "smtp://me%40example.com:p%3Ass@mail.example.com",
		"HEADWAY_MAIL_FROM", "Headway <headway@example.com>",
		"HEADWAY_DIGEST_SCHEDULE", "CRON_TZ=Europe/Lisbon 30 8 * * 1-5",
		"HEADWAY_DIGEST_CONCURRENCY", "8",
		"HEADWAY_APP_URL", "https://app.example.com/headway",
		"HEADWAY_HTTP_ADDR", ":8080",
		"HEADWAY_TOKEN_SECRET", strings.Repeat("k", 32),
		"HEADWAY_ALLOWED_ORIGINS", "https://app.example.com,http://localhost:3000,https://app.example.com:80,http://[::1]:8080,https://[::1],https://xn--bcher-kva.example.com",
		"HEADWAY_LOG_FORMAT", "json",
	)
	if err != nil {
		t.Fatal(err)
	}
	if want := (smtp.Server{Host: "mail.example.com", Port: "587", User: "me@example.com", Password: "p:ss", TLS: smtp.StartTLS}); *c.SMTP != want {
		t.Errorf("%+v", *c.SMTP)
	}
	if c.MailFrom.Name != "Headway" || c.MailFrom.Address.Address != "headway@example.com" {
		t.Errorf("%+v", c.MailFrom)
	}
	next := c.DigestSchedule.Next(time.Date(2026, 7, 4, 0, 0, 0, 0, time.UTC)) // a Saturday in summer
	if !next.Equal(time.Date(2026, 7, 6, 7, 30, 0, 0, time.UTC)) {
		t.Errorf("the next digest is at %v", next)
	}
	if !c.AllowMoreRights || c.PollInterval != 90*time.Second || c.DigestConcurrency != 8 || c.AppURL.Path != "/headway" || len(c.AllowedOrigins) != 6 {
		t.Errorf("%+v", c)
	}
}

func TestAWrongValueIsNamedWithWhatWouldBeRight(t *testing.T) {
	t.Parallel()
	const from = "\nHEADWAY_MAIL_FROM=headway@example.com"
	for _, test := range []struct{ env, want string }{
		{"DATABASE_URL=postgres://%", "DATABASE_URL: want postgres://"},
		{"HEADWAY_LISTEN_URL=mysql://localhost", "HEADWAY_LISTEN_URL: want postgres://"},
		{"HEADWAY_ALLOW_MORE_RIGHTS=some", `HEADWAY_ALLOW_MORE_RIGHTS is "some": want true or false`},
		{"HEADWAY_POLL_INTERVAL=often", `HEADWAY_POLL_INTERVAL is "often": want a duration`},
		{"HEADWAY_POLL_INTERVAL=1ms", `HEADWAY_POLL_INTERVAL is "1ms": want 10ms to 24h`},
		{"HEADWAY_POLL_INTERVAL=24h1s", `HEADWAY_POLL_INTERVAL is "24h0m1s": want 10ms to 24h`},
		{"HEADWAY_POLL_INTERVAL=2000000h", `HEADWAY_POLL_INTERVAL is "2000000h0m0s": want 10ms to 24h`},
		{"HEADWAY_SMTP_URL=mail.example.com:587", "HEADWAY_SMTP_URL: want smtp://"},
		{"HEADWAY_SMTP_URL=http://mail.example.com", "HEADWAY_SMTP_URL: want smtp://"},
		{"HEADWAY_SMTP_URL=smtp://", "HEADWAY_SMTP_URL: want smtp://"},
		{"HEADWAY_SMTP_URL=smtp://mail/path" + from, "HEADWAY_SMTP_URL: want smtp://"},
		{"HEADWAY_SMTP_URL=smtp://mail?tls=no" + from, "HEADWAY_SMTP_URL: the parameters are tls=none"},
		{"HEADWAY_SMTP_URL=smtp://mail?timeout=1" + from, "HEADWAY_SMTP_URL: the parameters are tls=none"},
		{"HEADWAY_SMTP_URL=smtps://mail?tls=none" + from, "HEADWAY_SMTP_URL: the parameters are tls=none"},
		{"HEADWAY_SMTP_URL=smtp://me:secret@mail?tls=none" + from, "HEADWAY_SMTP_URL: "},
		{"HEADWAY_SMTP_URL=smtp://mail", `HEADWAY_MAIL_FROM is "": HEADWAY_SMTP_URL needs a sender`},
		{"HEADWAY_MAIL_FROM=headway", `HEADWAY_MAIL_FROM is "headway": want one address`},
		{"HEADWAY_SMTP_URL=smtp://mail\nHEADWAY_MAIL_FROM=headway", `HEADWAY_MAIL_FROM is "headway": want one address`},
		{"HEADWAY_MAIL_FROM=a@example.com,b@example.com", `b@example.com": want one address`},
		{`HEADWAY_MAIL_FROM="a b"@example.com`, `want a plain address`},
		{"HEADWAY_DIGEST_SCHEDULE=hourly", `HEADWAY_DIGEST_SCHEDULE is "hourly": want five cron fields`},
		{"HEADWAY_DIGEST_SCHEDULE=CRON_TZ=Europe/Lisbon", `HEADWAY_DIGEST_SCHEDULE is "CRON_TZ=Europe/Lisbon": want five cron fields`},
		{"HEADWAY_DIGEST_SCHEDULE=TZ=", `HEADWAY_DIGEST_SCHEDULE is "TZ=": want five cron fields`},
		{"HEADWAY_DIGEST_SCHEDULE=CRON_TZ=Nowhere/Else * * * * *", `Nowhere/Else * * * * *": want five cron fields`},
		{"HEADWAY_DIGEST_SCHEDULE=0 0 30 2 *", `"0 0 30 2 *": no such time ever comes`},
		{"HEADWAY_DIGEST_SCHEDULE=@every -5m", `HEADWAY_DIGEST_SCHEDULE is "@every -5m": want a second or more`},
		{"HEADWAY_DIGEST_SCHEDULE=CRON_TZ=UTC @every 100ms", `@every 100ms": want a second or more`},
		{"HEADWAY_DIGEST_CONCURRENCY=many", `HEADWAY_DIGEST_CONCURRENCY is "many": want a whole number`},
		{"HEADWAY_DIGEST_CONCURRENCY=101", `HEADWAY_DIGEST_CONCURRENCY is "101": want a whole number from 1 to 100`},
		{"HEADWAY_DIGEST_CONCURRENCY=-1", `HEADWAY_DIGEST_CONCURRENCY is "-1": want a whole number from 1`},
		{"HEADWAY_APP_URL=app.example.com", `HEADWAY_APP_URL is "app.example.com": want an address such as https://`},
		{"HEADWAY_APP_URL=https://a>b", `HEADWAY_APP_URL is "https://a>b": want an address such as https://`},
		{"HEADWAY_APP_URL=https://me@app.example.com", "HEADWAY_APP_URL: want an address such as https://app.example.com, without user and password"},
		{"HEADWAY_APP_URL=http://[", `HEADWAY_APP_URL is "http://[": want a URL`},
		{"HEADWAY_HTTP_ADDR=8080", `HEADWAY_HTTP_ADDR is "8080": want host:port`},
		{"HEADWAY_HTTP_ADDR=:http-alt", `HEADWAY_HTTP_ADDR is ":http-alt": want host:port`},
		{"HEADWAY_TOKEN_SECRET=short\nHEADWAY_HTTP_ADDR=:8080", "HEADWAY_TOKEN_SECRET: it has 5 bytes"},
		{"HEADWAY_TOKEN_SECRET=" + strings.Repeat("k", 32), "HEADWAY_TOKEN_SECRET turns on the gateway"},
		{"HEADWAY_TOKEN_JWKS=/nowhere.json\nHEADWAY_HTTP_ADDR=:8080", `HEADWAY_TOKEN_JWKS is "/nowhere.json": read the key set`},
		{"HEADWAY_ALLOWED_ORIGINS=https://a.example.com/,https://b.example.com", `HEADWAY_ALLOWED_ORIGINS is "https://a.example.com/": want scheme and host`},
		{"HEADWAY_ALLOWED_ORIGINS=*", `HEADWAY_ALLOWED_ORIGINS is "*"`},
		{"HEADWAY_ALLOWED_ORIGINS=https://app.example.com:443", `HEADWAY_ALLOWED_ORIGINS is "https://app.example.com:443"`},
		{"HEADWAY_ALLOWED_ORIGINS=http://localhost:80", `HEADWAY_ALLOWED_ORIGINS is "http://localhost:80"`},
		{"HEADWAY_ALLOWED_ORIGINS=http://localhost:08080", `HEADWAY_ALLOWED_ORIGINS is "http://localhost:08080"`},
		{"HEADWAY_ALLOWED_ORIGINS=http://localhost:", `HEADWAY_ALLOWED_ORIGINS is "http://localhost:"`},
		{"HEADWAY_ALLOWED_ORIGINS=http://localhost:99999", `HEADWAY_ALLOWED_ORIGINS is "http://localhost:99999"`},
		{"HEADWAY_ALLOWED_ORIGINS=https://App.example.com", `HEADWAY_ALLOWED_ORIGINS is "https://App.example.com"`},
		{"HEADWAY_ALLOWED_ORIGINS=https://bücher.example.com", `HEADWAY_ALLOWED_ORIGINS is "https://bücher.example.com"`},
		{"HEADWAY_LOG_FORMAT=xml", `HEADWAY_LOG_FORMAT is "xml": want text or json`},
	} {
		var pairs []string
		for assignment := range strings.Lines(test.env) {
			name, value, _ := strings.Cut(strings.TrimSpace(assignment), "=")
			pairs = append(pairs, name, value)
		}
		_, err := load(pairs...)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want %s", test.env, err, test.want)
		} else if strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: more than one problem: %v", test.env, err)
		}
	}
}

func TestWhatIsWantedIsTaken(t *testing.T) {
	t.Parallel()
	for name, values := range map[string][]string{
		"HEADWAY_POLL_INTERVAL":      {"10ms", "24h"},
		"HEADWAY_DIGEST_CONCURRENCY": {"1", "100"},
		"HEADWAY_DIGEST_SCHEDULE":    {"@every 1s"},
		"HEADWAY_HTTP_ADDR":          {":0", ":65535"},
		"HEADWAY_ALLOWED_ORIGINS":    {"http://[::1]:8080"},
	} {
		for _, value := range values {
			if _, err := load(name, value); err != nil {
				t.Error(err)
			}
		}
	}
}

// TestTheTextOfAFileIsTaken has values end as files do, and be quoted as in a file for docker run --env-file.
func TestTheTextOfAFileIsTaken(t *testing.T) {
	t.Parallel()
	pool, err := worker.ParseDatabaseURL("postgres://me:secret@db/app\r\n", "")
	if err != nil || pool.ConnConfig.Database != "app" {
		t.Errorf("%v, %v", pool, err)
	}
	if _, err := load("HEADWAY_SMTP_URL", "smtp://mail.example.com\n", "HEADWAY_MAIL_FROM", "headway@example.com"); err != nil {
		t.Error(err)
	}
	key := strings.Repeat("k", 32)
	for _, name := range []string{"HEADWAY_TOKEN_SECRET", "HEADWAY_TOKEN_AUDIENCE"} { // of which every character counts
		for _, value := range []string{key + "\n", key + "\r", `"` + key + `"`, "'" + key + "'"} {
			_, err := load("HEADWAY_HTTP_ADDR", ":8080", name, value)
			if err == nil || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), "leave out the line break, space or quote") {
				t.Errorf("%s is %q: got %v", name, value, err)
			} else if name == "HEADWAY_TOKEN_SECRET" && strings.Contains(err.Error(), key) {
				t.Errorf("the error tells: %v", err)
			}
		}
	}
}

func TestAKeySetNeedsAnAddress(t *testing.T) {
	t.Parallel()
	if _, err := load("HEADWAY_TOKEN_JWKS", "/nowhere.json"); err == nil || !strings.Contains(err.Error(), "HEADWAY_HTTP_ADDR") {
		t.Errorf("%v", err)
	}
}

func TestEveryProblemIsReportedAtOnce(t *testing.T) {
	t.Parallel()
	_, err := load(
		"HEADWAY_POLL_INTERVAL", "often",
		"HEADWAY_DIGEST_SCHEDULE", "now",
		"HEADWAY_DIGEST_CONCURRENCY", "many",
		"HEADWAY_HTTP_ADDR", "nowhere",
		"HEADWAY_LOG_FORMAT", "xml",
	)
	if err == nil || strings.Count(err.Error(), "\n") != 4 {
		t.Errorf("want five lines: %v", err)
	}
}

func TestAMisspeltVariableIsFound(t *testing.T) {
	t.Parallel()
	got := worker.Unknown([]string{
		"HEADWAY_SMPT_URL=smtp://me:s3cr3t@host", "HEADWAY_SMTP_URL=smtp://host", "HEADWAY_DIGEST=", "PATH=/bin", "headway_smtp_url=x", "HEADWAY=1",
		"DATABASE_URL=postgres://host/db", "HEADWAY_POSTGRES_BINDIR=/usr/lib/postgresql/15/bin", "HEADWAY_LISTEN_URL=",
		"HEADWAY_SERVICE_HOST=10.0.0.1", "HEADWAY_SERVICE_PORT=80", "HEADWAY_SERVICE_PORT_HTTP=80", "HEADWAY_PORT=tcp://10.0.0.1:80",
		"HEADWAY_PORT_80_TCP_ADDR=10.0.0.1", "HEADWAY_POSTGRES_PORT_5432_TCP=tcp://10.0.0.2:5432",
	})
	if want := []string{"HEADWAY_DIGEST", "HEADWAY_SMPT_URL"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestSecretsAreNotPrinted(t *testing.T) {
	t.Parallel()
	const secret = "s3cr3t"
	for _, pairs := range [][]string{
		{"DATABASE_URL", "postgres://me:" + secret + "@host:port/db"},
		{"DATABASE_URL", "host=db password=" + secret + " sslmode=perhaps"},
		{"DATABASE_URL", "host=db password = " + secret + " port=x"},
		{"DATABASE_URL", "host=db password='a " + secret},
		{"DATABASE_URL", "host=db password=a " + secret + " port=5432"},
		{"DATABASE_URL", "postgres://me:" + secret + "/db"},
		{"DATABASE_URL", secret},
		{"HEADWAY_LISTEN_URL", "postgres://me:" + secret + "@host:5432/db?sslmode=perhaps"},
		{"HEADWAY_SMTP_URL", "smtp://me:" + secret + "%@host"},
		{"HEADWAY_SMTP_URL", "smtp://me:" + secret + "@host?tls=" + secret},
		{"HEADWAY_APP_URL", "https://me:" + secret + "@host"},
		{"HEADWAY_APP_URL", "https://" + secret + "@host"},
		{"HEADWAY_APP_URL", "ftp://me:" + secret + "@host"},
		{"HEADWAY_APP_URL", "https://me:" + secret + "#@host"},
		{"HEADWAY_APP_URL", "https://me:%" + secret + "@host"},
		{"HEADWAY_TOKEN_SECRET", secret},
	} {
		if _, err := load(pairs...); err == nil || strings.Contains(err.Error(), secret) {
			t.Errorf("%q: %v", pairs, err)
		}
	}

	c, err := load(
		"HEADWAY_SMTP_URL", "smtps://me:"+secret+"@host", "HEADWAY_MAIL_FROM", "a@example.com",
		"HEADWAY_TOKEN_SECRET", strings.Repeat(secret, 6), "HEADWAY_HTTP_ADDR", ":0",
	)
	if err != nil {
		t.Fatal(err)
	}
	asJSON, err := json.Marshal(c.SMTP)
	if err != nil {
		t.Fatal(err)
	}
	var logged strings.Builder
	slog.New(slog.NewTextHandler(&logged, nil)).Info("", slog.Any("smtp", *c.SMTP), slog.Any("token", c.TokenSecret))
	printed := fmt.Sprintf("%v %+v %#v %s %d %s %s", c, *c.SMTP, *c.SMTP, c.TokenSecret, c.TokenSecret, asJSON, logged.String())
	if strings.Contains(printed, secret) || strings.Contains(printed, "115 51 99") {
		t.Error(printed)
	}
}
