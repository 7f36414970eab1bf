package worker

import (
	"context"
	"fmt"
	"time"

	"headway/internal/pause"
	"headway/internal/sqlstate"
)

const sqlTryLead = `select pg_try_advisory_lock(headway.lock_key('leader'))`

// serve puts a session that hears to use until ctx is done, which is no error, or the session is lost. It closes the
// session.
func (w *Worker) serve(ctx context.Context, s *session) error {
	defer func() {
		s.close()
		w.status.update(func(c *condition) { c.leader, c.listening = false, false })
	}()
	if err := s.settle(ctx); err != nil {
		return err
	}
	w.status.update(func(c *condition) { c.listening = true })

	leads, err := w.standBy(ctx, s)
	if err != nil || !leads {
		return err
	}
	w.status.update(func(c *condition) { c.leader = true })
	w.Log.Info("this worker is now the leader")
	w.observe(Leading)
	return w.lead(ctx, s)
}

// standBy returns true once this session leads, false when ctx is done.
//
// It asks repeatedly rather than queueing: a session that waits for a lock inside a statement holds a snapshot, which
// keeps the queue's dead rows from being vacuumed.
func (w *Worker) standBy(ctx context.Context, s *session) (leads bool, err error) {
	poll := time.Now() // folds once at the start, too
	for said := false; ; said = true {
		if err := s.ask(ctx, sqlTryLead, &leads); err != nil {
			return false, fmt.Errorf("try to lead: %w", err)
		}
		if leads || ctx.Err() != nil {
			return leads, nil
		}
		if !said {
			w.Log.Info("another worker is the leader, standing by")
			w.observe(StandingBy)
		}
		if !time.Now().Before(poll) {
			w.metrics.polls.Inc()
			if _, err := w.fold(ctx, s.fold); err != nil {
				if s.lost(err) {
					return false, err
				}
				w.complain(err)
				if sqlstate.Of(err) == sqlstate.LockNotAvailable { // the leader is in the middle of a fold
					w.status.update(func(c *condition) { c.lastFold = time.Now() })
				}
			}
			poll = time.Now().Add(w.Config.PollInterval)
		}
		pause.For(ctx, pause.Jitter(w.StandbyInterval))
	}
}
