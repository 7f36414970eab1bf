package smtp

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"headway/internal/address"
)

// session is a connection on which mail can be sent: greeted, encrypted, logged in.
type session struct {
	conn     *conn
	client   *smtp.Client
	timeouts Timeouts
	utf8     bool        // whether the server accepts non-ASCII addresses (SMTPUTF8)
	most     int         // the largest mail that it takes, in bytes (SIZE); 0: it does not say
	idle     *time.Timer // ends it while it is idle in the pool; nil: it has not been there
}

// dial connects and logs in. Even with an error, it reports what it has found out so far.
func (p *Pool) dial(ctx context.Context) (s *session, report Report, err error) {
	ctx, cancel := context.WithTimeout(ctx, p.Timeouts.Connect)
	defer cancel()
	raw, err := (&net.Dialer{}).DialContext(ctx, "tcp", p.Server.Addr())
	if err != nil {
		return nil, report, failure("connect", ended(ctx, err))
	}
	s = &session{conn: &conn{Conn: raw, read: p.Timeouts.Command, write: p.Timeouts.Write}, timeouts: p.Timeouts}
	defer s.conn.limit(ctx)()

	step, err := s.open(ctx, p)
	s.report(&report)
	if err != nil {
		_ = s.conn.Close() // the first error is the one to report
		return nil, report, failure(step, ended(ctx, err))
	}
	report.LoggedIn = p.Server.User != ""
	return s, report, nil
}

// open sets up the session. It returns the step that failed.
func (s *session) open(ctx context.Context, p *Pool) (step string, err error) {
	config := &tls.Config{ServerName: p.Server.Host, RootCAs: p.RootCAs, MinVersion: tls.VersionTLS12}
	switch p.Server.TLS {
	case Implicit:
		encrypted := tls.Client(s.conn.Conn, config)
		if err := encrypted.HandshakeContext(ctx); err != nil {
			return "TLS", err
		}
		s.conn.encrypt(encrypted)
		s.client = smtp.NewClient(s.conn)
	case StartTLS:
		if s.client, err = smtp.NewClientStartTLS(s.conn, config); err != nil {
			if strings.Contains(err.Error(), "doesn't support STARTTLS") { // the error has no exported value
				err = fmt.Errorf("%w: for a mail catcher on this machine, add ?tls=none to the URL", err)
			}
			return s.beforeLogin(stepStartTLS, err), err
		}
	case None:
		s.client = smtp.NewClient(s.conn)
	default:
		return "connect", fmt.Errorf("no such TLS mode: %q", p.Server.TLS)
	}
	s.client.CommandTimeout, s.client.SubmissionTimeout = s.timeouts.Command, s.timeouts.Reply
	if err := s.client.Hello(localName(s.conn.LocalAddr())); err != nil {
		return s.beforeLogin("EHLO", err), err
	}
	if err := s.login(p.Server); err != nil {
		return stepAuth, err
	}
	// Asked now: after RSET the client would ask again, and mistake a dead connection for a server that offers nothing.
	s.utf8, _ = s.client.Extension("SMTPUTF8")
	s.most, _ = s.client.MaxMessageSize()
	return "", nil
}

// beforeLogin returns the step that failed where the client reports another: the client reads the greeting only with
// its first command, and encrypts only with the first command after STARTTLS.
func (s *session) beforeLogin(step string, err error) string {
	switch {
	case !bytes.HasPrefix(s.conn.greeting, []byte("220")):
		return "greeting"
	case strings.Contains(err.Error(), "tls: "): // the error for an alert has no exported type
		return stepStartTLS
	}
	return step
}

func (s *session) login(server Server) error {
	switch {
	case server.User == "":
		return nil
	case server.TLS == None && !server.InsecureAuth:
		return errors.New("refusing to log in without TLS")
	case s.client.SupportsAuth(sasl.Plain):
		return s.client.Auth(sasl.NewPlainClient("", server.User, string(server.Password)))
	case s.client.SupportsAuth(sasl.Login):
		return s.client.Auth(sasl.NewLoginClient(server.User, string(server.Password)))
	}
	return errors.New("the server offers neither PLAIN nor LOGIN")
}

