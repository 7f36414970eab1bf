package smtp_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"headway/internal/address"
	"headway/internal/smtptest"
	"headway/worker/smtp"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// wantError checks what became of a mail.
func wantError(t testing.TB, err error, outcome smtp.Outcome, step string) {
	t.Helper()
	if e := asError(err); e.Outcome != outcome || e.Step != step {
		t.Fatalf("got %v; want %s at %s", err, outcome, step)
	}
}

func asError(err error) smtp.Error {
	var e *smtp.Error
	if !errors.As(err, &e) {
		return smtp.Error{}
	}
	return *e
}

func TestAMailArrivesAsItIs(t *testing.T) {
	t.Parallel()
	server := catch(t, smtptest.Options{})
	if err := newPool(t, server.URL(), 1).Send(t.Context(), from, to, mail); err != nil {
		t.Fatal(err)
	}
	messages := server.Messages()
	if len(messages) != 1 || messages[0].From != from || messages[0].To != to || messages[0].UTF8 || !bytes.Equal(messages[0].Data, mail) {
		t.Errorf("it got %+v", messages)
	}
}

// TestItIntroducesItselfWithAValidName: some servers refuse any other, such as a host name without a domain.
func TestItIntroducesItselfWithAValidName(t *testing.T) {
	t.Parallel()
	name, _ := os.Hostname()
	for want, local := range map[string]net.Addr{
		"[192.0.2.1]":        &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1},
		"[IPv6:2001:db8::1]": &net.TCPAddr{IP: net.ParseIP("2001:db8::1"), Port: 1},
		"localhost":          &net.UnixAddr{Name: "socket"},
	} {
		if got := smtp.LocalName(local); got != want && (got != name || !strings.Contains(name, ".")) {
			t.Errorf("from %s it is %s, want %s", local, got, want)
		}
	}
}

// TestNothingWaitsForEver has the server stop answering, or cut the connection, at every step.
func TestNothingWaitsForEver(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		verb, step string
		outcome    smtp.Outcome
	}{
		{"greeting", "greeting", smtp.Retry},
		{"EHLO", "EHLO", smtp.Retry},
		{"AUTH", "AUTH", smtp.Retry},
		{"MAIL", "MAIL", smtp.Retry},
		{"RCPT", "RCPT", smtp.Retry},
		{"DATA", "DATA", smtp.Retry},
		{"body", "reply", smtp.Unknown},
	} {
		for _, how := range []string{hang, cut} {
			t.Run(how+" at "+test.verb, func(t *testing.T) {
				t.Parallel()
				_, address := play(t, func(l *line, _ int) {
					l.serve(func(verb string) string {
						if verb == test.verb {
							return how
						}
						return ""
					})
				})
				pool := newPool(t, strings.Replace(address, "smtp://", "smtp://user:secret@", 1)+"&auth=insecure", 1)
				if how == hang {
					pool.Timeouts = short
				}
				wantError(t, pool.Send(t.Context(), from, to, mail), test.outcome, test.step)
			})
		}
	}
}

// TestAReplyThatDoesNotEndHoldsNobodyUp has the server say line after line, each of them in time.
func TestAReplyThatDoesNotEndHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	_, address := play(t, func(l *line, _ int) {
		l.say("220 ready")
		l.hear()
		more := time.NewTicker(10 * time.Millisecond)
		defer more.Stop()
		for range more.C {
			if _, err := io.WriteString(l.conn, "250-more\r\n"); err != nil {
				return
			}
		}
	})
	pool := newPool(t, address, 1)
	pool.Timeouts = short
	pool.Timeouts.Connect = time.Hour
	_, err := pool.Acquire(t.Context())
	wantError(t, err, smtp.Retry, "EHLO")
}

