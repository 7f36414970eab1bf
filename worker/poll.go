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
	ctx, cancel := context.WithTimeout(ctx, duration)
	defer cancel()
	trouble := backoff{first: w.fastPoll(), max: 5 * time.Second}
	for ctx.Err() == nil {
		w.metrics.polls.Inc()
		w.observe(Polled)
		wait := jitter(w.fastPoll())
		switch folded, err := w.fold(ctx, w.pool); {
		case err != nil:
			w.complain(err)
			wait = trouble.pause()
		case folded > 0:
			continue
		default:
			trouble.reset()
		}
		pause(ctx, wait)
	}
}
