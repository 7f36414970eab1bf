package smtp_test

import (
	"bufio"
	"cmp"
	"io"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"headway/internal/smtptest"
	"headway/worker/smtp"
)

const (
	from = "headway@example.com"
	to   = "abe@example.com"
)

var mail = []byte("Subject: Hello\r\n\r\nHello Abe,\r\n.this line begins with a dot\r\n")

// short are timeouts that a test can wait for, and long enough for a server that does answer.
var short = smtp.Timeouts{Connect: 10 * time.Second, Command: 3 * time.Second, Write: 3 * time.Second, Reply: 3 * time.Second, Total: 30 * time.Second}

// catch starts a server that does as it is told.
func catch(t testing.TB, options smtptest.Options) *smtptest.Server {
	t.Helper()
	server, err := smtptest.Start(options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	return server
}

// newPool makes a pool that is closed when the test ends.
func newPool(t testing.TB, address string, connections int) *smtp.Pool {
	t.Helper()
	server, err := smtp.ParseURL(address)
	if err != nil {
		t.Fatal(err)
	}
	pool := smtp.NewPool(server, connections)
	t.Cleanup(pool.Close)
	return pool
}

// script is a server that a test writes out. It notes what it hears.
type script struct {
	listener net.Listener
	mu       sync.Mutex
	heard    []string
}

// play starts a server that handles each connection with the function, which is told how many there were before.
func play(t *testing.T, handle func(line *line, before int)) (s *script, address string) {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s = &script{listener: listener}
	var lines sync.WaitGroup
	lines.Go(func() {
		for before := 0; ; before++ {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			lines.Go(func() {
				defer conn.Close()
				handle(&line{script: s, conn: conn, reader: bufio.NewReader(conn)}, before)
			})
		}
	})
	t.Cleanup(func() {
		listener.Close()
		lines.Wait()
	})
	address = (&url.URL{Scheme: "smtp", Host: listener.Addr().String(), RawQuery: "tls=none"}).String()
	return s, address
}

// says starts a server to which nothing is a problem but one command, or the end of a mail, and returns its address.
func says(t *testing.T, verb, text string) (address string) {
	t.Helper()
	_, address = play(t, func(l *line, _ int) {
		l.serve(func(heard string) string { return map[string]string{verb: text}[heard] })
	})
	return address
}

// verbs are what the server has heard, without arguments.
func (s *script) verbs() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.heard, " ")
}

// line is one connection of a script.
type line struct {
	script *script
	conn   net.Conn
	reader *bufio.Reader
}

func (l *line) say(reply string) { _, _ = io.WriteString(l.conn, reply+"\r\n") }

// hear returns the verb of the next command, empty when there are no more.
func (l *line) hear() string {
	said, err := l.reader.ReadString('\n')
	if err != nil {
		return ""
	}
	verb, _, _ := strings.Cut(strings.TrimSpace(said), " ")
	l.script.mu.Lock()
	defer l.script.mu.Unlock()
	l.script.heard = append(l.script.heard, verb)
	return verb
}

// body reads a mail to its dot.
func (l *line) body() {
	for {
		if said, err := l.reader.ReadString('\n'); err != nil || said == ".\r\n" {
			return
		}
	}
}

// What a script may do instead of answering.
const (
	hang = "hang" // says nothing more, and waits until the client has gone
	cut  = "cut"  // closes the connection
)

// replies are those of a server to which nothing is a problem; body is for the end of a mail.
var replies = map[string]string{
	"greeting": "220 ready", "EHLO": "250-hello\r\n250-AUTH PLAIN LOGIN\r\n250 SIZE 50000000", "AUTH": "235 welcome", "MAIL": "250 ok",
	"RCPT": "250 ok", "DATA": "354 go on", "body": "250 taken", "RSET": "250 ok", "QUIT": "221 bye",
}

// serve answers every command, as the function says or, where that returns nothing, as usual.
func (l *line) serve(answer func(verb string) string) {
	for verb := "greeting"; verb != ""; {
		if verb == "body" {
			l.body()
		}
		said := cmp.Or(answer(verb), replies[verb])
		switch said {
		case hang:
			_, _ = io.Copy(io.Discard, l.reader)
			return
		case cut:
			return
		}
		l.say(said)
		if verb == "DATA" && strings.HasPrefix(said, "354") {
			verb = "body"
			continue
		}
		verb = l.hear()
	}
}
