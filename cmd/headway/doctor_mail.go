package main

import (
	"context"
	"fmt"
	"net"
	"time"

	"headway/worker/smtp"
)

const (
	// probeTimeout bounds the conversation with the mail server.
	probeTimeout = 30 * time.Second

	// renewBefore is how long before its expiry a certificate should have been renewed.
	renewBefore = 14 * 24 * time.Hour
)

// mail talks to the mail server, up to the point where a mail would begin.
func (d *doctor) mail(ctx context.Context) finding {
	url := d.getenv("HEADWAY_SMTP_URL")
	if url == "" {
		return found(warning, "HEADWAY_SMTP_URL is not set, so no digest is sent: smtp://user:password@host:587 or smtps://host:465")
	}
	server, err := smtp.ParseURL(url)
	if err != nil {
		return found(skipped, "HEADWAY_SMTP_URL is invalid: see configuration")
	}
	pool := smtp.NewPool(server, 1)
	defer pool.Close()
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	report, err := pool.Probe(ctx)
	said := fmt.Sprintf("%s says %q", server.Addr(), report.Greeting)
	switch {
	case err != nil && report.Greeting == "":
		return found(failed, "%s: %s", server.Addr(), err.Error())
	case err != nil:
		return found(failed, "%s, and then: %s", said, err.Error())
	case report.TLS == "" && !isLoopback(server.Host):
		return found(warning, "%s, without TLS: every mail can be read in transit; leave out ?tls=none", said)
	case report.TLS != "" && time.Until(report.ExpiresAt) < renewBefore:
		return found(warning, "%s; its certificate expires on %s: renew it", said, report.ExpiresAt.Format(time.DateOnly))
	}
	if report.TLS != "" {
		said += fmt.Sprintf("; %s, certificate for %s until %s", report.TLS, report.Certificate, report.ExpiresAt.Format(time.DateOnly))
	}
	if report.LoggedIn {
		said += "; logged in as " + server.User
	}
	return found(ok, "%s", said)
}

// sqlDigests looks a day back for those that failed: after that, they are history.
const sqlDigests = `
select
  count(*) filter (where d.state = 'failed' and d.next_attempt_at > now() - interval '1 day'),
  count(*) filter (where d.state = 'held'),
  (select coalesce(extract(epoch from s.oldest_digest_age), 0)::float8 from headway.status s)
from headway.digest d
where d.state in ('held', 'failed')`

// overdue is longer than a digest waits while a worker sends: workers look every half minute.
const overdue = 15 * time.Minute

// digests looks at what became of the mail, and not at the server.
func (d *doctor) digests(ctx context.Context) finding {
	var gone, held int
	var seconds float64
	if err := ask(ctx, d.conn, sqlDigests, &gone, &held, &seconds); err != nil {
		return d.hidden(err)
	}
	waits := time.Duration(seconds * float64(time.Second)).Round(time.Second)
	all := finding{grade: ok}
	report := func(g grade, line string) { all.grade, all.lines = max(all.grade, g), append(all.lines, line) }
	if waits > overdue {
		report(failed, fmt.Sprintf("a digest has waited to be sent for %v: no worker has a mail server (HEADWAY_SMTP_URL), or their logs say why it cannot be reached",
			waits))
	}
	if held > 0 {
		report(warning, plural(held, "digest is", "digests are")+" held, because nobody knows whether the server took the mail: "+
			"look in its log, then `select headway.retry_digest(id) from headway.digest where state = 'held'`, or leave it (docs/mail.md)")
	}
	if gone > 0 {
		report(warning, plural(gone, "digest", "digests")+" failed within a day: `select id, user_id, error from headway.digest where state = 'failed' order by id desc` "+
			"says why; then `select headway.retry_digest(id)`")
	}
	if all.lines == nil {
		return found(ok, "none failed within a day, is held or has waited for long")
	}
	return all
}

func isLoopback(host string) bool {
	return host == "localhost" || net.ParseIP(host).IsLoopback()
}
