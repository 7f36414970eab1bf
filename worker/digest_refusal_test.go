package worker_test

import (
	"bytes"
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	"headway/internal/pgtest"
	"headway/internal/smtptest"
	digest "headway/worker/mail"
	"headway/worker/smtp"
)

func TestWhatAServerPutsOffIsSentAgainByteForByte(t *testing.T) {
	t.Parallel()
	for _, step := range []string{"RCPT", "DATA"} {
		t.Run(step, func(t *testing.T) {
			t.Parallel()
			p := correspond(t, 1, smtptest.Options{})
			var first []byte
			p.server.Fail(func(s smtptest.Step) error {
				if s.Name != step {
					return nil
				}
				first = s.Message.Data // none at RCPT
				return smtptest.Reply(450, "4.2.0", "greylisted")
			})
			p.send(0)
			p.ledger(1, `d.state = 'reserved' and d.attempts = 1 and d.error = '`+map[string]string{"RCPT": "RCPT", "DATA": "reply"}[step]+
				`: 450 4.2.0 greylisted' and d.unknown_at is null and d.claimed_by is null`+
				` and d.next_attempt_at between now() + interval '30 seconds' and now() + interval '90 seconds'`+notSuspended)
			frozen := p.frozen(1)

			p.server.Fail(nil)
			p.send(0) // it is not time yet
			p.again()
			pgtest.Execute(t, p.conn, `
				update headway.appuser set fullname = 'Renamed', time_zone = 'Asia/Tokyo' where id = 1;
				select headway.set_setting('digest_max_items', '1')`)
			p.Composer = &digest.Composer{From: p.Composer.From, AppURL: &url.URL{Scheme: "https", Host: "app.example.com"}}
			p.send(1)
			messages := p.server.Messages()
			if len(messages) != 1 || !bytes.Equal(messages[0].Data, frozen) || step == "DATA" && !bytes.Equal(first, frozen) {
				t.Errorf("%d mails; they are not the same", len(messages))
			}
			p.ledger(1, `d.state = 'sent' and d.attempts = 2 and d.error is null`)
		})
	}
}

func TestAnAddressThatIsRefusedIsSuspended(t *testing.T) {
	t.Parallel()
	p := correspond(t, 2, smtptest.Options{})
	p.server.Fail(func(s smtptest.Step) error {
		if s.Name == "RCPT" && s.Message.To == "person1@example.com" {
			return smtptest.Reply(550, "5.1.1", "no such user")
		}
		return nil
	})
	p.send(1)
	p.ledger(1, `d.state = 'failed' and d.attempts = 1 and u.mail_suspended_reason = 'RCPT: 550 5.1.1 no such user' and u.mail_suspended_at is not null`)
	p.ledger(2, `d.state = 'sent'`+notSuspended)
}

func TestAMailThatIsRefusedSuspendsNoAddress(t *testing.T) {
	t.Parallel()
	p := correspond(t, 2, smtptest.Options{})
	p.server.Fail(func(s smtptest.Step) error {
		if s.Name == "DATA" && s.Message.To == "person1@example.com" {
			return smtptest.Reply(554, "5.7.1", "this looks like spam")
		}
		return nil
	})
	p.send(1)
	p.ledger(1, `d.state = 'failed' and d.attempts = 1 and d.error = 'reply: 554 5.7.1 this looks like spam'`+notSuspended)
	p.ledger(2, `d.state = 'sent'`)
	p.again()
	p.send(0)
}

func TestARelayThatTakesNothingSuspendsNobody(t *testing.T) {
	t.Parallel()
	for _, reply := range []error{
		smtptest.Reply(550, "", "relay not permitted"),
		smtptest.Reply(550, "", "Sender verify failed"),
		smtptest.Reply(550, "5.1.0", "<headway@example.com>: Sender address rejected"),
		smtptest.Reply(554, "5.7.1", "<bob@example.com>: Relay access denied"),
		smtptest.Reply(550, "5.7.1", "Client was not authenticated"),
		smtptest.Reply(550, "5.7.60", "SMTP; Client does not have permissions to send as this sender"),
	} {
		t.Run(reply.Error(), func(t *testing.T) {
			t.Parallel()
			p := correspond(t, 2, smtptest.Options{})
			p.server.Fail(func(s smtptest.Step) error {
				if s.Name == "RCPT" {
					return reply
				}
				return nil
			})
			p.send(0)
			for id := 1; id <= 2; id++ {
				p.ledger(id, `d.state = 'reserved'`+notSuspended)
			}
			p.server.Fail(nil)
			p.again()
			p.send(2)
		})
	}
}

