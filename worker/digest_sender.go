package worker

import (
	"context"
	"errors"
	"log/slog"

	"headway/worker/smtp"
)

// sender sends one digest after another. So that its connection does not wait for the database, it prepares the next
// digest while one is being sent, and carries on with that one while the outcome of the first is recorded.
//
// A prepared digest is only claimed: no attempt is begun ahead of time, so a worker that dies leaves no more digests
// with an unknown outcome than it has connections, and a worker that stops gives back what it has prepared.
type sender struct {
	*delivery

	prepared chan preparation // nil: nothing is being prepared
	claim    *claim           // for which no attempt was begun; nil: none
	recorded chan error       // nil: nothing is being recorded
}

// preparation is the result of preparing a digest; a nil claim means there was none to claim.
type preparation struct {
	claim *claim
	err   error
}

// sendOne handles one digest. It reports whether there was one, and whether a server took it. It waits for a connection
// while the delivery is going; once an attempt has begun, only the end of ctx cuts it short.
func (s *sender) sendOne(ctx context.Context) (found, ok bool, err error) {
	if s.prepared != nil {
		if err := s.take(); err != nil || s.claim == nil {
			return false, false, err
		}
	}
	if s.claim != nil && s.Sender.Paused() { // by the end of the pause, it may have been read
		if err := s.giveBack(ctx); err != nil {
			return false, false, err
		}
	}
	if s.claim == nil && (s.Sender.Server.Rate > 0 || s.Sender.Paused()) { // do not wait for a turn with nothing to send
		if waiting, err := s.waiting(ctx); err != nil || waiting == 0 {
			return false, false, err
		}
	}
	// First the connection: if there is none, no digest is to blame and no attempt is used up.
	conn, err := s.Sender.Acquire(s.going)
	if err != nil {
		return false, false, err // as it is: a log leaves out the addresses in it
	}
	defer conn.Release()
	if s.claim == nil {
		if err := s.settle(); err != nil { // with nothing prepared, there is nothing else to do in the meantime
			return false, false, err
		}
		if s.claim, err = s.prepare(ctx, s.going); err != nil || s.claim == nil {
			return false, false, err
		}
	}
	ok, err = s.attempt(ctx, conn)
	return true, ok, err
}

// attempt sends the claimed digest over a connection. It reports whether a server took it.
func (s *sender) attempt(ctx context.Context, conn *smtp.Conn) (ok bool, err error) {
	// Sending ends first, so that its outcome can still be recorded. smtp.Timeouts keep it within the lease.
	sending, cancel := linger(ctx, sendLease, sendGrace)
	defer cancel()
	recording, cancel := linger(ctx, sendLease, sendGrace+recordGrace)
	record := func(query string, args ...any) error { return s.record(recording, cancel, query, args...) }
	c, log := s.claim, s.Log.With(slog.Int64("digest", s.claim.DigestID))
	s.claim = nil
	if frozen, err := s.freeze(recording, c); err != nil {
		log.Error("a digest could not be frozen", slog.Any("error", err))
		s.observe(c, string(smtp.Retry), err)
		return false, record(sqlFailed, c.DigestID, c.claimant, smtp.Retry, err.Error())
	} else if !frozen {
		defer cancel()
		log.Warn("a composed digest was not sent: the lease ran out, or the person no longer gets mail, or not this mail")
		return false, s.release(recording, c) // it may be composed again
	}
	s.prepareAhead(ctx)

	err = conn.Send(sending, s.Composer.From.Address, c.Email, c.Mail)
	if err == nil {
		log.Info("a digest was sent")
		s.observe(c, "sent", nil)
		return true, record(sqlSent, c.DigestID)
	}
	outcome := smtp.Unknown // unless the error says otherwise
	if failure, is := errors.AsType[*smtp.Error](err); is {
		outcome = failure.Outcome
	}
	log.Warn("a digest was not sent", slog.String("outcome", string(outcome)), slog.Any("error", err))
	s.observe(c, string(outcome), err)
	return false, record(sqlFailed, c.DigestID, c.claimant, outcome, err.Error())
}

// prepareAhead starts preparing the next digest, if no other sender could start with it. If the server limits the rate,
// a digest prepared ahead would only go stale.
func (s *sender) prepareAhead(ctx context.Context) {
	if s.Sender.Server.Rate > 0 || s.ahead.Add(-1) < 0 {
		return
	}
	prepared := make(chan preparation, 1)
	s.prepared = prepared
	go func() {
		var p preparation
		p.err = s.guard(func() (err error) {
			p.claim, err = s.prepare(ctx, s.going)
			return err
		})
		prepared <- p
	}()
}

// take waits for the digest being prepared.
func (s *sender) take() error {
	p := <-s.prepared
	s.prepared, s.claim = nil, p.claim
	return p.err
}

// record records the outcome of a digest while the sender carries on: with one more, before it waits for this.
func (s *sender) record(ctx context.Context, cancel context.CancelFunc, query string, args ...any) error {
	err := s.settle()
	how := durably
	if s.prepared != nil {
		how = lazily // the next attempt is committed right after it, and flushes both to disk
	}
	recorded := make(chan error, 1)
	s.recorded = recorded
	go func() {
		defer cancel()
		recorded <- s.insist(ctx, how, query, args...)
	}()
	return err
}

// settle waits for the recording under way.
func (s *sender) settle() (err error) {
	if s.recorded != nil {
		err = <-s.recorded
		s.recorded = nil
	}
	return err
}

// close finishes what the sender still has in hand: the last outcome is recorded, and the prepared digest given back.
func (s *sender) close(ctx context.Context) error {
	var errs []error
	if s.prepared != nil {
		errs = append(errs, s.take())
	}
	if s.claim != nil {
		errs = append(errs, s.giveBack(ctx))
	}
	return errors.Join(append(errs, s.settle())...)
}

// giveBack gives back the prepared digest.
func (s *sender) giveBack(ctx context.Context) error {
	ctx, cancel := linger(ctx, recordGrace, recordGrace)
	defer cancel()
	c := s.claim
	s.claim = nil
	return s.release(ctx, c)
}
