package smtp_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
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

func TestAConnectionIsUsedAgain(t *testing.T) {
	t.Parallel()
	server := catch(t, smtptest.Options{})
	pool := newPool(t, server.URL(), 3)
	for range 3 {
		if err := pool.Send(t.Context(), from, to, mail); err != nil {
			t.Fatal(err)
		}
	}
	if got := server.Messages(); len(got) != 3 || got[0].Conn != got[1].Conn || got[1].Conn != got[2].Conn {
		t.Errorf("it got %+v", got)
	}
}

func TestThereAreNoMoreConnectionsThanAsked(t *testing.T) {
	t.Parallel()
	server := catch(t, smtptest.Options{})
	both := make(chan struct{})
	var mu sync.Mutex
	inHand, most := 0, 0
	server.Fail(func(step smtptest.Step) error {
		switch step.Name {
		case "MAIL":
			mu.Lock()
			inHand++
			if most = max(most, inHand); inHand == 2 && most == 2 {
				select {
				case <-both:
				default:
					close(both)
				}
			}
			mu.Unlock()
			<-both
		case "DATA":
			mu.Lock()
			inHand--
			mu.Unlock()
		}
		return nil
	})
	pool := newPool(t, server.URL(), 2)
	var senders sync.WaitGroup
	for range 20 {
		senders.Go(func() {
			if err := pool.Send(t.Context(), from, to, mail); err != nil {
				t.Error(err)
			}
		})
	}
	senders.Wait()
	if most != 2 || len(server.Messages()) != 20 {
		t.Errorf("%d at a time, %d mails", most, len(server.Messages()))
	}
}

