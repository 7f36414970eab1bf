package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"

	"headway/worker/mail"
	"headway/worker/smtp"
)

const (
	// sendLease is how long a digest belongs to the worker that claimed it.
	sendLease = 5 * time.Minute

	// sendGrace is how long the mail in hand may take after the worker was told to stop.
	sendGrace = 12 * time.Second

	// recordGrace is how long it may take after that to record how it ended. Both together leave time to retire.
	recordGrace = 3 * time.Second

	// reserveBatch bounds one reservation, which is one transaction.
	reserveBatch = 1000
)

// Mailer reserves digests and sends what is reserved. Any number of them, in any number of processes, may do so at
// once: who sends what is settled by the ledger, headway.digest, and what the ledger says is committed before the mail
// server hears of it.
type Mailer struct {
	Pool     *pgxpool.Pool
	WorkerID string // a UUID, whose last group gives way to a random one in digest.claimed_by
	Composer *mail.Composer
	Sender   *smtp.Pool
	Log      *slog.Logger

	// Concurrency is the number of digests in hand at a time, each on its own SMTP connection, from 1 on.
	Concurrency int

	// Observe is told how each attempt ended: sent, or an outcome of [smtp.Error] with its reason. Several may be told
	// at once. Nil: nobody is.
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

// Reserve writes down who is due now and returns how many they are.
func (m *Mailer) Reserve(ctx context.Context) (reserved int, err error) {
	for {
		var batch int
		if err := m.ask(ctx, &batch, sqlReserve, reserveBatch); err != nil {
			return reserved, fmt.Errorf("reserve digests: %w", err)
		}
		reserved += batch
		if batch == 0 { // rather than less than a batch: whoever's rows were held just then is passed over
			return reserved, nil
		}
	}
}

const sqlToSend = `select headway.digests_to_send()`

// Send sends whatever waits to be sent now, several at a time, and returns how many a server took. What a server
// refuses is in the ledger and in the log; an error is trouble with the database, or with the server as such. Once ctx
// is done no further digest is begun, and those in hand are finished.
func (m *Mailer) Send(ctx context.Context) (sent int, err error) {
	// The server is bothered only if there is something for it.
	var waiting int
	if err := m.Pool.QueryRow(ctx, sqlToSend).Scan(&waiting); err != nil {
		return 0, fmt.Errorf("digests to send: %w", err)
	}
	senders := min(m.Concurrency, waiting)
	var taken atomic.Int64
	var drained atomic.Bool
	unserved := make(chan error, senders)
	// Where the database is in trouble the others begin nothing more, but what they have in hand is not cut short.
	group, going := errgroup.WithContext(ctx)
	for range senders {
		group.Go(func() (err error) {
			defer func() {
				if value := recover(); value != nil {
					m.Log.Error("sending a digest panicked", slog.Any("panic", value), slog.String("stack", string(debug.Stack())))
					err = fmt.Errorf("send digests: panic: %v", value)
				}
			}()
			for going.Err() == nil {
				switch found, ok, err := m.sendOne(ctx, going); {
				case errors.As(err, new(*smtp.Error)):
					// The server may want fewer connections: those that have one go on.
					unserved <- err
					return nil
				case err != nil:
					return err
				case !found:
					drained.Store(true)
					return nil
				case ok:
					taken.Add(1)
				}
			}
			return nil
		})
	}
	err = group.Wait()
	if close(unserved); err == nil {
		err = <-unserved
	}
	switch {
	case err == nil:
	case ctx.Err() != nil && errors.Is(err, context.Cause(ctx)):
		err = nil // it waited for a connection, with nothing in hand
	case drained.Load() && errors.As(err, new(*smtp.Error)):
		m.Log.Warn("fewer connections to the mail server could be had than asked for", slog.Any("error", err))
		err = nil
	}
	return int(taken.Load()), err
}

// claim is what headway.claim_digest returns: what there is to say, or, where that was rendered before, the very mail.
type claim struct {
	mail.Content
	Mail     []byte `json:"mail"`
	fresh    bool   // Mail was composed just now
	claimant string
}

// sendOne claims one digest and sees it through. It reports whether there was one, and whether a server took it. It
// waits for a connection until going is done; once it has claimed a digest, only the end of ctx hurries it.
func (m *Mailer) sendOne(ctx, going context.Context) (found, ok bool, err error) {
	// First the connection: where there is none, no digest is to blame and no attempt is spent.
	conn, err := m.Sender.Acquire(going)
	if err != nil {
		return false, false, fmt.Errorf("mail server: %w", err)
	}
	defer conn.Release()
	// Sending ends first, so that how it ended can still be recorded. smtp.Timeouts bound it within the lease.
	sending, cancel := linger(ctx, sendLease, sendGrace)
	defer cancel()
	ctx, cancel = linger(ctx, sendLease, sendGrace+recordGrace)
	defer cancel()
	claimant := m.claimant()
	content, err := m.claim(ctx, claimant)
	if err != nil || content == nil {
		return false, false, err
	}
	c, err := m.compose(content)
	c.claimant = claimant
	log := m.Log.With(slog.Int64("digest", c.DigestID))
	if err != nil {
		// It would be no better the next time, and no other is to wait for it.
		log.Error("a digest could not be composed", slog.Any("error", err))
		return true, false, m.failed(ctx, c, smtp.Rejected, err)
	}
	if c.fresh {
		if frozen, err := m.freeze(ctx, c); err != nil {
			log.Error("a digest could not be frozen", slog.Any("error", err))
			return true, false, m.failed(ctx, c, smtp.Retry, err)
		} else if !frozen {
			log.Warn("a digest was composed and is not sent: the lease ran out, or the person takes no mail any more")
			return true, false, nil
		}
	}

	err = conn.Send(sending, m.Composer.From.Address, c.Email, c.Mail)
	if err == nil {
		log.Info("a digest was sent")
		return true, true, m.sent(ctx, c)
	}
	outcome := smtp.Unknown // unless the error knows better
	if failure := new(smtp.Error); errors.As(err, &failure) {
		outcome = failure.Outcome
	}
	log.Warn("a digest was not sent", slog.String("outcome", string(outcome)), slog.Any("error", err))
	conn.Release()
	return true, false, m.failed(ctx, c, outcome, err)
}

// claimant is the holder of one claim, not of another one by this worker. What became of an attempt is said again if the
// answer was lost, and then the next attempt may be in the hands of another sender: it must not be taken for its word.
func (m *Mailer) claimant() string {
	const last = len("00000000-0000-0000-0000-")
	return m.WorkerID[:last] + uuid.NewString()[last:]
}

const sqlClaim = `select headway.claim_digest($1, $2)`

// claim takes a digest, nil if there is none.
func (m *Mailer) claim(ctx context.Context, claimant string) (content []byte, err error) {
	if err := m.ask(ctx, &content, sqlClaim, claimant, sendLease); err != nil {
		return nil, fmt.Errorf("claim a digest: %w", err)
	}
	return content, nil
}

// compose reads a claim and renders its mail, unless that was done before. With an error, which a panic is as well, the
// claim says at least which digest it is.
func (m *Mailer) compose(content []byte) (c *claim, err error) {
	c = new(claim)
	defer func() {
		if value := recover(); value != nil {
			m.Log.Error("composing a digest panicked", slog.Int64("digest", c.DigestID), slog.Any("panic", value),
				slog.String("stack", string(debug.Stack())))
			err = fmt.Errorf("compose: panic: %v", value)
		}
	}()
	if err := json.Unmarshal(content, c); err != nil { // the id comes first
		return c, fmt.Errorf("compose: %w", err)
	}
	if c.Mail == nil {
		c.fresh = true
		c.Mail, err = m.Composer.Compose(c.Content, time.Now())
	}
	return c, err
}

const sqlFreeze = `select headway.freeze_digest($1, $2, $3, $4)`

// freeze puts the mail on record, byte by byte. It reports whether it may be sent.
func (m *Mailer) freeze(ctx context.Context, c *claim) (frozen bool, err error) {
	err = m.ask(ctx, &frozen, sqlFreeze, c.DigestID, c.claimant, c.Email, c.Mail)
	if err != nil {
		return false, fmt.Errorf("freeze: %w", err)
	}
	return frozen, nil
}

const sqlSent = `select headway.digest_sent($1)`

// sent records that a server took it. That is worth trying for as long as the lease: after it the digest counts as
// unknown, and is sent again.
func (m *Mailer) sent(ctx context.Context, c *claim) error {
	m.observe(c, "sent", nil)
	return m.insist(ctx, sqlSent, c.DigestID)
}

const sqlFailed = `select headway.digest_failed($1, $2, $3, $4)`

// failed records why it was not sent.
func (m *Mailer) failed(ctx context.Context, c *claim, outcome smtp.Outcome, reason error) error {
	m.observe(c, string(outcome), reason)
	return m.insist(ctx, sqlFailed, c.DigestID, c.claimant, string(outcome), reason.Error())
}

// ask runs a statement of the ledger that returns one value. Whatever the default isolation is, each statement that it
// consists of sees what others have committed by then: several who claim at a time would fail each other otherwise.
func (m *Mailer) ask(ctx context.Context, into any, query string, args ...any) error {
	return pgx.BeginTxFunc(ctx, m.Pool, pgx.TxOptions{IsoLevel: pgx.ReadCommitted}, func(tx pgx.Tx) error {
		return tx.QueryRow(ctx, query, args...).Scan(into)
	})
}

// insist runs a statement until it succeeds or ctx is done.
func (m *Mailer) insist(ctx context.Context, query string, args ...any) error {
	trouble := backoff{first: 100 * time.Millisecond, max: 5 * time.Second}
	for {
		var answer any // what it says is in the ledger
		err := m.ask(ctx, &answer, query, args...)
		if err == nil {
			return nil
		}
		m.Log.Error("how a digest ended could not be recorded and is tried again", slog.Any("error", err))
		if !pause(ctx, trouble.pause()) {
			return fmt.Errorf("record the end of a digest: %w", err)
		}
	}
}

func (m *Mailer) observe(c *claim, outcome string, reason error) {
	if m.Observe != nil {
		m.Observe(c.DigestID, outcome, reason)
	}
}
