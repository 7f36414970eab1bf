package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"headway/internal/listen"
	"headway/internal/pause"
)

const sqlTryLead = `select pg_try_advisory_lock(headway.lock_key('leader'))`

// steady is how long a session must last to count as a success.
const steady = 10 * time.Second

// progress is the loop that keeps progress folded, in whatever way works: leading, standing by, or polling. The first
// session is the one that Run opened.
func (w *Worker) progress(ctx context.Context, s *session) error {
	reconnect := pause.Backoff{First: 50 * time.Millisecond, Max: 5 * time.Second}
	polling := &pause.Backoff{First: w.fastPoll(), Max: 5 * time.Second}
	wasDeaf := false
	wait, slow := time.Duration(0), false
	for {
		var err error
		tried := time.Now()
		switch {
		case wasDeaf:
			w.observe(Deaf)
			s, err = w.pollMeanwhile(ctx, w.RelistenInterval, polling)
		case wait < time.Second && !slow:
			if pause.For(ctx, wait) {
				s, err = w.hearing(ctx, s)
			}
		default:
			s, err = w.pollMeanwhile(ctx, wait, polling) // where DATABASE_URL still works, facts need not wait
		}
		if ctx.Err() != nil {
			if s != nil {
				s.close()
			}
			return nil
		}
		began := time.Now()
		slow = err != nil && began.Sub(tried) > time.Second // as when an address does not respond at all
		if err == nil {
			err = w.serve(ctx, s)
		}
		s = nil
		if ctx.Err() != nil {
			return nil
		}

		w.metrics.reconnects.Inc()
		if errors.Is(err, listen.ErrDeaf) {
			if !wasDeaf {
				w.Log.Warn("LISTEN does not work, so the worker polls: is DATABASE_URL a pooler in transaction mode? "+
					"Set HEADWAY_LISTEN_URL to a direct connection to the same database",
					slog.Duration("poll_interval", w.fastPoll()), slog.Duration("tries_again_in", w.RelistenInterval))
			}
			wasDeaf = true
			continue
		}
		wasDeaf = false
		if time.Since(began) > steady {
			reconnect.Reset()
		}
		wait = reconnect.Next()
		w.Log.Warn("the session that listens and folds was lost, reconnecting", slog.Any("error", err), slog.Duration("after", wait))
		w.observe(Lost)
		w.pool.Reset() // what ended this connection has probably ended the others
	}
}

// hearing returns a session that is known to hear: the given one or, if that is nil, a new one.
func (w *Worker) hearing(ctx context.Context, s *session) (*session, error) {
	if s == nil {
		var err error
		if s, err = w.open(ctx); err != nil {
			return nil, err
		}
	}
	if err := w.probe(ctx, s); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// pollMeanwhile waits and then opens a session that hears, polling all the while.
func (w *Worker) pollMeanwhile(ctx context.Context, wait time.Duration, polling *pause.Backoff) (s *session, err error) {
	defer w.status.update(func(c *condition) { c.leader = false })
	tried, done := context.WithCancel(ctx)
	var trying sync.WaitGroup
	trying.Go(func() {
		defer done()
		if pause.For(ctx, wait) {
			s, err = w.hearing(ctx, nil)
		}
	})
	w.poll(ctx, tried, polling)
	trying.Wait()
	return s, err
}

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
			if _, err := w.fold(ctx, s); err != nil {
				if s.lost(err) {
					return false, err
				}
				w.complain(err)
			}
			poll = time.Now().Add(w.Config.PollInterval)
		}
		pause.For(ctx, pause.Jitter(w.StandbyInterval))
	}
}
