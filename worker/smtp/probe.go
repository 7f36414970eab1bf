package smtp

import (
	"context"
	"crypto/tls"
	"strings"
	"time"
)

// Report is what a server says about itself.
type Report struct {
	Addr     string
	Greeting string // empty: none

	TLS         string    // the version, such as TLS 1.3; empty: none
	Certificate string    // whom it was issued to
	Issuer      string    // who signed it
	ExpiresAt   time.Time // when it expires

	Auth     []string // the login mechanisms that it offers now, after TLS
	LoggedIn bool
	SMTPUTF8 bool
	MaxSize  int // of a mail, in bytes; 0: it does not say
}

// Probe connects, logs in if there is a user, and says goodbye, without sending anything. Even with an error, the
// report has whatever was found out before it.
func (p *Pool) Probe(ctx context.Context) (Report, error) {
	s, report, err := p.dial(ctx)
	if err != nil {
		return report, err
	}
	s.close(true)
	return report, nil
}

// report adds what is known so far.
func (s *session) report(r *Report) {
	s.conn.mu.Lock()
	r.Greeting = oneLine(strings.TrimPrefix(string(s.conn.greeting), "220 "))
	s.conn.mu.Unlock()
	if s.client == nil {
		return
	}
	state, ok := s.client.TLSConnectionState()
	if encrypted, implicit := s.conn.Conn.(*tls.Conn); implicit {
		state, ok = encrypted.ConnectionState(), true
	}
	if ok && len(state.PeerCertificates) > 0 {
		certificate := state.PeerCertificates[0]
		r.TLS, r.ExpiresAt = tls.VersionName(state.Version), certificate.NotAfter
		r.Certificate, r.Issuer = oneLine(strings.Join(certificate.DNSNames, ", ")), oneLine(certificate.Issuer.String())
	}
	if _, mechanisms := s.client.Extension("AUTH"); mechanisms != "" {
		r.Auth = strings.Fields(mechanisms)
	}
	r.SMTPUTF8, _ = s.client.Extension("SMTPUTF8")
	r.MaxSize, _ = s.client.MaxMessageSize()
}
