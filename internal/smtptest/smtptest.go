// Package smtptest is a mail server that keeps what it receives, for tests and for the demo: go-smtp's own server in
// this process, which can be made to fail in any way that such a server does.
//
// Behaviour that go-smtp cannot show (a greeting that never comes, nonsense) is for the tests of package smtp to script
// themselves.
package smtptest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

// Message is a mail that the server has accepted.
type Message struct {
	From, To string
	UTF8     bool   // it came with SMTPUTF8
	User     string // who was logged in; empty: nobody
	TLS      bool
	Conn     string // the client's end of the connection it arrived on
	Data     []byte
}

// Step is something that a client asked for.
type Step struct {
	Name    string  // AUTH, MAIL, RCPT or, when the whole mail has been read, DATA
	Message Message // as far as it is known
}

// Errors that a fault may return to have the connection cut.
var (
	ErrHangUp        = errors.New("hang up")             // without a reply
	ErrTakeAndHangUp = errors.New("take it and hang up") // at DATA: the mail is kept, but the client is not told
)

// Reply is a fault: the server's reply in place of acceptance. The enhanced code (RFC 3463) is like "5.1.1"; empty:
// none.
func Reply(code int, enhanced, text string) error {
	reply := &smtp.SMTPError{Code: code, EnhancedCode: smtp.NoEnhancedCode, Message: text}
	if _, err := fmt.Sscanf(enhanced, "%d.%d.%d", &reply.EnhancedCode[0], &reply.EnhancedCode[1], &reply.EnhancedCode[2]); err != nil {
		reply.EnhancedCode = smtp.NoEnhancedCode
	}
	return reply
}

// Options change how the server behaves. The zero value is a catcher: no TLS, no login, everything is accepted.
type Options struct {
	TLS            *tls.Config // nil: none
	Implicit       bool        // TLS from the first byte rather than STARTTLS
	User, Password string      // who may send; empty: anybody
	Mechanisms     []string    // of login. Default: PLAIN and LOGIN
	UTF8           bool        // SMTPUTF8 is offered
	MaxBytes       int64       // 0: any size
}

// Server is a running server.
type Server struct {
	options  Options
	server   *smtp.Server
	listener net.Listener
	served   sync.WaitGroup

	mu       sync.Mutex
	messages []Message
	steps    []string
	open     int
	fault    func(Step) error
	changed  chan struct{} // closed when something changes
}

// Start runs a server on a free port of localhost.
func Start(options Options) (*Server, error) {
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("mail catcher: %w", err)
	}
	s := &Server{options: options, listener: listener, changed: make(chan struct{})}
	s.server = smtp.NewServer(smtp.BackendFunc(s.newSession))
	s.server.Domain = "localhost"
	s.server.ErrorLog = log.New(io.Discard, "", 0)
	s.server.EnableSMTPUTF8 = options.UTF8
	s.server.MaxMessageBytes = options.MaxBytes
	s.server.AllowInsecureAuth = options.TLS == nil
	if options.Implicit {
		listener = tls.NewListener(listener, options.TLS)
	} else {
		s.server.TLSConfig = options.TLS
	}
	s.served.Go(func() { _ = s.server.Serve(listener) }) // it ends with Close
	return s, nil
}

// Close stops the server and cuts its connections.
func (s *Server) Close() error {
	err := s.server.Close()
	_ = s.listener.Close() // the server does so only once it has begun to serve
	s.served.Wait()
	return err
}

// URL is the server's URL as in HEADWAY_SMTP_URL.
func (s *Server) URL() string {
	login, port := "", strconv.Itoa(s.listener.Addr().(*net.TCPAddr).Port)
	if s.options.User != "" {
		login = url.UserPassword(s.options.User, s.options.Password).String() + "@"
	}
	switch {
	case s.options.TLS == nil && s.options.User != "":
		return "smtp://" + login + "localhost:" + port + "?tls=none&auth=insecure"
	case s.options.TLS == nil:
		return "smtp://localhost:" + port + "?tls=none"
	case s.options.Implicit:
		return "smtps://" + login + "localhost:" + port
	}
	return "smtp://" + login + "localhost:" + port
}

// Fail makes the server ask at every step whether to go on. The function returns the reply, or one of the errors above,
// or nil to go on. It may be called concurrently, and may block to make the client wait. With a nil function, nothing
// fails any more.
func (s *Server) Fail(fault func(Step) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = fault
}

// Messages returns the mails accepted so far, in order.
func (s *Server) Messages() []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.messages)
}

