package worker

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/google/uuid"

	"headway/internal/pause"
	"headway/internal/sqlstate"
	"headway/worker/mail"
	"headway/worker/smtp"
)

// claim is what headway.claim_digest returns: what there is to say or, if that was rendered before, the mail itself.
type claim struct {
	mail.Content
	Mail     []byte `json:"mail"`
	fresh    bool   // Mail was just composed
	claimant string
}

// claimant returns the id of one claim, distinct even from other claims by this worker. The outcome of an attempt is
// reported again if the answer was lost, and by then another sender may be making the next attempt: the repeated report
// must not count as its outcome.
func (m *Mailer) claimant() string {
	const last = len("00000000-0000-0000-0000-")
	return m.WorkerID[:last] + uuid.NewString()[last:]
}

const sqlClaim = `select headway.claim_digest($1, $2)`

// prepare claims a digest and gets its mail ready; nil if there is none. A digest that cannot be composed ends there
// and the next one is tried, until going is done.
func (m *Mailer) prepare(ctx, going context.Context) (*claim, error) {
	ctx, cancel := linger(ctx, sendLease, sendGrace)
	defer cancel()
	for going.Err() == nil {
		claimant := m.claimant()
		var content []byte
		if err := m.ask(ctx, &content, claiming, sqlClaim, claimant, sendLease); err != nil {
			return nil, fmt.Errorf("claim a digest: %w", err)
		}
		if content == nil {
			break
		}
		c, err := m.compose(content)
		c.claimant = claimant
		if err == nil {
			return c, nil
		}
		// It would fare no better the next time, and no other digest should wait for it.
		m.Log.Error("a digest could not be composed", slog.Int64("digest", c.DigestID), slog.Any("error", err))
		m.observe(c, string(smtp.Rejected), err)
		if err := m.insist(ctx, durably, sqlFailed, c.DigestID, c.claimant, smtp.Rejected, err.Error()); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// compose parses a claim and renders its mail, unless that was done before. Even with an error, which may be a
// recovered panic, the claim says at least which digest it is.
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

const sqlRelease = `select headway.release_digest($1, $2)`

// release gives back a digest for which no attempt was begun.
func (m *Mailer) release(ctx context.Context, c *claim) error {
	var released bool
	if err := m.quickly(ctx, &released, lazily, sqlRelease, c.DigestID, c.claimant); err != nil {
		return fmt.Errorf("give back a digest: %w", err)
	}
	return nil
}

const sqlFreeze = `select headway.freeze_digest($1, $2, $3, $4, $5)`

// freeze begins an attempt: it records the attempt together with the mail, byte for byte, unless that is on record
// already. It reports whether the mail may be sent.
func (m *Mailer) freeze(ctx context.Context, c *claim) (frozen bool, err error) {
	var recipient *string
	var mail []byte
	if c.fresh {
		recipient, mail = &c.Email, c.Mail
	}
	if err := m.ask(ctx, &frozen, durably, sqlFreeze, c.DigestID, c.claimant, recipient, mail, sendLease); err != nil {
		return false, fmt.Errorf("freeze: %w", err)
	}
	return frozen, nil
}

// The outcome of a digest: a server took it, or why not. Recording it is worth retrying for as long as the lease: after
// that, the digest counts as unknown and is sent again.
const (
	sqlSent   = `select headway.digest_sent($1)`
	sqlFailed = `select headway.digest_failed($1, $2, $3, $4)`
)

// insist runs a statement on the ledger until it succeeds or ctx is done. It does not insist where there is no attempt for
// the outcome to be of: the database has gone back to before it, as in a failover to a standby that lagged behind.
func (m *Mailer) insist(ctx context.Context, how manner, query string, args ...any) error {
	trouble := pause.Backoff{First: 100 * time.Millisecond, Max: 5 * time.Second}
	for {
		var answer any // the ledger has what it says
		err := m.quickly(ctx, &answer, how, query, args...)
		if err == nil {
			return nil
		}
		if sqlstate.Of(err) == sqlstate.ObjectNotInPrerequisiteState {
			m.Log.Error("the database has lost the attempt to send a digest, which is sent again", slog.Any("error", err))
			return nil
		}
		m.Log.Error("the outcome of a digest could not be recorded, retrying", slog.Any("error", err))
		if !pause.For(ctx, trouble.Next()) {
			return fmt.Errorf("record the outcome of a digest: %w", err)
		}
	}
}

// ask runs a statement on the ledger that returns one value. If it fails, the pool closes the connection, which is in
// the middle of the transaction.
func (m *Mailer) ask(ctx context.Context, into any, how manner, query string, args ...any) error {
	ctx, cancel := context.WithTimeout(ctx, ledgerTimeout)
	defer cancel()
	return m.Pool.SendBatch(ctx, transaction(into, how, query, args...)).Close()
}

// quickly is [Mailer.ask] for quick statements: it does not wait long for a peer that is gone.
func (m *Mailer) quickly(ctx context.Context, into any, how manner, query string, args ...any) error {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	return m.ask(ctx, into, how, query, args...)
}
