// Package smtp hands mail to a server: over pooled connections, with a deadline on every step, and with an outcome that
// says what may be done next.
//
// What a mail says belongs to package mail, and what becomes of a digest after an outcome is up to the database.
package smtp

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"headway/internal/secret"
)

// Server is a server that mail is submitted to. [ParseURL] makes one.
type Server struct {
	Host string
	Port string

	// User and Password are for logging in (RFC 4954), with PLAIN or else LOGIN. No user: no login.
	User     string
	Password secret.String

	TLS TLS

	// InsecureAuth sends User and Password even without TLS. Otherwise that is refused.
	InsecureAuth bool

	// Rate is how many mails per second the server takes. 0: unlimited.
	Rate float64
}

// TLS is how a connection is protected. The certificate is always verified, against the system's roots; SSL_CERT_FILE
// and SSL_CERT_DIR name others.
type TLS string

// The ways to protect a connection.
const (
	StartTLS TLS = "starttls" // starts in the clear and must upgrade (RFC 3207)
	Implicit TLS = "implicit" // TLS from the first byte (RFC 8314)
	None     TLS = "none"     // for a mail catcher on a developer's machine
)

// Addr is host:port.
func (s Server) Addr() string { return net.JoinHostPort(s.Host, s.Port) }

const want = "want smtp://user:password@host:587 or smtps://host:465, or for a mail catcher on this machine smtp://localhost:1025?tls=none"

// ParseURL parses a server's URL. smtp://host (port 587) starts in the clear and must upgrade to TLS, smtps://host
// (port 465) is TLS from the start. Special characters in user and password are written as %XX. Parameters:
//
//   - tls=none stays in the clear, for a mail catcher on a developer's machine; smtp:// only.
//   - auth=insecure, with tls=none, sends user and password all the same.
//   - rate=14, rate=600/m or rate=1000/h is how many mails the server takes per second, minute or hour.
//
// The error says what would be right and contains nothing of the URL.
func ParseURL(s string) (Server, error) {
	u, err := url.Parse(strings.TrimSpace(s)) // the text of a file ends in a line break
	if err != nil {
		return Server{}, errors.New(want + "; special characters in user and password are written as %XX")
	}
	if u.Hostname() == "" || strings.ContainsFunc(u.Hostname(), notHost) || strings.Trim(u.Path, "/") != "" || u.Fragment != "" {
		return Server{}, errors.New(want)
	}
	server := Server{Host: u.Hostname()}
	switch u.Scheme {
	case "smtp":
		server.Port, server.TLS = "587", StartTLS
	case "smtps":
		server.Port, server.TLS = "465", Implicit
	default:
		return Server{}, errors.New(want)
	}
	server.Port = cmp.Or(u.Port(), server.Port)
	if port, err := strconv.ParseUint(server.Port, 10, 16); err != nil || port == 0 {
		return Server{}, errors.New("the port is a number from 1 to 65535")
	}
	if err := server.parameters(u.RawQuery); err != nil {
		return Server{}, err
	}
	if u.User != nil {
		password, _ := u.User.Password()
		server.User, server.Password = u.User.Username(), secret.String(password)
		if server.User == "" || password == "" || strings.ContainsRune(server.User+password, 0) {
			return Server{}, errors.New("want both a user and a password, or neither")
		}
	}
	switch {
	case server.User != "" && server.TLS == None && !server.InsecureAuth:
		return Server{}, errors.New("tls=none would send the password in the clear: leave out one of the two, or add auth=insecure")
	case server.InsecureAuth && (server.User == "" || server.TLS != None):
		return Server{}, errors.New("auth=insecure is for a user and a password together with tls=none")
	}
	return server, nil
}

func notHost(r rune) bool { return r <= ' ' || r == 0x7f || strings.ContainsRune(`<>"\/@`, r) }

func (s *Server) parameters(query string) error {
	values, err := url.ParseQuery(query)
	if err != nil {
		return errors.New("the parameters cannot be read")
	}
	for name, values := range values {
		switch {
		case name == "tls" && s.TLS != Implicit && slices.Equal(values, []string{"none"}):
			s.TLS = None
		case name == "auth" && slices.Equal(values, []string{"insecure"}):
			s.InsecureAuth = true
		case name == "rate" && len(values) == 1:
			if s.Rate, err = parseRate(values[0]); err != nil {
				return err
			}
		default:
			return errors.New("the parameters are tls=none (smtp:// only), auth=insecure and rate=14, rate=600/m or rate=1000/h")
		}
	}
	return nil
}

// parseRate parses a number of mails per second, minute (/m) or hour (/h).
func parseRate(s string) (float64, error) {
	seconds := 1.0
	if number, ok := strings.CutSuffix(s, "/m"); ok {
		s, seconds = number, 60
	} else if number, ok := strings.CutSuffix(s, "/h"); ok {
		s, seconds = number, 3600
	}
	n, err := strconv.ParseUint(s, 10, 31)
	if err != nil || n == 0 {
		return 0, errors.New("rate is a whole number of mails, such as rate=14, rate=600/m or rate=1000/h")
	}
	return float64(n) / seconds, nil
}

// EnvDecode reads a server from an environment variable, for sethvargo/go-envconfig.
func (s *Server) EnvDecode(_ context.Context, value string) (err error) {
	*s, err = ParseURL(value)
	return err
}
