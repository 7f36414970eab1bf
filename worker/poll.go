package worker

import (
	"context"
	"time"

	"headway/internal/pause"
)

// fastPoll is how often the worker looks when nobody can ring.
func (w *Worker) fastPoll() time.Duration {
	return min(w.Config.PollInterval, 250*time.Millisecond)
}

// poll folds through the pool until either context ends; the end of until does not interrupt the fold in hand. It takes
// no session lock and never KEY, so it works through any pooler, and any number of workers may do it. While folds fail,
// it pauses as trouble says.
func (w *Worker) poll(ctx, until context.Context, trouble *pause.Backoff) {
	for until.Err() == nil {
		w.metrics.polls.Inc()
		w.observe(Polled)
		folded, err := w.fold(ctx, w.foldThroughPool)
		// To people, it is the leader while it folds, even if others are too.
		w.status.update(func(c *condition) { c.leader = err == nil })
		if err != nil {
			w.complain(err)
			pause.For(until, trouble.Next())
			continue
		}
		trouble.Reset()
		if folded == 0 {
			pause.For(until, pause.Jitter(w.fastPoll()))
		}
	}
}