func TestTheEndOfTheContextEndsASend(t *testing.T) {
	t.Parallel()
	for verb, want := range map[string]struct {
		step    string
		outcome smtp.Outcome
	}{"EHLO": {"EHLO", smtp.Retry}, "RCPT": {"RCPT", smtp.Retry}, "body": {"reply", smtp.Unknown}} {
		t.Run(verb, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancel(t.Context())
			_, address := play(t, func(l *line, _ int) {
				l.serve(func(heard string) string {
					if heard == verb {
						cancel()
						return hang
					}
					return ""
				})
			})
			err := newPool(t, address, 1).Send(ctx, from, to, mail)
			if wantError(t, err, want.outcome, want.step); !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		})
	}
}

func TestAServerThatStopsReadingHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	gone := make(chan struct{})
	_, address := play(t, func(l *line, _ int) {
		l.serve(func(verb string) string {
			if verb == "DATA" {
				l.say("354 go on")
				<-gone // not a byte is read from here on
				return cut
			}
			return ""
		})
	})
	defer close(gone)
	pool := newPool(t, address, 1)
	pool.Timeouts = short
	big := bytes.Repeat(append(bytes.Repeat([]byte("x"), 900), "\r\n"...), 40_000) // more than the network takes in
	wantError(t, pool.Send(t.Context(), from, to, big), smtp.Retry, "body")
}

// TestAServerMayTakeItsTimeWithAMail: more than for a command, as where it looks for viruses first. A mail that was given up
// may have arrived all the same.
func TestAServerMayTakeItsTimeWithAMail(t *testing.T) {
	t.Parallel()
	const command = 3 * time.Second
	_, address := play(t, func(l *line, _ int) {
		l.serve(func(verb string) string {
			if verb == "body" {
				<-time.After(command * 3 / 2)
			}
			return ""
		})
	})
	pool := newPool(t, address, 1)
	pool.Timeouts.Command = command
	if err := pool.Send(t.Context(), from, to, mail); err != nil {
		t.Error(err)
	}
}

// TestAServerThatDoesNotSayGoodbyeHoldsNobodyUp: whoever is told to stop has less time than a command.
func TestAServerThatDoesNotSayGoodbyeHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	pool := newPool(t, says(t, "QUIT", hang), 1)
	if err := pool.Send(t.Context(), from, to, mail); err != nil {
		t.Fatal(err)
	}
	closed := make(chan struct{})
	go func() { pool.Close(); close(closed) }()
	select {
	case <-closed:
	case <-time.After(20 * time.Second):
		t.Error("it is still waiting")
	}
}

func TestAMailHasABudgetInAll(t *testing.T) {
	t.Parallel()
	_, address := play(t, func(l *line, _ int) {
		l.serve(func(verb string) string {
			if verb == "body" { // the reply has no end
				for _, err := io.WriteString(l.conn, "250-"); err == nil; {
					_, err = io.WriteString(l.conn, "well\r\n250-")
				}
				return cut
			}
			return ""
		})
	})
	pool := newPool(t, address, 1)
	pool.Timeouts.Total = 8 * time.Second
	wantError(t, pool.Send(t.Context(), from, to, mail), smtp.Unknown, "reply")
}

func TestALostReplyIsUnknown(t *testing.T) {
	t.Parallel()
	for cut, taken := range map[error]int{smtptest.ErrHangUp: 0, smtptest.ErrTakeAndHangUp: 1} {
		server := catch(t, smtptest.Options{})
		server.Fail(func(step smtptest.Step) error {
			if step.Name == "DATA" {
				return cut
			}
			return nil
		})
		wantError(t, newPool(t, server.URL(), 1).Send(t.Context(), from, to, mail), smtp.Unknown, "reply")
		if got := len(server.Messages()); got != taken {
			t.Errorf("%v: %d mails", cut, got)
		}
	}
	// So is one to something else.
	wantError(t, newPool(t, says(t, "body", "354 go on"), 1).Send(t.Context(), from, to, mail), smtp.Unknown, "reply")
}

