package worker_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"headway/internal/pgtest"
	"headway/internal/smtptest"
	"headway/worker/smtp"
)

func TestTheNextIsPreparedMeanwhileAndGivenBackIfItCannotBeSent(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(p *post, stop func()){
		"the worker stops":              func(_ *post, stop func()) { stop() },
		"there is no connection for it": func(p *post, _ func()) { p.Sender.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := correspond(t, 3, smtptest.Options{})
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			p.server.Fail(func(s smtptest.Step) error {
				if s.Name == "DATA" {
					pgtest.Eventually(t, soon, func() bool { return p.claimed() == 2 }, "nothing is prepared")
					end(p, stop)
				}
				return nil
			})
			sent, err := p.Send(ctx)
			if sent != 1 || (err == nil) != (name == "the worker stops") {
				t.Errorf("%d were sent: %v", sent, err)
			}
			p.ledger(1, `d.state = 'sent' and d.attempts = 1`)
			for id := 2; id <= 3; id++ {
				p.ledger(id, `d.state = 'reserved' and d.attempts = 0 and d.claimed_by is null and d.error is null and d.next_attempt_at <= now()`)
			}
		})
	}
}

// TestWhatNoMoreMayBeSentIsGivenBack has the address of somebody change while the mail to them is prepared: where it were
// kept, a new one would wait for the end of the lease.
func TestWhatNoMoreMayBeSentIsGivenBack(t *testing.T) {
	t.Parallel()
	p := correspond(t, 2, smtptest.Options{})
	p.server.Fail(func(s smtptest.Step) error {
		if s.Name == "DATA" {
			pgtest.Eventually(t, soon, func() bool { return p.claimed() == 2 }, "nothing is prepared")
			pgtest.Execute(t, p.db.Conn(t), `update headway.appuser set email = 'another@example.com' where id = 2`)
			p.server.Fail(nil)
		}
		return nil
	})
	p.send(2)
	p.ledger(2, `d.state = 'sent' and d.attempts = 1`)
}

// TestWhatBecameOfAMailIsOnDisk: if PostgreSQL crashed right after the last mail, it would be sent again.
func TestWhatBecameOfAMailIsOnDisk(t *testing.T) {
	t.Parallel()
	p := correspond(t, 1, smtptest.Options{})
	pgtest.Execute(t, p.conn, `
		create table public.committed (state text, how text);
		create function public.commits() returns trigger language plpgsql security definer as $$
			begin insert into public.committed values (new.state, current_setting('synchronous_commit')); return null; end $$;
		create trigger commits after update on headway.digest for each row when (new.attempts > 0) execute function public.commits()`)
	p.send(1)
	if got := value[string](t, p.conn, `select string_agg(state || ' ' || how, ', ') from public.committed`); got != "sending on, sent on" {
		t.Errorf("%s", got)
	}
}

func TestARetryThatIsGivenBackStaysOne(t *testing.T) {
	t.Parallel()
	p := correspond(t, 2, smtptest.Options{})
	p.server.Fail(func(smtptest.Step) error { return smtptest.Reply(450, "4.2.0", "greylisted") })
	p.send(0)
	p.again()
	frozen := p.frozen(2)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	p.server.Fail(func(s smtptest.Step) error {
		if s.Name == "DATA" {
			pgtest.Eventually(t, soon, func() bool { return p.claimed() == 2 }, "nothing is prepared")
			stop()
		}
		return nil
	})
	if sent, err := p.Send(ctx); sent != 1 || err != nil {
		t.Errorf("%d were sent: %v", sent, err)
	}
	p.ledger(2, `d.state = 'reserved' and d.attempts = 1 and d.claimed_by is null and d.unknown_at is null`)
	p.server.Fail(nil)
	p.send(1)
	p.ledger(2, `d.state = 'sent' and d.attempts = 2`)
	if mails := p.server.Messages(); len(mails) != 2 || !bytes.Equal(mails[1].Data, frozen) {
		t.Errorf("%d mails; the second is not what was frozen", len(mails))
	}
}