// TestOutcomes is the table of what a server may say, and what that means.
func TestOutcomes(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		step, enhanced string
		code           int
		want           smtp.Outcome
	}{
		{"MAIL", "4.3.2", 421, smtp.Retry},
		{"MAIL", "4.7.1", 451, smtp.Retry},
		{"MAIL", "5.1.1", 550, smtp.Retry},
		{"MAIL", "5.1.8", 550, smtp.Retry},
		{"MAIL", "5.4.5", 550, smtp.Retry},
		{"MAIL", "5.7.1", 554, smtp.Retry},
		{"MAIL", "", 550, smtp.Retry},
		{"MAIL", "", 552, smtp.Rejected},
		{"MAIL", "5.3.4", 554, smtp.Rejected},
		{"MAIL", "5.7.0", 530, smtp.Retry},
		{"MAIL", "5.7.0", 502, smtp.Retry},
		{"MAIL", "5.5.1", 503, smtp.Retry},
		{"RCPT", "4.3.2", 421, smtp.Retry},
		{"RCPT", "4.2.0", 450, smtp.Retry},
		{"RCPT", "", 451, smtp.Retry},
		{"RCPT", "4.2.2", 452, smtp.Retry},
		{"RCPT", "5.1.0", 550, smtp.Refused},
		{"RCPT", "5.1.1", 550, smtp.Refused},
		{"RCPT", "5.1.2", 550, smtp.Refused},
		{"RCPT", "5.1.3", 501, smtp.Refused},
		{"RCPT", "5.1.4", 550, smtp.Refused},
		{"RCPT", "5.1.6", 551, smtp.Refused},
		{"RCPT", "5.1.7", 550, smtp.Retry},
		{"RCPT", "5.1.8", 550, smtp.Retry},
		{"RCPT", "5.1.9", 550, smtp.Refused},
		{"RCPT", "5.1.10", 556, smtp.Refused},
		{"RCPT", "5.1.90", 550, smtp.Retry},
		{"RCPT", "5.0.0", 550, smtp.Refused},
		{"RCPT", "", 550, smtp.Refused},
		{"RCPT", "", 551, smtp.Refused},
		{"RCPT", "", 553, smtp.Refused},
		{"RCPT", "", 556, smtp.Refused},
		{"RCPT", "", 552, smtp.Rejected},
		{"RCPT", "", 554, smtp.Rejected},
		{"RCPT", "", 501, smtp.Rejected},
		{"RCPT", "5.2.1", 550, smtp.Rejected},
		{"RCPT", "5.2.2", 552, smtp.Rejected},
		{"RCPT", "5.4.1", 550, smtp.Rejected},
		{"RCPT", "5.4.5", 550, smtp.Retry},
		{"RCPT", "5.7.1", 550, smtp.Rejected},
		{"RCPT", "5.7.1", 553, smtp.Rejected},
		{"RCPT", "5.5.1", 503, smtp.Retry},
		{"DATA", "4.3.0", 451, smtp.Retry},
		{"DATA", "4.3.2", 421, smtp.Retry},
		{"DATA", "5.4.5", 550, smtp.Retry},
		{"DATA", "5.7.28", 550, smtp.Retry},
		{"DATA", "5.6.0", 554, smtp.Rejected},
		{"DATA", "", 554, smtp.Rejected},
		{"DATA", "", 550, smtp.Rejected},
		{"DATA", "5.7.1", 550, smtp.Rejected},
		{"DATA", "5.2.2", 552, smtp.Rejected},
		{"DATA", "5.1.1", 550, smtp.Refused},
	} {
		t.Run(fmt.Sprintf("%s %d %s", test.step, test.code, test.enhanced), func(t *testing.T) {
			t.Parallel()
			server := catch(t, smtptest.Options{})
			server.Fail(func(step smtptest.Step) error {
				if step.Name == test.step {
					return smtptest.Reply(test.code, test.enhanced, "no\r\nreally\x00")
				}
				return nil
			})
			pool := newPool(t, server.URL(), 1)
			pool.Pause = 0
			step := map[string]string{"DATA": "reply"}[test.step]
			if step == "" {
				step = test.step
			}
			err := pool.Send(t.Context(), from, to, mail)
			wantError(t, err, test.want, step)
			if e := asError(err); e.Code != test.code || e.Enhanced != test.enhanced && test.enhanced != "" || e.Text != "no really" {
				t.Errorf("it is %q", err)
			}

			// Whatever it was, the next mail goes out.
			server.Fail(nil)
			if err := pool.Send(t.Context(), from, to, mail); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestARefusalIsReadForWhomItIsAbout has servers refuse a recipient for reasons that are not theirs, in their own words.
func TestARefusalIsReadForWhomItIsAbout(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]smtp.Outcome{
		"550 Unrouteable address": smtp.Refused,
		"550 No such user here":   smtp.Refused,
		"550 5.1.1 <bob@example.com>: User unknown in relay recipient table": smtp.Refused,
		"550 relay not permitted":                                                 smtp.Retry,
		"550 Relaying denied":                                                     smtp.Retry,
		"550 Sender verify failed":                                                smtp.Retry,
		"550 5.1.0 <headway@example.com>: Sender address rejected":                smtp.Retry,
		"550 authentication required":                                             smtp.Retry,
		"550 5.0.0 mail from example.com is not accepted here":                    smtp.Retry,
		"550 5.7.1 <bob@example.com>: Recipient address rejected: Spam policy":    smtp.Rejected,
		"550 5.1.8 <headway@example.com>: Sender address rejected":                smtp.Retry,
		"550 Requested action not taken: mailbox unavailable":                     smtp.Refused,
		"550 <client@example.com>: no such user here":                             smtp.Refused,
		"550 rejected because 203.0.113.7 is in a black list at zen.spamhaus.org": smtp.Retry,
		"550 Administrative prohibition":                                          smtp.Retry,
		"550 Domain example.com has exceeded the max emails per hour (250/200 (125%)) allowed.  Message discarded.":     smtp.Retry,
		"553 sorry, that domain isn't in my list of allowed rcpthosts (#5.7.1)":                                         smtp.Retry,
		"550 Blocked - see https://support.example.com/":                                                                smtp.Retry,
		"550 Service unavailable, try again later":                                                                      smtp.Retry,
		"550 Too many invalid recipients":                                                                               smtp.Retry,
		"550 Account suspended":                                                                                         smtp.Retry,
		"550-Callback setup failed while verifying <headway@example.com>\r\n550 (result of an earlier callout reused).": smtp.Retry,
		"550 Access denied - Invalid HELO name (See RFC2821 4.1.1.1)":                                                   smtp.Retry,
		"550 SPF check failed":                                                                                          smtp.Retry,
		"550 Message rejected due to DMARC":                                                                             smtp.Retry,
		"550 Reverse DNS lookup failed":                                                                                 smtp.Retry,
		"550 Your IP 203.0.113.7 has no PTR record":                                                                     smtp.Retry,
		"550 Greylisted": smtp.Retry,
		"550 You must check your mail first (POP before SMTP)": smtp.Retry,
		"550 Your account has been disabled":                   smtp.Retry,
		"550 insufficient credits":                             smtp.Retry,
		"550-Requested action not taken: mailbox unavailable\r\n550 invalid DNS MX or A/AAAA resource record": smtp.Retry,
		"550 #5.7.1 Your access to submit messages to this e-mail system has been rejected.":                  smtp.Retry,
		"550 permanent failure for one or more recipients (bob@example.com:blocked)":                          smtp.Retry,
		"550 5.7.0 Domain example.com is not allowed to send":                                                 smtp.Retry,
		"550 5.7.23 The message was rejected because of Sender Policy Framework violation":                    smtp.Retry,
		"550 5.4.6 Unusual sending activity detected. Please try after sometime":                              smtp.Retry,
		"550 user does not exist. Check the address and try again":                                            smtp.Refused,
		"550 Address unknown: nobody from here":                                                               smtp.Refused,
		"550 <bob@example.com>: Recipient address rejected: User unknown in relay recipient table":            smtp.Refused,
		"550 5.1.0 <bob@example.com>: User unknown":                                                           smtp.Refused,
		"550 Invalid recipient":         smtp.Refused,
		"550 5.0.0 mailbox unavailable": smtp.Refused,
		"550 Mailbox is over limit":     smtp.Rejected,
		"550 5.7.124 RESOLVER.RST.SenderNotInAllowedList; not in the group's allowed-senders list": smtp.Rejected,
		"550 Mailbox full":                 smtp.Rejected,
		"550 user is over quota":           smtp.Rejected,
		"550 rejected by our local policy": smtp.Rejected,
	} {
		t.Run(text, func(t *testing.T) {
			t.Parallel()
			wantError(t, newPool(t, says(t, "RCPT", text), 1).Send(t.Context(), from, to, mail), want, "RCPT")
		})
	}
}

// TestAServerThatRefusesEverybodyIsNotBelieved has one refuse recipient after recipient in words that mean nothing, and
// one that says of each, in a code, that there is nobody.
func TestAServerThatRefusesEverybodyIsNotBelieved(t *testing.T) {
	t.Parallel()
	for _, vague := range []string{"550 no", "550 5.0.0 no", "550 5.1.0 Address rejected"} {
		pool := newPool(t, says(t, "RCPT", vague), 1)
		for before := range 5 {
			wantError(t, pool.Send(t.Context(), from, to, mail), map[bool]smtp.Outcome{true: smtp.Refused, false: smtp.Retry}[before < 3], "RCPT")
		}
	}
	for _, clear := range []string{"550 5.1.1 no", "550 No such user here"} {
		pool := newPool(t, says(t, "RCPT", clear), 1)
		for range 5 {
			wantError(t, pool.Send(t.Context(), from, to, mail), smtp.Refused, "RCPT")
		}
	}

	// Whoever is taken in between shows that it is about the others.
	mails := 0
	_, address := play(t, func(l *line, _ int) {
		l.serve(func(verb string) string {
			if verb == "RCPT" {
				if mails++; mails%4 != 0 {
					return "550 no"
				}
			}
			return ""
		})
	})
	pool := newPool(t, address, 1)
	for n := range 8 {
		if err := pool.Send(t.Context(), from, to, mail); n%4 == 3 && err != nil || n%4 != 3 && asError(err).Outcome != smtp.Refused {
			t.Errorf("mail %d: %v", n+1, err)
		}
	}
}

// TestWhoMayNotSendLosesNoMail has servers take nothing from this sender, and say so when they have heard all of a mail.
func TestWhoMayNotSendLosesNoMail(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]smtp.Outcome{
		"550 The from address does not match a verified Sender Identity.":                                smtp.Retry,
		"550 5.7.60 SMTP; Client does not have permissions to send as this sender":                       smtp.Retry,
		"554 Message rejected: Email address is not verified. The following identities failed the check": smtp.Retry,
		"554 5.2.252 SendAsDenied; headway@example.com not allowed to send as bob@example.com":           smtp.Retry,
		"554 5.7.1 sending suspended for this account":                                                   smtp.Retry,
		"550 5.7.1 daily limit": smtp.Retry,
		"550 5.7.501 Service unavailable. Spam abuse detected from IP range":                      smtp.Retry,
		"550 5.7.708 Service unavailable. Access denied, traffic not accepted from this IP":       smtp.Retry,
		"554 5.2.0 STOREDRV.Submission.Exception:SendAsDeniedException.MapiExceptionSendAsDenied": smtp.Retry,
		"553 Relaying disallowed as headway@example.com":                                          smtp.Retry,
		"550 5.7.26 This mail is unauthenticated, which poses a security risk":                    smtp.Retry,
		"550 5.7.1 Recipient limit exceeded":                                                      smtp.Retry,
		"550 Unauthenticated senders not allowed":                                                 smtp.Retry,
		"554 delivery error: dd This user doesn't have a yahoo.com account":                       smtp.Rejected,
		"554 5.7.1 Message contains a virus, contact the account administrator":                   smtp.Rejected,
		"554 5.7.1 Message contains spam or virus":                                                smtp.Rejected,
		"554 Transaction failed":                                                                  smtp.Rejected,
		"552 message size limit of this account exceeded":                                         smtp.Rejected,
		"550 5.2.2 <account@example.com>: over quota today":                                       smtp.Rejected,
	} {
		t.Run(text, func(t *testing.T) {
			t.Parallel()
			wantError(t, newPool(t, says(t, "body", text), 1).Send(t.Context(), from, to, mail), want, "reply")
		})
	}
}

// TestACodeMayComeWithoutText has a server say no more than it must (RFC 5321, section 4.2).
func TestACodeMayComeWithoutText(t *testing.T) {
	t.Parallel()
	server, address := play(t, func(l *line, _ int) {
		l.serve(func(verb string) string { return map[string]string{"MAIL": "250", "RCPT": "250", "body": "250"}[verb] })
	})
	pool := newPool(t, address, 1)
	for range 2 {
		if err := pool.Send(t.Context(), from, to, mail); err != nil {
			t.Error(err)
		}
	}
	pool.Close()
	if got, want := server.verbs(), "EHLO MAIL RCPT DATA MAIL RCPT DATA QUIT"; got != want {
		t.Errorf("it heard %s, want %s", got, want)
	}
	wantError(t, newPool(t, says(t, "RCPT", "450"), 1).Send(t.Context(), from, to, mail), smtp.Retry, "RCPT")
	wantError(t, newPool(t, says(t, "RCPT", "550"), 1).Send(t.Context(), from, to, mail), smtp.Refused, "RCPT")
	wantError(t, newPool(t, says(t, "body", "554"), 1).Send(t.Context(), from, to, mail), smtp.Rejected, "reply")
}

// TestAConnectionThatHasHadEnoughIsReplaced has a server take one mail on each, as 421 and 452 say of it.
func TestAConnectionThatHasHadEnoughIsReplaced(t *testing.T) {
	t.Parallel()
	for _, enough := range []string{"421 4.7.0 too many messages in this connection", "452 4.5.3 too many messages in this connection"} {
		server, address := play(t, func(l *line, _ int) {
			mails := 0
			l.serve(func(verb string) string {
				if verb == "MAIL" {
					if mails++; mails > 1 {
						return enough
					}
				}
				return ""
			})
		})
		pool := newPool(t, address, 1)
		for range 3 {
			if err := pool.Send(t.Context(), from, to, mail); err != nil {
				t.Errorf("%s: %v", enough, err)
			}
		}
		if got := strings.Count(server.verbs(), "EHLO"); got != 3 {
			t.Errorf("%s: %d connections for three mails", enough, got)
		}
	}
}

// TestALoginThatIsRefusedBeginsAPause has a server count logins, and take the fourth.
func TestALoginThatIsRefusedBeginsAPause(t *testing.T) {
	t.Parallel()
	_, address := play(t, func(l *line, before int) {
		l.serve(func(verb string) string {
			if verb == "AUTH" && before < 3 {
				return "535 5.7.8 bad"
			}
			return ""
		})
	})
	pool := newPool(t, strings.Replace(strings.Replace(address, "smtp://", "smtp://abe:secret@", 1), "tls=none", "tls=none&auth=insecure", 1), 1)
	pool.Pause = 20 * time.Millisecond
	for refused := range 3 {
		began := time.Now()
		_, err := pool.Acquire(t.Context())
		wantError(t, err, smtp.Retry, "AUTH")
		if waited, pause := time.Since(began), pool.Pause<<refused/2; refused > 0 && waited < pause*2/3 {
			t.Errorf("after %d refused logins the next one came after %v, want %v", refused, waited, pause)
		}
		if !pool.Paused() {
			t.Error("there is no pause")
		}
	}
	conn, err := pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	conn.Release()
}

// TestBusyEndsNoLongerPause has a server be busy for one connection while another waits since its login was refused.
func TestBusyEndsNoLongerPause(t *testing.T) {
	t.Parallel()
	server := catch(t, smtptest.Options{User: "abe", Password: "secret", InsecureAuth: true})
	pool := newPool(t, server.URL(), 2)
	conn, err := pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	server.Fail(func(step smtptest.Step) error {
		if step.Name == "AUTH" {
			return smtptest.Reply(535, "5.7.8", "bad")
		}
		return smtptest.Reply(421, "4.3.2", "busy")
	})
	pool.Pause = time.Hour
	_, err = pool.Acquire(t.Context())
	wantError(t, err, smtp.Retry, "AUTH")
	pool.Pause = time.Nanosecond
	wantError(t, conn.Send(t.Context(), from, to, mail), smtp.Retry, "MAIL")
	if !pool.Paused() {
		t.Error("the pause has ended")
	}
}

func TestAMailAfterARefusedOneGoesOverTheSameConnection(t *testing.T) {
	t.Parallel()
	recipients := 0
	server, address := play(t, func(l *line, _ int) {
		l.serve(func(verb string) string {
			if verb == "RCPT" {
				if recipients++; recipients == 1 {
					return "550 5.1.1 unknown"
				}
			}
			return ""
		})
	})
	pool := newPool(t, address, 1)
	wantError(t, pool.Send(t.Context(), from, to, mail), smtp.Refused, "RCPT")
	if err := pool.Send(t.Context(), from, to, mail); err != nil {
		t.Fatal(err)
	}
	pool.Close()
	if got, want := server.verbs(), "EHLO MAIL RCPT RSET EHLO MAIL RCPT DATA QUIT"; got != want {
		t.Errorf("it heard %s, want %s", got, want)
	}
}

func TestAConnectionThatIsNoGoodAfterAnErrorIsGivenUp(t *testing.T) {
	t.Parallel()
	for reply, want := range map[string]string{
		"450 4.2.0 later":        "EHLO MAIL RCPT RSET EHLO MAIL RCPT DATA",
		"503 5.5.1 bad sequence": "EHLO MAIL RCPT EHLO MAIL RCPT DATA", // nobody knows where the two sides are
	} {
		server, address := play(t, func(l *line, before int) {
			l.serve(func(verb string) string {
				switch {
				case verb == "RCPT" && before == 0:
					return reply
				case verb == "RSET":
					return cut
				}
				return ""
			})
		})
		pool := newPool(t, address, 1)
		wantError(t, pool.Send(t.Context(), from, to, mail), smtp.Retry, "RCPT")
		if err := pool.Send(t.Context(), from, to, mail); err != nil {
			t.Fatal(err)
		}
		if got := server.verbs(); got != want {
			t.Errorf("after %s it heard %s, want %s", reply, got, want)
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
	pool.Timeouts.Total = time.Second
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
}

func TestBusyBeginsAPause(t *testing.T) {
	t.Parallel()
	server := catch(t, smtptest.Options{})
	server.Fail(func(smtptest.Step) error { return smtptest.Reply(421, "4.3.2", "busy") })
	pool := newPool(t, server.URL(), 1)
	pool.Pause = time.Hour
	wantError(t, pool.Send(t.Context(), from, to, mail), smtp.Retry, "MAIL")

	server.Fail(nil)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err := pool.Acquire(ctx)
	if wantError(t, err, smtp.Retry, "wait"); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}

	server.Fail(func(smtptest.Step) error { return smtptest.Reply(421, "4.3.2", "busy") })
	pool = newPool(t, server.URL(), 1)
	pool.Pause = 30 * time.Millisecond
	wantError(t, pool.Send(t.Context(), from, to, mail), smtp.Retry, "MAIL")
	server.Fail(nil)
	began := time.Now()
	if err := pool.Send(t.Context(), from, to, mail); err != nil || time.Since(began) < pool.Pause/2 {
		t.Errorf("%v after %v", err, time.Since(began))
	}
}

func TestAConnectionThatTheServerHasClosedIsReplaced(t *testing.T) {
	t.Parallel()
	for _, farewell := range []string{"", "421 4.4.2 idle for too long"} {
		closed := make(chan struct{})
		_, address := play(t, func(l *line, before int) {
			mails := 0
			l.serve(func(verb string) string {
				if verb == "body" && before == 0 {
					mails++
					l.say("250 taken")
					if farewell != "" {
						l.say(farewell)
					}
					l.conn.Close()
					close(closed)
					return cut
				}
				return ""
			})
		})
		pool := newPool(t, address, 1)
		for range 2 {
			if err := pool.Send(t.Context(), from, to, mail); err != nil {
				t.Errorf("%q: %v", farewell, err)
			}
			<-closed
		}
	}
}

func TestAnIdleConnectionIsClosedPolitely(t *testing.T) {
	t.Parallel()
	quit := make(chan struct{})
	_, address := play(t, func(l *line, _ int) {
		l.serve(func(verb string) string {
			if verb == "QUIT" {
				close(quit)
			}
			return ""
		})
	})
	pool := newPool(t, address, 1)
	pool.IdleTimeout = time.Millisecond
	if err := pool.Send(t.Context(), from, to, mail); err != nil {
		t.Fatal(err)
	}
	<-quit
}

func TestAClosedPoolSendsNothing(t *testing.T) {
	t.Parallel()
	server := catch(t, smtptest.Options{})
	pool := newPool(t, server.URL(), 1)
	conn, err := pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	pool.Close()
	if err := conn.Send(t.Context(), from, to, mail); err != nil {
		t.Error("a mail in hand was dropped:", err)
	}
	conn.Release()
	conn.Release()
	wantError(t, pool.Send(t.Context(), from, to, mail), smtp.Retry, "wait")
}

func TestTheRateIsKept(t *testing.T) {
	t.Parallel()
	server := catch(t, smtptest.Options{})
	pool := newPool(t, server.URL()+"&rate=50", 4)
	began := time.Now()
	var senders sync.WaitGroup
	for range 4 {
		senders.Go(func() {
			if err := pool.Send(t.Context(), from, to, mail); err != nil {
				t.Error(err)
			}
		})
	}
	senders.Wait()
	if took := time.Since(began); took < 50*time.Millisecond {
		t.Errorf("4 mails at 50 a second took %v", took)
	}
}

func TestAcquireFailsWhereNothingCouldBeSent(t *testing.T) {
	t.Parallel()
	server := catch(t, smtptest.Options{User: "headway", Password: "right", InsecureAuth: true})
	pool := newPool(t, strings.Replace(server.URL(), "right", "wrong", 1), 1)
	_, err := pool.Acquire(t.Context())
	if wantError(t, err, smtp.Retry, "AUTH"); asError(err).Code != 535 {
		t.Error(err)
	}
	_, err = newPool(t, "smtp://localhost:1?tls=none", 1).Acquire(t.Context())
	wantError(t, err, smtp.Retry, "connect")
}

func TestLoginNeedsTLSUnlessToldOtherwise(t *testing.T) {
	t.Parallel()
	config, roots, err := smtptest.TLS(time.Now().Add(time.Hour), "localhost")
	if err != nil {
		t.Fatal(err)
	}
	for name, options := range map[string]smtptest.Options{
		"PLAIN after STARTTLS":  {TLS: config, Mechanisms: []string{"PLAIN", "LOGIN"}},
		"LOGIN after STARTTLS":  {TLS: config, Mechanisms: []string{"LOGIN"}},
		"PLAIN in implicit TLS": {TLS: config, Implicit: true},
		"LOGIN in implicit TLS": {TLS: config, Implicit: true, Mechanisms: []string{"X", "LOGIN"}},
		"PLAIN in the clear":    {InsecureAuth: true},
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

	server := catch(t, smtptest.Options{User: "headway", Password: "secret", InsecureAuth: true})
	pool := newPool(t, server.URL(), 1)
	pool.Server.InsecureAuth = false
	wantError(t, pool.Send(t.Context(), from, to, mail), smtp.Retry, "AUTH")
	if steps := server.Steps(); len(steps) != 0 {
		t.Errorf("it went on to %v", steps)
	}

	none := catch(t, smtptest.Options{User: "headway", Password: "secret", InsecureAuth: true, Mechanisms: []string{"CRAM-MD5"}})
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
				options = smtptest.Options{InsecureAuth: true, User: "headway", Password: "secret"}
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
			if steps := server.Steps(); len(steps) != 0 {
				t.Errorf("it went on to %v", steps)
			}
		})
	}
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
}

func TestProbeFindsOutWithoutSending(t *testing.T) {
	t.Parallel()
	expires := time.Now().Add(time.Hour).Truncate(time.Second)
	config, roots, err := smtptest.TLS(expires, "localhost")
	if err != nil {
		t.Fatal(err)
	}
	for name, options := range map[string]smtptest.Options{
		"STARTTLS": {TLS: config}, "implicit": {TLS: config, Implicit: true}, "clear": {InsecureAuth: true},
	} {
		t.Run(name, func(t *testing.T) {
			options.User, options.Password, options.UTF8, options.MaxBytes = "headway", "secret", true, 1000
			server := catch(t, options)
			pool := newPool(t, server.URL(), 1)
			pool.RootCAs = roots
			got, err := pool.Probe(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if got.Greeting != "localhost ESMTP Service Ready" || got.Addr != pool.Server.Addr() || !got.LoggedIn || !got.SMTPUTF8 || got.MaxSize != 1000 ||
				strings.Join(got.Auth, " ") != "PLAIN LOGIN" {
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
			if got.Greeting == "" || len(got.Auth) != 2 || got.LoggedIn {
				t.Errorf("%+v", got)
			}
			if len(server.Messages()) != 0 {
				t.Error("it sent a mail")
			}
		})
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