func TestLoginNeedsTLSUnlessToldOtherwise(t *testing.T) {
	t.Parallel()
	config, roots, err := smtptest.TLS(time.Now().Add(time.Hour), "localhost")
	if err != nil {
		t.Fatal(err)
	}
	for name, options := range map[string]smtptest.Options{
		"PLAIN after STARTTLS":  {TLS: config, Mechanisms: []string{"PLAIN"}},
		"LOGIN after STARTTLS":  {TLS: config, Mechanisms: []string{"LOGIN"}},
		"PLAIN in implicit TLS": {TLS: config, Implicit: true},
		"LOGIN in implicit TLS": {TLS: config, Implicit: true, Mechanisms: []string{"X", "LOGIN"}},
		"PLAIN in the clear":    {},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			options.User, options.Password = "headway@example.com", "p:s/w%rd"
			server := catch(t, options)
			pool := newPool(t, server.URL(), 1)
			pool.RootCAs = roots
			if err := pool.Send(t.Context(), from, to, mail); err != nil {
				t.Fatal(err)
			}
			got := server.Messages()[0]
			if got.User != options.User || got.TLS != (options.TLS != nil) {
				t.Errorf("%+v", got)
			}
		})
	}

	server := catch(t, smtptest.Options{User: "headway", Password: "secret"})
	pool := newPool(t, server.URL(), 1)
	pool.Server.InsecureAuth = false
	wantError(t, pool.Send(t.Context(), from, to, mail), smtp.Retry, "AUTH")
	if steps := server.Steps(); len(steps) != 0 {
		t.Errorf("it went on to %v", steps)
	}

	none := catch(t, smtptest.Options{User: "headway", Password: "secret", Mechanisms: []string{"CRAM-MD5"}})
	wantError(t, newPool(t, none.URL(), 1).Send(t.Context(), from, to, mail), smtp.Retry, "AUTH")
}

func TestWithoutProperTLSNothingIsSent(t *testing.T) {
	t.Parallel()
	hour := time.Now().Add(time.Hour)
	for name, test := range map[string]struct {
		expires  time.Time
		host     string
		implicit bool
		trusted  bool
		plain    bool
		step     string
		want     any
	}{
		"no STARTTLS":                   {hour, "localhost", false, true, true, "STARTTLS", nil},
		"nobody trusts it":              {hour, "localhost", false, false, false, "STARTTLS", new(x509.UnknownAuthorityError)},
		"nobody trusts it, implicit":    {hour, "localhost", true, false, false, "TLS", new(x509.UnknownAuthorityError)},
		"another host":                  {hour, "mail.example.com", false, true, false, "STARTTLS", new(x509.HostnameError)},
		"another host, implicit":        {hour, "mail.example.com", true, true, false, "TLS", new(x509.HostnameError)},
		"expired":                       {hour.Add(-2 * time.Hour), "localhost", false, true, false, "STARTTLS", new(x509.CertificateInvalidError)},
		"implicit, but it talks of 220": {hour, "localhost", true, true, true, "TLS", nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			config, roots, err := smtptest.TLS(test.expires, test.host)
			if err != nil {
				t.Fatal(err)
			}
			options := smtptest.Options{TLS: config, Implicit: test.implicit, User: "headway", Password: "secret"}
			if test.plain {
				options = smtptest.Options{User: "headway", Password: "secret"}
			}
			server := catch(t, options)
			address, _, _ := strings.Cut(server.URL(), "?")
			if test.implicit {
				address = strings.Replace(address, "smtp://", "smtps://", 1)
			}
			pool := newPool(t, address, 1)
			if test.trusted {
				pool.RootCAs = roots
			}
			err = pool.Send(t.Context(), from, to, mail)
			if wantError(t, err, smtp.Retry, test.step); test.want != nil && !errors.As(err, test.want) {
				t.Error(err)
			}
			if advised := strings.Contains(err.Error(), "?tls=none"); advised != (name == "no STARTTLS") {
				t.Errorf("it says %v", err)
			}
			if steps := server.Steps(); len(steps) != 0 {
				t.Errorf("it went on to %v", steps)
			}
		})
	}
}