// Steps returns the names of all steps so far.
func (s *Server) Steps() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.steps)
}

// Open returns how many connections have said EHLO and not yet ended.
func (s *Server) Open() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.open
}

// Wait waits for that many messages and returns all there are.
func (s *Server) Wait(ctx context.Context, messages int) ([]Message, error) {
	for {
		s.mu.Lock()
		got, changed := slices.Clone(s.messages), s.changed
		s.mu.Unlock()
		if len(got) >= messages {
			return got, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return got, fmt.Errorf("waiting for %d mails, %d came: %w", messages, len(got), context.Cause(ctx))
		}
	}
}

func (s *Server) newSession(conn *smtp.Conn) (smtp.Session, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open++
	_, encrypted := conn.TLSConnectionState()
	return &session{server: s, conn: conn, blank: Message{Conn: conn.Conn().RemoteAddr().String(), TLS: encrypted}}, nil
}

// session is one connection.
type session struct {
	server  *Server
	conn    *smtp.Conn
	blank   Message // common to every message of the session
	message Message
	once    sync.Once
}

// step records a step and fails if it should.
func (s *session) step(name string) error {
	s.server.mu.Lock()
	s.server.steps = append(s.server.steps, name)
	fault := s.server.fault
	s.server.mu.Unlock()
	if fault == nil {
		return nil
	}
	err := fault(Step{Name: name, Message: s.message})
	switch {
	case errors.Is(err, ErrTakeAndHangUp):
		s.keep()
		fallthrough
	case errors.Is(err, ErrHangUp):
		_ = s.conn.Conn().Close() // the reply then goes nowhere
	}
	return err
}

func (s *session) keep() {
	s.server.mu.Lock()
	defer s.server.mu.Unlock()
	s.server.messages = append(s.server.messages, s.message)
	close(s.server.changed)
	s.server.changed = make(chan struct{})
}

func (s *session) AuthMechanisms() []string {
	switch {
	case s.server.options.User == "":
		return nil
	case s.server.options.Mechanisms != nil:
		return s.server.options.Mechanisms
	}
	return []string{sasl.Plain, sasl.Login}
}

func (s *session) Auth(mechanism string) (sasl.Server, error) {
	check := func(user, password string) error {
		if err := s.step("AUTH"); err != nil {
			return err
		}
		if user != s.server.options.User || password != s.server.options.Password {
			return Reply(535, "5.7.8", "wrong user or password")
		}
		s.blank.User = user
		return nil
	}
	switch mechanism {
	case sasl.Plain:
		return sasl.NewPlainServer(func(_, user, password string) error { return check(user, password) }), nil
	case sasl.Login:
		return &loginServer{check: check}, nil
	}
	return nil, smtp.ErrAuthUnknownMechanism
}

func (s *session) Mail(from string, options *smtp.MailOptions) error {
	s.message = s.blank
	s.message.From, s.message.UTF8 = from, options.UTF8
	if s.server.options.User != "" && s.blank.User == "" {
		return Reply(530, "5.7.0", "log in first")
	}
	return s.step("MAIL")
}

func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.message.To = to
	return s.step("RCPT")
}

func (s *session) Data(r io.Reader) (err error) {
	if s.message.Data, err = io.ReadAll(r); err != nil {
		return err
	}
	if err := s.step("DATA"); err != nil {
		return err
	}
	s.keep()
	return nil
}

func (s *session) Reset() { s.message = s.blank }

func (s *session) Logout() error {
	s.once.Do(func() {
		s.server.mu.Lock()
		defer s.server.mu.Unlock()
		s.server.open--
	})
	return nil
}

// loginServer is the server side of LOGIN, which go-sasl no longer has.
type loginServer struct {
	user  *string
	check func(user, password string) error
}

func (l *loginServer) Next(response []byte) (challenge []byte, done bool, err error) {
	switch {
	case response == nil:
		return []byte("Username:"), false, nil
	case l.user == nil:
		user := string(response)
		l.user = &user
		return []byte("Password:"), false, nil
	}
	return nil, true, l.check(*l.user, string(response))
}

// TLS makes a server's configuration with a certificate for these hosts (names or addresses), and the root certificates
// that make a client trust it.
func TLS(expires time.Time, hosts ...string) (*tls.Config, *x509.CertPool, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: strings.Join(hosts, " ")}, DNSNames: hosts,
		NotBefore: expires.Add(-90 * 24 * time.Hour), NotAfter: expires,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, nil, err
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, nil, err
	}
	roots := x509.NewCertPool()
	roots.AddCert(certificate)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}, roots, nil
}
