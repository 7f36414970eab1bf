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

func isLoopback(host string) bool {
	return host == "localhost" || net.ParseIP(host).IsLoopback()
}