func TestWhereEncryptionFailsNobodyIsAdvisedToDoWithout(t *testing.T) {
	t.Parallel()
	_, address := play(t, func(l *line, _ int) {
		l.serve(func(verb string) string {
			return map[string]string{"EHLO": "250-hello\r\n250 STARTTLS", "STARTTLS": cut}[verb]
		})
	})
	pool := newPool(t, strings.TrimSuffix(address, "?tls=none"), 1)
	err := pool.Send(t.Context(), from, to, mail)
	if wantError(t, err, smtp.Retry, "STARTTLS"); strings.Contains(err.Error(), "?tls=none") {
		t.Error(err)
	}
}

func TestAnOldVersionOfTLSIsNotEnough(t *testing.T) {
	t.Parallel()
	config, roots, err := smtptest.TLS(time.Now().Add(time.Hour), "localhost")
	if err != nil {
		t.Fatal(err)
	}
	config.MinVersion, config.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	server := catch(t, smtptest.Options{TLS: config})
	pool := newPool(t, server.URL(), 1)
	pool.RootCAs = roots
	wantError(t, pool.Send(t.Context(), from, to, mail), smtp.Retry, "STARTTLS")
}

// TestADomainThatIsNotASCIINeedsNothing sends to one that every server takes in its other form.
func TestADomainThatIsNotASCIINeedsNothing(t *testing.T) {
	t.Parallel()
	server := catch(t, smtptest.Options{})
	if err := newPool(t, server.URL(), 1).Send(t.Context(), from, "abe@Müller.example", mail); err != nil {
		t.Fatal(err)
	}
	if got := server.Messages(); len(got) != 1 || got[0].To != "abe@xn--mller-kva.example" || got[0].UTF8 {
		t.Errorf("%+v", got)
	}
}

func TestAnAddressThatIsNotASCIINeedsSMTPUTF8(t *testing.T) {
	t.Parallel()
	with, without := catch(t, smtptest.Options{UTF8: true}), catch(t, smtptest.Options{})
	if err := newPool(t, with.URL(), 1).Send(t.Context(), from, "åbe@exämple.com", mail); err != nil {
		t.Error(err)
	}
	if got := with.Messages(); len(got) != 1 || got[0].To != "åbe@exämple.com" || !got[0].UTF8 {
		t.Errorf("%+v", got)
	}
	pool := newPool(t, without.URL(), 1)
	wantError(t, pool.Send(t.Context(), from, "åbe@exämple.com", mail), smtp.Rejected, "check")
	if err := pool.Send(t.Context(), from, to, mail); err != nil || len(without.Steps()) != 3 {
		t.Error(err, without.Steps())
	}
}

// TestWhatAServerTakesIsKnownThoughItsConnectionDied has the server greet like one that takes any address, and cut the
// connection where it is greeted again, which the client does after RSET.
func TestWhatAServerTakesIsKnownThoughItsConnectionDied(t *testing.T) {
	t.Parallel()
	_, address := play(t, func(l *line, before int) {
		greeted := false
		l.serve(func(verb string) string {
			switch {
			case verb == "EHLO" && greeted:
				return cut
			case verb == "EHLO":
				greeted = true
				return "250-hello\r\n250 SMTPUTF8"
			case verb == "RCPT" && before == 0:
				return "450 not now"
			}
			return ""
		})
	})
	pool := newPool(t, address, 1)
	wantError(t, pool.Send(t.Context(), from, to, mail), smtp.Retry, "RCPT")
	if err := pool.Send(t.Context(), from, "åbe@exämple.com", mail); err != nil {
		t.Error(err)
	}
}

func TestAMailThatIsTooBigIsNotBegun(t *testing.T) {
	t.Parallel()
	server := catch(t, smtptest.Options{MaxBytes: int64(len(mail)) - 1})
	err := newPool(t, server.URL(), 1).Send(t.Context(), from, to, mail)
	if wantError(t, err, smtp.Rejected, "check"); len(server.Steps()) != 0 || !strings.Contains(err.Error(), "SIZE") {
		t.Error(err, server.Steps())
	}
	fits := says(t, "EHLO", fmt.Sprintf("250-hello\r\n250 SIZE %d", len(mail)))
	if err := newPool(t, fits, 1).Send(t.Context(), from, to, mail); err != nil {
		t.Error("one that just fits:", err)
	}
}

