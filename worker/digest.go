package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"

	"headway/worker/mail"
	"headway/worker/smtp"
)

const (
	// sendLease is how long a digest belongs to the worker that claimed it; it starts again when an attempt begins.
	sendLease = 5 * time.Minute

	// sendGrace is how long the mail in hand may take after the worker is told to stop.
	sendGrace = 12 * time.Second

	// recordGrace is how long recording its outcome may take after that. The two together leave time to retire.
	recordGrace = 3 * time.Second

	// ledgerTimeout bounds a statement on the ledger. Reserving, or deleting old digests, may take a while.
	ledgerTimeout = 5 * time.Minute

	// reserveBatch bounds the first reservation, which is a single transaction, and mostly the only one. As each one finds
	// out anew who is due, those that follow are larger, up to maxReserve: whoever is in one cannot mark anything read
	// before it is committed.
	reserveBatch = 1000
	maxReserve   = 8 * reserveBatch
)

// Mailer reserves digests and sends what is reserved. Any number of them, in any number of processes, may do so at
// once: the ledger, headway.digest, settles who sends what, and it is committed before the mail server is contacted.
type Mailer struct {
	Pool     *pgxpool.Pool
	WorkerID string // a UUID, whose last group is replaced by a random one in digest.claimed_by
	Composer *mail.Composer
	Sender   *smtp.Pool
	Log      *slog.Logger

	// Concurrency is the number of digests being sent at a time, each over its own SMTP connection; at least 1.
	Concurrency int

	// Observe is called with how each attempt ended: sent, or an outcome of [smtp.Error] with its reason. It may be
	// called concurrently. May be nil.
	Observe func(digestID int64, outcome string, reason error)
}

// NewMailer makes the mailer that the configuration asks for, which must name an SMTP server. The caller closes its
// Sender.
func NewMailer(config Config, pool *pgxpool.Pool, workerID string, log *slog.Logger) *Mailer {
	return &Mailer{
		Pool:        pool,
		WorkerID:    workerID,
		Composer:    &mail.Composer{From: config.MailFrom.Address, AppURL: config.AppURL},
		Sender:      smtp.NewPool(*config.SMTP, config.DigestConcurrency),
		Log:         log,
		Concurrency: config.DigestConcurrency,
	}
}

const sqlReserve = `select headway.reserve_digests($1)`

// Reserve reserves digests for everyone who is due now and returns how many.
func (m *Mailer) Reserve(ctx context.Context) (reserved int, err error) {
	for most := reserveBatch; ; most = min(2*most, maxReserve) {
		var batch int
		if err := m.ask(ctx, &batch, durably, sqlReserve, most); err != nil {
			return reserved, fmt.Errorf("reserve digests: %w", err)
		}
		reserved += batch
		if batch == 0 { // rather than smaller than a full batch: people whose rows are locked at the moment are skipped
			return reserved, nil
		}
	}
}

const sqlToSend = `select headway.digests_to_send()`

// waiting returns how many digests can be sent now.
func (m *Mailer) waiting(ctx context.Context) (digests int, err error) {
	if err := m.quickly(ctx, &digests, lazily, sqlToSend); err != nil {
		return 0, fmt.Errorf("digests to send: %w", err)
	}
	return digests, nil
}

// Send sends everything that can be sent now, several digests at a time, and returns how many a server took. What a
// server refuses is in the ledger and in the log; an error means trouble with the database, or with the server as such.
// Once ctx is done, no further digest is begun, and those in hand are finished.
func (m *Mailer) Send(ctx context.Context) (sent int, err error) {
	// Contact the server only if there is something for it.
	waiting, err := m.waiting(ctx)
	if err != nil {
		return 0, err
	}
	d := &delivery{Mailer: m, unserved: make(chan error, m.Concurrency)}
	d.group, d.going = errgroup.WithContext(ctx)
	d.start(ctx, waiting)
	return d.wait(ctx)
}

// delivery is one call of [Mailer.Send].
type delivery struct {
	*Mailer
	group *errgroup.Group // the senders

	// going is done when nothing more should be begun: the worker is told to stop, or the database is in trouble. What
	// the senders have in hand then is not cut short.
	going context.Context

	started  atomic.Int64 // senders, counting also those that the limit kept from starting
	ahead    atomic.Int64 // how many more digests may be prepared ahead, by all senders together
	taken    atomic.Int64 // digests, by a server
	drained  atomic.Bool  // nothing was left for one of the senders
	unserved chan error   // why senders ended without a connection
}

// start starts as many senders as there is work for, within the limit.
func (d *delivery) start(ctx context.Context, waiting int) {
	senders := 0
	for senders < waiting && d.started.Add(1) <= int64(d.Concurrency) {
		senders++
		d.group.Go(func() error { return d.guard(func() error { return d.send(ctx) }) })
	}
	d.ahead.Store(int64(waiting - senders)) // prepare ahead only what no other sender could start with
}

// send is what a sender does: one digest after another, as long as there are any. If there are more than it can do, it
// starts others.
func (d *delivery) send(ctx context.Context) (err error) {
	s := &sender{delivery: d}
	defer func() { err = errors.Join(err, s.close(ctx)) }()
	for d.going.Err() == nil {
		found, ok, err := s.sendOne(ctx)
		switch {
		case errors.As(err, new(*smtp.Error)):
			// The server may want fewer connections: the senders that have one carry on.
			d.unserved <- err
			return nil
		case err != nil:
			return err
		case !found:
			d.drained.Store(true)
			return nil
		case ok:
			d.taken.Add(1)
		}
		if d.going.Err() == nil && d.started.Load() < int64(d.Concurrency) { // more may have been reserved in the meantime
			waiting, err := d.waiting(ctx)
			if err != nil {
				return err
			}
			d.start(ctx, waiting-1) // this one carries on, too
		}
	}
	return nil
}

// wait returns how many digests a server took, once the senders are done, and what kept them from sending the others.
func (d *delivery) wait(ctx context.Context) (sent int, err error) {
	err = d.group.Wait()
	close(d.unserved)
	if err == nil {
		err = <-d.unserved
	}
	switch {
	case err == nil:
	case ctx.Err() != nil && (errors.Is(err, context.Cause(ctx)) || errors.Is(err, ctx.Err())):
		err = nil // it was waiting for a connection, or asking for more, with nothing in hand
	case d.drained.Load() && errors.As(err, new(*smtp.Error)):
		d.Log.Warn("could not open as many connections to the mail server as configured", slog.Any("error", err))
		err = nil
	}
	return int(d.taken.Load()), err
}

// guard turns a panic into an error.
func (m *Mailer) guard(do func() error) (err error) {
	defer func() {
		if value := recover(); value != nil {
			m.Log.Error("sending a digest panicked", slog.Any("panic", value), slog.String("stack", string(debug.Stack())))
			err = fmt.Errorf("send digests: panic: %v", value)
		}
	}()
	return do()
}

func (m *Mailer) observe(c *claim, outcome string, reason error) {
	if m.Observe != nil {
		m.Observe(c.DigestID, outcome, reason)
	}
}
