package worker

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"headway/internal/listen"
	"headway/internal/pause"
)

// progress is the loop that keeps progress folded, in whatever way works: leading, standing by, or polling. The first
// session is the one that Run opened.
func (w *Worker) progress(ctx context.Context, first *session) error {
	ss := &sessions{
		Worker:    w,
		reconnect: pause.Backoff{First: 50 * time.Millisecond, Max: 5 * time.Second},
		trouble:   pause.Backoff{First: w.fastPoll(), Max: 5 * time.Second},
	}
	for s := first; ; s = nil {
		err := ss.use(ctx, s)
		if ctx.Err() != nil {
			return nil
		}
		ss.lost(err)
	}
}

// sessions are the sessions of a worker, one after another.
type sessions struct {
	*Worker
	reconnect pause.Backoff // while they are lost
	trouble   pause.Backoff // while folds without a session fail

	deaf bool          // the last one did not hear
	wait time.Duration // before the next one is opened
	slow bool          // opening the last one failed after a while, as when an address does not respond at all
}

// steady is how long a session must last to count as a success.
const steady = 10 * time.Second

// use puts a session to use, the given one or a new one, until it is lost or ctx is done.
func (ss *sessions) use(ctx context.Context, s *session) error {
	tried := time.Now()
	s, err := ss.next(ctx, s)
	began := time.Now()
	ss.slow = err != nil && began.Sub(tried) > time.Second
	if err != nil {
		return err
	}
	if ctx.Err() != nil {
		if s != nil {
			s.close()
		}
		return ctx.Err()
	}
	err = ss.serve(ctx, s)
	if time.Since(began) > steady {
		ss.reconnect.Reset()
	}
	return err
}

// next returns a session that hears: the given one or, if that is nil, a new one, after a pause. A long pause, or one
// of unknown length, is spent polling. The session does not count if ctx is done.
func (ss *sessions) next(ctx context.Context, s *session) (*session, error) {
	switch {
	case ss.deaf:
		ss.observe(Deaf)
		return ss.pollMeanwhile(ctx, ss.RelistenInterval)
	case ss.wait >= time.Second || ss.slow:
		return ss.pollMeanwhile(ctx, ss.wait) // where DATABASE_URL still works, facts need not wait
	case pause.For(ctx, ss.wait):
		return ss.hearing(ctx, s)
	}
	return s, nil
}

// lost notes why there is no session any more.
func (ss *sessions) lost(err error) {
	ss.metrics.reconnects.Inc()
	wasDeaf := ss.deaf
	if ss.deaf = errors.Is(err, listen.ErrDeaf); ss.deaf {
		if !wasDeaf {
			ss.Log.Warn("LISTEN does not work, so the worker polls: is DATABASE_URL a pooler in transaction mode? "+
				"Set HEADWAY_LISTEN_URL to a direct connection to the same database",
				slog.Duration("poll_interval", ss.fastPoll()), slog.Duration("tries_again_in", ss.RelistenInterval))
		}
		return
	}
	ss.wait = ss.reconnect.Next()
	ss.Log.Warn("the session that listens and folds was lost, reconnecting", slog.Any("error", err), slog.Duration("after", ss.wait))
	ss.observe(Lost)
	ss.pool.Reset() // what ended this connection has probably ended the others
}

// hearing returns a session that is known to hear: the given one or, if that is nil, a new one.
func (ss *sessions) hearing(ctx context.Context, s *session) (*session, error) {
	if s == nil {
		var err error
		if s, err = ss.open(ctx); err != nil {
			return nil, err
		}
	}
	if err := ss.probe(ctx, s); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// pollMeanwhile waits and then opens a session that hears, polling all the while.
func (ss *sessions) pollMeanwhile(ctx context.Context, wait time.Duration) (s *session, err error) {
	defer ss.status.update(func(c *condition) { c.leader = false })
	tried, done := context.WithCancel(ctx)
	var trying sync.WaitGroup
	trying.Go(func() {
		defer done()
		if pause.For(ctx, wait) {
			s, err = ss.hearing(ctx, nil)
		}
	})
	ss.poll(ctx, tried, &ss.trouble)
	trying.Wait()
	return s, err
}