func TestWhatNoServerShouldSeeIsNotSent(t *testing.T) {
	t.Parallel()
	server := catch(t, smtptest.Options{})
	pool := newPool(t, server.URL(), 1)
	for _, bad := range []string{
		"Subject: x\n\nlf\n", "a\rb\r\n", "no end", "nul\x00\r\n", "8 bit \xe9\r\n", "é\r\n", strings.Repeat("x", 999) + "\r\n", "\r.\r\n",
	} {
		wantError(t, pool.Send(t.Context(), from, to, []byte(bad)), smtp.Rejected, "check")
	}
	for _, bad := range []string{"", "abe", "abe@example.com> NOTIFY=NEVER", "abe@example.com\r\nDATA", "a@b, c@d", "<a@b>", "a@b@c", "abe@example.com\x00"} {
		wantError(t, pool.Send(t.Context(), from, bad, mail), smtp.Refused, "check")
		wantError(t, pool.Send(t.Context(), bad, to, mail), smtp.Rejected, "check")
	}
	if len(server.Steps()) != 0 {
		t.Error(server.Steps())
	}
	if err := pool.Send(t.Context(), from, to, []byte(strings.Repeat("x", 998)+"\r\n")); err != nil {
		t.Error("a line that just fits:", err)
	}
}

func TestProbeFindsOutWithoutSending(t *testing.T) {
	t.Parallel()
	expires := time.Now().Add(time.Hour).Truncate(time.Second)
	config, roots, err := smtptest.TLS(expires, "localhost")
	if err != nil {
		t.Fatal(err)
	}
	for name, options := range map[string]smtptest.Options{
		"STARTTLS": {TLS: config}, "implicit": {TLS: config, Implicit: true}, "clear": {},
	} {
		t.Run(name, func(t *testing.T) {
			options.User, options.Password = "headway", "secret"
			server := catch(t, options)
			pool := newPool(t, server.URL(), 1)
			pool.RootCAs = roots
			got, err := pool.Probe(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if got.Greeting != "localhost ESMTP Service Ready" || !got.LoggedIn {
				t.Errorf("%+v", got)
			}
			if encrypted := options.TLS != nil; encrypted && (got.TLS != "TLS 1.3" || !got.ExpiresAt.Equal(expires) || got.Certificate != "localhost") ||
				!encrypted && got.TLS != "" {
				t.Errorf("%+v", got)
			}

			// What was found out comes with an error, too.
			pool.Server.Password = "wrong"
			got, err = pool.Probe(t.Context())
			wantError(t, err, smtp.Retry, "AUTH")
			if got.Greeting == "" || got.LoggedIn {
				t.Errorf("%+v", got)
			}
			if len(server.Messages()) != 0 {
				t.Error("it sent a mail")
			}
		})
	}
}

func TestProbeLogsInNowhereWithoutAUser(t *testing.T) {
	t.Parallel()
	if got, err := newPool(t, catch(t, smtptest.Options{}).URL(), 1).Probe(t.Context()); err != nil || got.LoggedIn {
		t.Errorf("%+v, %v", got, err)
	}
}

func FuzzAddress(f *testing.F) {
	for _, recipient := range []string{to, "a@b> NOTIFY=NEVER", "a@b\r\nDATA", "åbe@exämple.com", `"a b"@c`, "a@[::1]", "a..b@c", "@c", "a@", "a\u2028@b"} {
		f.Add(recipient)
	}
	server := catch(f, smtptest.Options{UTF8: true})
	pool := newPool(f, server.URL(), 1)
	f.Fuzz(func(t *testing.T, recipient string) {
		server.Fail(func(step smtptest.Step) error {
			if step.Name == "RCPT" {
				if step.Message.To != recipient && step.Message.To != address.ASCII(recipient) {
					t.Errorf("%q arrives as %q", recipient, step.Message.To)
				}
				return smtptest.Reply(450, "4.0.0", "enough")
			}
			return nil
		})
		if err := pool.Send(t.Context(), from, recipient, mail); err == nil {
			t.Errorf("a mail was sent to %q", recipient)
		}
	})
}