func TestWhatIsBeyondTodaysLimitWaits(t *testing.T) {
	t.Parallel()
	p := correspond(t, 2, smtptest.Options{})
	p.server.Fail(func(s smtptest.Step) error {
		if s.Name == "DATA" {
			return smtptest.Reply(550, "5.4.5", "Daily user sending limit exceeded")
		}
		return nil
	})
	p.send(0)
	p.server.Fail(nil)
	p.again()
	p.send(2)
}

func TestWhenNobodyKnowsTheSettingDecides(t *testing.T) {
	t.Parallel()
	for _, setting := range []string{"resend", "hold"} {
		t.Run(setting, func(t *testing.T) {
			t.Parallel()
			p := correspond(t, 1, smtptest.Options{})
			if _, err := p.conn.Exec(t.Context(), `select headway.set_setting('digest_when_unknown', $1)`, setting); err != nil {
				t.Fatal(err)
			}
			p.server.Fail(func(s smtptest.Step) error {
				if s.Name == "DATA" {
					return smtptest.ErrTakeAndHangUp
				}
				return nil
			})
			p.send(0)
			p.server.Fail(nil)
			state, copies := "reserved", 2
			if setting == "hold" {
				state, copies = "held", 1
			}
			p.ledger(1, `d.state = '`+state+`' and d.unknown_at is not null and d.attempts = 1`+notSuspended)
			p.again()
			p.send(copies - 1)
			messages := p.server.Messages()
			if len(messages) != copies {
				t.Fatalf("%d mails came", len(messages))
			}
			for _, m := range messages {
				if !bytes.Equal(m.Data, p.frozen(1)) || messageID(t, m.Data) != messageID(t, messages[0].Data) {
					t.Errorf("this is another mail:\n%s", m.Data)
				}
			}
			if setting == "resend" {
				p.ledger(1, `d.state = 'sent' and d.unknown_at is not null and d.attempts = 2`)
			}
		})
	}
}

func TestWhereTheServerCannotBeUsedNothingIsClaimed(t *testing.T) {
	t.Parallel()
	expired, _, err := smtptest.TLS(time.Now().Add(-time.Hour), "localhost")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		options smtptest.Options
		url     func(string) string
		want    string
	}{
		"a wrong password": {
			smtptest.Options{User: "abe", Password: "secret"},
			func(url string) string { return strings.Replace(url, "secret", "wrong", 1) }, "AUTH: 535",
		},
		"no STARTTLS": {
			smtptest.Options{}, func(url string) string { return strings.TrimSuffix(url, "?tls=none") }, "STARTTLS",
		},
		"an expired certificate": {
			smtptest.Options{TLS: expired}, func(url string) string { return url }, "certificate",
		},
		"nobody listens": {
			smtptest.Options{}, func(string) string { return "smtp://127.0.0.1:1?tls=none" }, "connect: ",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := correspond(t, 3, c.options)
			p.Concurrency = 2
			p.connectTo(c.url(p.server.URL()))
			sent, err := p.Send(t.Context())
			if failure := new(smtp.Error); sent != 0 || !errors.As(err, &failure) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%d were sent: %v", sent, err)
			}
			for id := range 3 {
				p.ledger(id+1, `d.state = 'reserved' and d.attempts = 0 and d.claimed_by is null and d.error is null and d.next_attempt_at <= now()`+notSuspended)
			}
			p.connectTo(p.server.URL())
			if name != "an expired certificate" {
				p.send(3)
			}
		})
	}
}
