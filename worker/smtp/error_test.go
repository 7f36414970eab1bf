package smtp_test

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"headway/internal/smtptest"
	"headway/worker/smtp"
)

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
		{"MAIL", "5.2.3", 554, smtp.Rejected},
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
		{"RCPT", "5.5.1", 502, smtp.Rejected},
		{"RCPT", "5.7.0", 502, smtp.Retry},
		{"RCPT", "5.7.0", 530, smtp.Retry},
		{"RCPT", "5.7.9", 534, smtp.Retry},
		{"RCPT", "5.7.8", 535, smtp.Retry},
		{"RCPT", "5.7.11", 538, smtp.Retry},
		{"DATA", "4.3.0", 451, smtp.Retry},
		{"DATA", "4.3.2", 421, smtp.Retry},
		{"DATA", "5.2.252", 554, smtp.Retry},
		{"DATA", "5.4.5", 550, smtp.Retry},
		{"DATA", "5.4.6", 550, smtp.Retry},
		{"DATA", "5.7.8", 535, smtp.Retry},
		{"DATA", "5.7.19", 550, smtp.Rejected},
		{"DATA", "5.7.20", 550, smtp.Retry},
		{"DATA", "5.7.28", 550, smtp.Retry},
		{"DATA", "5.7.32", 550, smtp.Retry},
		{"DATA", "5.7.33", 550, smtp.Rejected},
		{"DATA", "5.7.60", 550, smtp.Retry},
		{"DATA", "5.7.501", 550, smtp.Retry},
		{"DATA", "5.7.708", 550, smtp.Retry},
		{"DATA", "5.6.0", 554, smtp.Rejected},
		{"DATA", "", 554, smtp.Rejected},
		{"DATA", "", 550, smtp.Rejected},
		{"DATA", "5.7.1", 550, smtp.Rejected},
		{"DATA", "5.2.2", 552, smtp.Rejected},
		{"DATA", "5.1.1", 550, smtp.Refused},
		{"DATA", "5.1.0", 550, smtp.Rejected},
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
		"550 <sender@example.com>: no such user here":                             smtp.Refused,
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
		"550 #5.2.1 no":                    smtp.Rejected,
		"554 No such user here":            smtp.Rejected,
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

// TestWhatAServerSaysIsFitForALogAndATable has one speak at length, and in an encoding of its own: the database takes no
// text that is not UTF-8, and the outcome of the mail would be lost with it.
func TestWhatAServerSaysIsFitForALogAndATable(t *testing.T) {
	t.Parallel()
	for said, want := range map[string]string{
		"550 5.1.1 Empf\xe4nger unbekannt":         "Empf?nger unbekannt",
		"550-5.1.1 no\ttabs\r\n550 5.1.1 \x1b[31m": "no tabs [31m",
		"550 5.1.1 " + strings.Repeat("ä", 500):    strings.Repeat("ä", 500),
		"550 5.1.1 " + strings.Repeat("ä", 501):    strings.Repeat("ä", 500) + "…",
	} {
		err := newPool(t, says(t, "RCPT", said), 1).Send(t.Context(), from, to, mail)
		if wantError(t, err, smtp.Refused, "RCPT"); asError(err).Text != want {
			t.Errorf("%q is %q, want %q", said, asError(err).Text, want)
		}
	}
}

// TestALogHasNoAddress logs a refusal that repeats the recipient, as most do.
func TestALogHasNoAddress(t *testing.T) {
	t.Parallel()
	err := newPool(t, says(t, "RCPT", "550 5.1.1 <"+to+">: Recipient address rejected"), 1).Send(t.Context(), from, to, mail)
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Warn("a digest was not sent", slog.Any("error", err))
	if line := log.String(); strings.Contains(line, to) || !strings.Contains(line, `error="RCPT: 550 5.1.1 <...>: Recipient address rejected"`) {
		t.Error(line)
	}
	if !strings.Contains(err.Error(), to) {
		t.Errorf("the ledger has only %q", err)
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
