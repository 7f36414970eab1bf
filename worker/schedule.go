package worker

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/robfig/cron/v3"
)

// sweepInterval is how often the mailer looks for what waits to be sent although the schedule does not say so: what
// is to be tried again, was left by a worker that vanished, or was reserved by hand.
const sweepInterval = 30 * time.Second

// digests has digests reserved when the schedule says so, and sends what is reserved. The schedule says only when to
// look. Who is due is computed in the database, so that a time that is skipped, comes twice or is seen by several
// workers neither loses nor doubles a mail.
func (w *Worker) digests(ctx context.Context) error {
	reserved := make(chan struct{}, 1)
	run := func(slot time.Time) {
		if err := w.reserve(ctx, slot); err != nil {
			if ctx.Err() == nil {
				w.Log.Error("digests could not be reserved; the next run makes up for it", slog.Any("error", err))
			}
			return
		}
		select {
		case reserved <- struct{}{}:
		default: // a sweep is on its way
		}
	}

	// Recover inside SkipIfStillRunning: the other way round, a panic would leave the job marked as running for good.
	logger := cronLogger{w.Log}
	chain := []cron.JobWrapper{cron.SkipIfStillRunning(logger), cron.Recover(logger)}
	crontab := cron.New(cron.WithChain(chain...), cron.WithLogger(logger))
	var id cron.EntryID
	id = crontab.Schedule(w.Config.DigestSchedule, cron.FuncJob(func() { run(crontab.Entry(id).Prev) }))
	if missed, err := w.missed(ctx); err != nil {
		w.Log.Error("whether a run of digests was missed is not known", slog.Any("error", err))
	} else if !missed.IsZero() {
		w.Log.Info("a run of digests was missed and is made up for", slog.Time("slot", missed))
		cron.NewChain(chain...).Then(cron.FuncJob(func() { run(missed) })).Run()
	}
	crontab.Start()
	defer func() { <-crontab.Stop().Done() }()

	sweep := time.NewTicker(sweepInterval)
	defer sweep.Stop()
	for {
		if sent, err := w.mailer.Send(ctx); err != nil && ctx.Err() == nil {
			w.Log.Error("digests could not be sent and are tried again", slog.Any("error", err))
		} else if sent > 0 {
			w.Log.Info("digests were sent", slog.Int("sent", sent))
		}
		select {
		case <-reserved:
		case <-sweep.C:
		case <-ctx.Done():
			return nil
		}
	}
}

const (
	sqlRunFinished = `select headway.digest_run_finished($1)`
	sqlPrune       = `select headway.prune_digests()`
	sqlLastRun     = `select max(slot) from headway.digest_run`
)

// reserve does what a time of the schedule asks for.
func (w *Worker) reserve(ctx context.Context, slot time.Time) error {
	reserved, err := w.mailer.Reserve(ctx)
	if err != nil {
		return err
	}
	if reserved > 0 {
		w.Log.Info("digests were reserved", slog.Int("reserved", reserved))
	}
	if _, err := w.pool.Exec(ctx, sqlRunFinished, slot); err != nil {
		return fmt.Errorf("record the run: %w", err)
	}
	if _, err := w.pool.Exec(ctx, sqlPrune); err != nil {
		return fmt.Errorf("prune the ledger: %w", err)
	}
	return nil
}

// missed returns the last time of the schedule that went by while no worker was there, the zero time if none did.
func (w *Worker) missed(ctx context.Context) (time.Time, error) {
	var last *time.Time
	if err := w.pool.QueryRow(ctx, sqlLastRun).Scan(&last); err != nil {
		return time.Time{}, fmt.Errorf("last run of digests: %w", err)
	}
	if last == nil {
		return time.Time{}, nil
	}
	return lastSlot(w.Config.DigestSchedule, *last, time.Now()), nil
}

// lastSlot returns the last time of a schedule after one moment and up to another, the zero time if there is none. The
// schedule looks forward only, so it is asked from further and further back.
func lastSlot(schedule cron.Schedule, after, until time.Time) (slot time.Time) {
	for back := time.Second; slot.IsZero(); back *= 2 {
		from := until.Add(-back)
		if from.Before(after) {
			from = after
		}
		for next := schedule.Next(from); !next.IsZero() && !next.After(until); next = schedule.Next(slot) {
			slot = next
		}
		if !from.After(after) {
			break
		}
	}
	return slot
}

// cronLogger hands on what the schedule has to say: its routine is nobody's business, a panic in a run is.
type cronLogger struct{ log *slog.Logger }

// Info implements [cron.Logger].
func (l cronLogger) Info(msg string, keysAndValues ...any) {
	l.log.Debug("the schedule", slog.String("event", msg), slog.Group("details", keysAndValues...))
}

// Error implements [cron.Logger].
func (l cronLogger) Error(err error, msg string, keysAndValues ...any) {
	l.log.Error("the schedule", slog.String("event", msg), slog.Any("error", err), slog.Group("details", keysAndValues...))
}
