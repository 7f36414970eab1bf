package worker

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"headway/internal/sqlstate"
)

const sqlFold = `select headway.fold($1)`

// foldThroughPool is what [session.fold] is without a session. Since a pool's sessions cannot be settled, each fold sets
// what it needs.
func (w *Worker) foldThroughPool(ctx context.Context, maxFacts int) (folded int, err error) {
	conn, err := w.acquire(ctx)
	if err != nil {
		return 0, err
	}
	defer conn.Release()
	if err := conn.SendBatch(ctx, transaction(&folded, durably, sqlFold, maxFacts)).Close(); err != nil {
		return 0, err
	}
	return folded, nil
}

// acquire takes a connection that answers: a fold may take a long time, so a dead connection is detected here, quickly.
func (w *Worker) acquire(ctx context.Context) (*pgxpool.Conn, error) {
	ctx, cancel := quick(ctx)
	defer cancel()
	conn, err := w.pool.Acquire(ctx)
	if err != nil {
		return nil, err
	}
	if err := conn.Ping(ctx); err != nil {
		conn.Release()
		return nil, err
	}
	return conn, nil
}

// maxStretch is how many times the usual batch size a worker that is behind may fold at once. A project's bar, channel
// and notification are written once per batch, so facts in larger batches cost less, and the worker catches up.
const maxStretch = 16

// fold folds one batch by calling do, with the most facts to take, and returns how many facts it consumed. A fold that
// has begun is finished even if ctx ends, within foldGrace. Errors are counted.
func (w *Worker) fold(ctx context.Context, do func(ctx context.Context, maxFacts int) (int, error)) (folded int, err error) {
	ctx, cancel := linger(ctx, foldTimeout, foldGrace)
	defer cancel()

	began := time.Now()
	most := cmp.Or(w.most, w.MaxFacts)
	w.status.update(func(c *condition) { c.folding = true })
	if folded, err = do(ctx, most); err != nil {
		w.metrics.foldErrors.Inc()
		w.status.update(func(c *condition) { c.folding, c.failing = false, true })
		// Of each project to be recounted, a fold takes all that waits, which may be more than it has the time or the
		// memory for: the next one takes fewer projects.
		w.most = max(min(most, w.MaxFacts)/4, 1)
		return 0, fmt.Errorf("fold: %w", err)
	}
	w.most = w.MaxFacts
	if folded >= most {
		w.most = min(2*most, maxStretch*w.MaxFacts)
	}
	w.metrics.foldSeconds.Observe(time.Since(began).Seconds())
	w.metrics.facts.Add(float64(folded))
	w.status.update(func(c *condition) { c.folding, c.failing, c.lastFold = false, false, time.Now() })
	if folded > 0 {
		w.observe(Folded)
	}
	return folded, nil
}

// complain logs a fold that failed without losing the connection. A conflict with another transaction is nobody's
// fault.
func (w *Worker) complain(err error) {
	switch code := sqlstate.Of(err); code {
	case sqlstate.SerializationFailure, sqlstate.DeadlockDetected, sqlstate.LockNotAvailable:
		w.Log.Info("the fold conflicted with another transaction, retrying", slog.String("code", code), slog.Any("error", err))
	default:
		w.Log.Error("the fold failed, retrying", slog.Any("error", err))
	}
}
