package worker_test

import (
	"context"
	"testing"

	"headway/internal/pgtest"
	"headway/internal/smtptest"
)

// It takes as long as a worker that is told to stop waits for a mail in hand.
func TestHowAMailEndedIsRecordedThoughItWasCutShort(t *testing.T) {
	t.Parallel()
	p := correspond(t, 1, smtptest.Options{})
	pgtest.Execute(t, p.conn, `select headway.set_setting('digest_when_unknown', 'hold')`)
	reached, released := make(chan struct{}), make(chan struct{})
	defer close(released)
	p.server.Fail(func(s smtptest.Step) error {
		if s.Name == "RCPT" {
			close(reached)
			<-released
		}
		return nil
	})
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	var sent int
	var err error
	go func() { defer close(done); sent, err = p.Send(ctx) }()
	await(t, "the recipient to be named", reached)
	stop()
	await(t, "the end", done)
	if sent != 0 || err != nil {
		t.Errorf("%d were sent: %v", sent, err)
	}
	// The server had not got the mail, so this is no case of nobody knowing.
	p.ledger(1, `d.state = 'reserved' and d.attempts = 1 and d.unknown_at is null and d.claimed_by is null`)
}
