package worker_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"headway/worker"
	"headway/worker/mail"
)

// Whatever stands in the environment is either refused, by name and without its secrets, or good to work with.
func FuzzLoadConfig(f *testing.F) {
	names := []string{
		"DATABASE_URL", "HEADWAY_LISTEN_URL", "HEADWAY_SMTP_URL", "HEADWAY_TOKEN_SECRET", // these may hold a secret
		"HEADWAY_POLL_INTERVAL", "HEADWAY_MAIL_FROM", "HEADWAY_DIGEST_SCHEDULE", "HEADWAY_DIGEST_CONCURRENCY", "HEADWAY_APP_URL",
		"HEADWAY_HTTP_ADDR", "HEADWAY_ALLOWED_ORIGINS", "HEADWAY_LOG_FORMAT",
	}
	const secret = "s3cr3t-of-theirs"
	seed := func(values map[string]string) {
		v := make([]string, len(names))
		for i, name := range names {
			v[i] = values[name]
		}
		f.Add(v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7], v[8], v[9], v[10], v[11])
	}
	seed(nil)
	seed(map[string]string{
		"DATABASE_URL": "postgres://app:§@pooler:6432/app?sslmode=require", "HEADWAY_LISTEN_URL": "host=db user=app password='§' dbname=app",
		"HEADWAY_SMTP_URL": "smtps://me:§@mail.example.com?rate=600/m", "HEADWAY_TOKEN_SECRET": "§§§", "HEADWAY_POLL_INTERVAL": "1m30s",
		"HEADWAY_MAIL_FROM": "Headway <headway@example.com>", "HEADWAY_DIGEST_SCHEDULE": "CRON_TZ=Europe/Lisbon 30 8 * * 1-5",
		"HEADWAY_DIGEST_CONCURRENCY": "8", "HEADWAY_APP_URL": "https://app.example.com/team", "HEADWAY_HTTP_ADDR": "[::1]:8080",
		"HEADWAY_ALLOWED_ORIGINS": "https://app.example.com,http://localhost:3000", "HEADWAY_LOG_FORMAT": "json",
	})
	for name, values := range map[string][]string{
		"DATABASE_URL": {
			"postgres://me:§@host:port/db", "postgres://me:§@host/db?sslmode=perhaps", "postgres://host:x/db?password=§", "host=db password=§ port=x",
			"host=db password='a §", "host=db password = § port=x", "password=§", "postgres://me:§%@host", "postgres:§", "§", "postgres://[", "a=b\nc",
			"postgresql://me:§@h1:1,h2:x/db", "postgres://me:§ @host/db", "host=db\npassword=§\nport=x", `host=db password=a\ § port=x`,
		},
		"HEADWAY_SMTP_URL":           {"smtp://me:§@host?tls=§", "smtp://me:§%@host", "smtp://§@host", "smtp://host/§", "smtp://me:§@host:x", "me:§@host", "smtp://h?tls=none"},
		"HEADWAY_TOKEN_SECRET":       {"§", "§§"},
		"HEADWAY_POLL_INTERVAL":      {"5", "1ms", "-1s", "2562048h", "1e9s", "often", "1h1h", "\n"},
		"HEADWAY_MAIL_FROM":          {"a@b, c@d", `"a b"@example.com`, "a@b.", "a@[127.0.0.1]", "wörker@example.com", "=?utf-8?q?W=C3=B6rker?= <a@b>", "\r\nBcc: <a@b>", "(x) a@b", "g: a@b;"},
		"HEADWAY_DIGEST_SCHEDULE":    {"TZ=", "TZ= * * * * *", "CRON_TZ=UTC", " TZ=UTC * * * * *", "TZ=UTC\t* * * * *", "0 0 30 2 *", "@every 1ns", "@every -1h", "@every 2562047h", "@reboot", "*/0 * * * *", "60 * * * *", "0-99999999999 * * * *", "? ? ? ? ?", "* * * * * *", "TZ=../UTC * * * * *", "0 0 * * 7", "@every 9223372036.854775807s"},
		"HEADWAY_DIGEST_CONCURRENCY": {"0", "1", "100", "101", "-9223372036854775808", "1_000", "0x10", " 4"},
		"HEADWAY_APP_URL":            {"//x", "http:", "https://", "https://a>b/", "https://a b", "https://a/<script>", "https://me:§@a", "https://a?b=c#d", "https://a/%zz", "https://a\"b", "HTTPS://A"},
		"HEADWAY_HTTP_ADDR":          {":", ":0", ":65536", ":-1", "8080", "::8080", "host:http"},
		"HEADWAY_ALLOWED_ORIGINS":    {"*", "null", "https://a/", ",", "https://a,,https://b", "https://a\nhttps://b", "https://me@a", "file://a"},
		"HEADWAY_LOG_FORMAT":         {"xml", "JSON", "text\n"},
	} {
		for _, value := range values {
			seed(map[string]string{name: value})
			seed(map[string]string{name: value, "HEADWAY_SMTP_URL": "smtp://mail.example.com", "HEADWAY_MAIL_FROM": "a@b", "HEADWAY_HTTP_ADDR": ":1"})
		}
	}
	named := regexp.MustCompile(`^(DATABASE_URL|HEADWAY_[A-Z_]+)( is "|: | asks for )`)
	since := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	digest := mail.Content{
		Token: "00000000-0000-4000-8000-000000000000", Email: "abe@example.com", Counts: mail.Counts{Chat: 1},
		Projects: []mail.Project{{ID: 1, Name: "Website relaunch", Lines: []mail.Line{{Kind: "chat", Channel: "project_1", Messages: 1, Content: "Hello"}}}},
	}
	f.Fuzz(func(t *testing.T, database, listen, smtpURL, token, poll, from, schedule, concurrency, app, addr, origins, format string) {
		values := map[string]string{}
		for i, value := range []string{database, listen, smtpURL, token, poll, from, schedule, concurrency, app, addr, origins, format} {
			if i < 4 {
				value = strings.ReplaceAll(value, "§", secret)
			}
			values[names[i]] = value
		}
		c, err := worker.LoadConfig(func(name string) string { return values[name] })
		if printed := fmt.Sprintf("%v %+v %v", err, c.SMTP, c.TokenSecret); strings.Contains(printed, secret) {
			t.Errorf("a secret is printed: %s", printed)
		}
		if err != nil {
			for line := range strings.SplitSeq(err.Error(), "\n") {
				if !named.MatchString(line) {
					t.Errorf("this names no variable: %q in %q", line, err)
				}
			}
			return
		}

		next := c.DigestSchedule.Next(since)
		if c.PollInterval < 10*time.Millisecond || c.DigestConcurrency < 1 || c.DigestConcurrency > 100 || !next.After(since) {
			t.Errorf("%+v, first at %v", c, next)
		}
		if c.AppURL != nil && strings.ContainsAny(c.AppURL.String(), "<>\" \r\n") {
			t.Errorf("links to %s", c.AppURL)
		}
		if c.SMTP != nil {
			if _, err := (&mail.Composer{From: c.MailFrom.Address, AppURL: c.AppURL}).Compose(digest, since); err != nil {
				t.Errorf("no digest could be sent: %v", err)
			}
		}
	})
}
