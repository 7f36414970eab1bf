package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

const sqlFold = `select headway.fold($1)`

// querier is a session, which holds leadership while it folds, or the pool.
type querier interface {
	QueryRow(ctx context.Context, query string, args ...any) pgx.Row
}

// fold folds one batch and returns how many facts it consumed. A fold that has begun is finished though ctx ends,
// within reason. Errors are counted.
func (w *Worker) fold(ctx context.Context, on querier) (folded int, err error) {
	ctx, cancel := linger(ctx, foldTimeout, foldGrace)
	defer cancel()

	began := time.Now()
	if err := on.QueryRow(ctx, sqlFold, w.MaxFacts).Scan(&folded); err != nil {
		w.metrics.foldErrors.Inc()
		return 0, fmt.Errorf("fold: %w", err)
	}
	w.metrics.foldSeconds.Observe(time.Since(began).Seconds())
	w.metrics.facts.Add(float64(folded))
	w.status.update(func(c *condition) { c.lastFold = time.Now() })
	if folded > 0 {
		w.observe(Folded)
	}
	return folded, nil
}

// complain logs a fold that failed though the connection did not. Meeting another transaction is no fault of anyone.
func (w *Worker) complain(err error) {
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) {
		switch pgErr.Code {
		case "40001", "40P01", "55P03": // serialization_failure, deadlock_detected, lock_not_available
			w.Log.Info("the fold met another transaction and is tried again", slog.String("code", pgErr.Code), slog.Any("error", err))
			return
		}
	}
	w.Log.Error("the fold failed and is tried again", slog.Any("error", err))
}