func TestNothingGrowsOldWhereTheRateIsLimited(t *testing.T) {
	t.Parallel()
	p := correspond(t, 20, smtptest.Options{})
	p.connectTo(p.server.URL() + "&rate=1000")
	most := 0
	p.server.Fail(func(smtptest.Step) error { most = max(most, p.claimed()); return nil })
	p.send(20)
	if most != 1 {
		t.Errorf("%d were claimed for one connection", most)
	}
}

func TestTheMailInHandIsFinished(t *testing.T) {
	t.Parallel()
	p := correspond(t, 2, smtptest.Options{})
	reached, released := make(chan struct{}), make(chan struct{})
	p.server.Fail(func(s smtptest.Step) error {
		if s.Name == "DATA" {
			close(reached)
			<-released
		}
		return nil
	})
	release := sync.OnceFunc(func() { close(released) })
	defer release()

	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	var sent int
	var err error
	go func() { defer close(done); sent, err = p.Send(ctx) }()
	await(t, "a mail to be out", reached)
	stop()
	release()
	await(t, "the end", done)
	if sent != 1 || err != nil {
		t.Errorf("%d were sent: %v", sent, err)
	}
	p.ledger(1, `d.state = 'sent' and d.attempts = 1 and d.unknown_at is null`)
	p.ledger(2, `d.state = 'reserved' and d.attempts = 0 and d.claimed_by is null`)
	if sent, err := p.Send(ctx); sent != 0 || !errors.Is(err, context.Canceled) && err != nil {
		t.Errorf("stopped, %d were sent: %v", sent, err)
	}
	p.ledger(2, `d.state = 'reserved' and d.attempts = 0 and d.claimed_by is null`)
}

// TestToBeToldToStopIsNoTrouble stops a mailer for a reason, with a mail in hand and another that waits for the connection.
func TestToBeToldToStopIsNoTrouble(t *testing.T) {
	t.Parallel()
	p := correspond(t, 2, smtptest.Options{})
	p.Sender = smtp.NewPool(p.Sender.Server, 1)
	t.Cleanup(p.Sender.Close)
	p.Concurrency = 2
	ctx, stop := context.WithCancelCause(t.Context())
	p.server.Fail(func(s smtptest.Step) error {
		if s.Name == "DATA" {
			stop(errors.New("terminated"))
		}
		return nil
	})
	if sent, err := p.Send(ctx); sent != 1 || err != nil {
		t.Errorf("%d were sent: %v", sent, err)
	}
}

func TestNobodyWaitsUntilOneMoreMayBeSentWhereThereIsNone(t *testing.T) {
	t.Parallel()
	p := correspond(t, 1, smtptest.Options{})
	p.connectTo(p.server.URL() + "&rate=1/h")
	done := make(chan struct{})
	go func() { defer close(done); p.send(1) }()
	await(t, "the end", done)
}

func TestAPanicWhileSendingIsAnError(t *testing.T) {
	t.Parallel()
	p := correspond(t, 2, smtptest.Options{})
	p.Observe = func(int64, string, error) { panic("a defect") }
	if _, err := p.Send(t.Context()); err == nil || !strings.Contains(err.Error(), "panic: a defect") {
		t.Errorf("%v", err)
	}
	p.Observe = nil
	p.send(1)
	p.ledger(1, `d.state = 'sending' and d.lease_until > now()`) // nobody knows, until the lease ends
	p.ledger(2, `d.state = 'sent'`)
}

// TestNothingGrowsOldDuringAPause has the server be busy while the next mail is prepared: whoever it is for may read, during
// the pause, what it says.
func TestNothingGrowsOldDuringAPause(t *testing.T) {
	t.Parallel()
	p := correspond(t, 2, smtptest.Options{})
	p.Sender.Pause = time.Hour
	ctx, stop := context.WithCancel(t.Context())
	p.server.Fail(func(smtptest.Step) error {
		pgtest.Eventually(t, soon, func() bool { return p.claimed() == 2 }, "nothing is prepared")
		return smtptest.Reply(421, "4.3.2", "busy")
	})
	done := make(chan struct{})
	go func() { defer close(done); _, _ = p.Send(ctx) }()
	defer func() { stop(); <-done }()
	pgtest.Eventually(t, soon, func() bool { return p.Sender.Paused() && p.claimed() == 0 }, "what is prepared is kept")
	p.ledger(2, `d.state = 'reserved' and d.attempts = 0`)
}