// send sends one mail. After an error the session is only good for reset or close.
func (s *session) send(ctx context.Context, from, to string, mail []byte) error {
	defer s.conn.limit(ctx)()
	fail := func(step string, err error) error { return failure(step, ended(ctx, err)) }

	from, to = address.ASCII(from), address.ASCII(to)
	options := &smtp.MailOptions{Size: int64(len(mail)), UTF8: !address.IsASCII(from) || !address.IsASCII(to)}
	if options.UTF8 && !s.utf8 {
		return &Error{Outcome: Rejected, Step: stepCheck, Text: "the server does not accept this non-ASCII address (SMTPUTF8), which has no ASCII form"}
	}
	if s.most > 0 && len(mail) > s.most {
		return &Error{Outcome: Rejected, Step: stepCheck, Text: fmt.Sprintf("the mail has %d bytes, and the server accepts at most %d (SIZE)", len(mail), s.most)}
	}
	if err := accepted(s.client.Mail(from, options)); err != nil {
		return fail(stepMail, err)
	}
	if err := accepted(s.client.Rcpt(to, nil)); err != nil {
		return fail(stepRcpt, err)
	}
	body, err := s.client.Data()
	if err != nil {
		return fail(stepData, err)
	}
	if _, err := body.Write(mail); err != nil {
		return fail(stepBody, err)
	}

	s.conn.patience(s.timeouts.Reply)
	defer s.conn.patience(s.timeouts.Command)
	before := s.conn.readSoFar()
	_, err = body.CloseWithResponse()
	if err = accepted(err); err == nil {
		return nil
	}
	if s.conn.readSoFar() == before {
		// The last write failed, and with it the final dot, which is written last.
		return fail(stepBody, err)
	}
	failed := failure(stepReply, ended(ctx, err))
	if failed.Code == 0 {
		failed.Outcome = Unknown
	}
	return failed
}

// reset makes the session ready for another mail (RFC 5321, section 4.1.1.5).
func (s *session) reset(ctx context.Context) error {
	defer s.conn.limit(ctx)()
	return s.client.Reset()
}

// close ends the session, politely if that takes no time.
func (s *session) close(polite bool) {
	ctx, cancel := context.WithTimeout(context.Background(), min(s.timeouts.Command, 5*time.Second))
	defer cancel()
	defer s.conn.limit(ctx)()
	if !polite || s.client.Quit() != nil {
		_ = s.client.Close() // abandon it
	}
}

// ended reports why ctx ended rather than the timeout that this caused.
func ended(ctx context.Context, err error) error {
	if ctx.Err() == nil || answer(err) != nil {
		return err
	}
	return fmt.Errorf("%w: %w", context.Cause(ctx), err)
}

// validName matches a host name that is valid in EHLO.
var validName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)+$`)

// localName returns the name for EHLO: a full host name, or else an address literal (RFC 5321, section 4.1.4).
func localName(local net.Addr) string {
	if name, err := os.Hostname(); err == nil && validName.MatchString(name) {
		return name
	}
	host, _, err := net.SplitHostPort(local.String())
	ip := net.ParseIP(host)
	switch {
	case err != nil || ip == nil:
		return "localhost"
	case ip.To4() != nil:
		return "[" + ip.String() + "]"
	}
	return "[IPv6:" + ip.String() + "]"
}

// check makes the checks that do not need the server.
func check(from, to string, mail []byte) error {
	switch {
	case !address.Plain(from):
		return &Error{Outcome: Rejected, Step: stepCheck, Text: fmt.Sprintf("the sender %q is not one plain address", from)}
	case !address.Plain(to):
		return &Error{Outcome: Refused, Step: stepCheck, Text: fmt.Sprintf("%q is not one plain address", to)}
	}
	// Servers disagree on the meaning of a lone CR or LF, which makes it possible to pass off one mail as two.
	for line := range bytes.Lines(mail) {
		text, whole := bytes.CutSuffix(line, []byte("\r\n"))
		if !whole || len(text) > 998 || bytes.IndexByte(text, '\r') >= 0 || bytes.IndexByte(text, 0) >= 0 || !address.IsASCII(text) {
			return &Error{Outcome: Rejected, Step: stepCheck, Text: "the mail is not made of 7-bit lines of at most 998 bytes that end in CRLF"}
		}
	}
	return nil
}
