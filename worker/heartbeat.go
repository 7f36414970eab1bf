package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/jackc/pgx/v5"

	"headway/sql"
)

const (
	sqlHeartbeat = `select headway.heartbeat($1, $2, $3, $4, $5)`

	sqlRetire = `select headway.retire($1)`

	sqlStatus = `
select
  pending_facts, coalesce(extract(epoch from oldest_fact_age), 0)::float8, notification_queue_percent::float8 / 100::float8,
  digests, coalesce(extract(epoch from oldest_digest_age), 0)::float8
from headway.status`
)

// heartbeat reports that the worker is alive and whether it leads, and checks how things are, until ctx is done.
func (w *Worker) heartbeat(ctx context.Context) error {
	for {
		if err := w.beat(ctx); err != nil && ctx.Err() == nil {
			w.Log.Warn("the heartbeat failed", slog.Any("error", err))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(w.HeartbeatInterval):
		case <-w.status.changed: // the others should know at once who leads
		}
	}
}

func (w *Worker) beat(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	conn, err := w.pool.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer conn.Release()

	schema := sql.Check(ctx, conn.Conn())
	if schema != nil && !errors.As(schema, new(*sql.VersionError)) && !errors.As(schema, new(*sql.AccessError)) &&
		!errors.As(schema, new(*sql.UnprotectedError)) {
		return fmt.Errorf("check the schema: %w", schema) // the error says nothing about the schema
	}
	before := w.status.update(func(c *condition) { c.schema = schema })
	host, _ := os.Hostname() // a worker without a name is still alive
	if err := sql.InCatalog(ctx, conn, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, sqlHeartbeat, w.id, host, os.Getpid(), w.Version, before.leader)
		return err
	}); err != nil {
		return fmt.Errorf("record the heartbeat: %w", err)
	}

	var queue queue
	var digests map[string]float64
	if err := sql.InCatalog(ctx, conn, func(tx pgx.Tx) error {
		return tx.QueryRow(ctx, sqlStatus).Scan(&queue.facts, &queue.age, &queue.notifications, &digests, &queue.digestAge)
	}); err != nil {
		return fmt.Errorf("read headway.status: %w", err)
	}
	w.metrics.ledger(digests)
	before = w.status.update(func(c *condition) { c.queue, c.lastBeat = queue, time.Now() })
	switch silent, was := queue.notifications >= 0.5, before.queue.notifications >= 0.5; {
	case silent && !was:
		w.Log.Warn("the server's notification queue is half full, so headway sends no notifications: "+
			"a listening session is stuck in a transaction (pg_stat_activity shows the oldest)",
			slog.Float64("usage", queue.notifications))
	case was && !silent:
		w.Log.Info("the server's notification queue has room again, so headway sends notifications", slog.Float64("usage", queue.notifications))
	}
	return nil
}

// retire records that the worker has stopped. ctx is the one passed to Run, and is already done.
func (w *Worker) retire(ctx context.Context) {
	ctx, cancel := quick(ctx)
	defer cancel()
	if _, err := w.pool.Exec(ctx, sqlRetire, w.id); err != nil {
		w.Log.Warn("the worker's row was left behind and will be removed after a day", slog.Any("error", err))
	}
}
