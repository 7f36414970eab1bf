package smtp

import (
	"context"
	"crypto/tls"
	"strings"
	"time"
)

// Report is what a server says about itself.
type Report struct {
	Greeting    string    // empty: none
	TLS         string    // the version, such as TLS 1.3; empty: none
	Certificate string    // whom it was issued to
	ExpiresAt   time.Time // when the certificate expires
	LoggedIn    bool
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
		r.TLS, r.Certificate = tls.VersionName(state.Version), oneLine(strings.Join(certificate.DNSNames, ", "))
		r.ExpiresAt = certificate.NotAfter
	}
}
