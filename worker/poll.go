package worker

import (
	"context"
	"time"
)

// fastPoll is how often the worker looks where nobody can ring.
func (w *Worker) fastPoll() time.Duration {
	return min(w.Config.PollInterval, 250*time.Millisecond)
}

// poll folds by way of the pool for a while. It takes no lock of a session and never KEY, so it works through any
// pooler, and any number of workers may do it.
func (w *Worker) poll(ctx context.Context, duration time.Duration) {
	until := time.Now().Add(duration) // and no deadline of ctx, which would cut a fold short
	trouble := backoff{first: w.fastPoll(), max: 5 * time.Second}
	for ctx.Err() == nil && time.Now().Before(until) {
		w.metrics.polls.Inc()
		w.observe(Polled)
		folded, err := w.fold(ctx, pooled{w.pool})
		if err != nil {
			w.complain(err)
			pause(ctx, trouble.pause())
			continue
		}
		trouble.reset()
		if folded == 0 {
			pause(ctx, jitter(w.fastPoll()))
		}
	}
}
