package worker

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/robfig/cron/v3"

	"headway/internal/pause"
)

// digests reserves digests when the schedule says so, and sends what is reserved. The schedule only says when to look.
// Who is due is computed in the database, so a time that comes late, comes twice or is seen by several workers neither
// loses nor duplicates mail.
func (w *Worker) digests(ctx context.Context) error {
	runs := &runs{Worker: w, reserved: make(chan struct{}, 1)}
	ctx, stop := context.WithCancel(ctx)
	var timetable sync.WaitGroup
	timetable.Go(func() { runs.keepTime(ctx) })
	defer timetable.Wait()
	defer stop() // even after a panic

	sweep := time.Tick(w.SweepInterval)
	for {
		if sent, err := w.mailer.Send(ctx); err != nil && ctx.Err() == nil {
			w.metrics.mailErrors.Inc()
			w.Log.Error("digests could not be sent, retrying", slog.Any("error", err))
		} else if sent > 0 {
			w.Log.Info("digests were sent", slog.Int("sent", sent))
		}
		select {
		case <-runs.reserved:
		case <-sweep:
		case <-ctx.Done():
			return nil
		}
	}
}

// runs are the runs that the schedule asks for.
type runs struct {
	*Worker
	owed     atomic.Pointer[time.Time] // the last scheduled time, until its run has succeeded; nil: none
	known    bool                      // whether it is known if a run was missed before the worker started
	reserved chan struct{}
}

// keepTime does a run at every scheduled time, and makes up for one that was missed or that failed, until ctx is done.
// While a run is in progress, further ones are skipped.
func (r *runs) keepTime(ctx context.Context) {
	// Recover inside SkipIfStillRunning: the other way round, a panic would leave the job marked as running for good.
	logger := cronLogger{r.Log}
	chain := cron.NewChain(cron.SkipIfStillRunning(logger), cron.Recover(logger))
	run := chain.Then(cron.FuncJob(func() { r.run(ctx) }))
	makeUp := chain.Then(cron.FuncJob(func() {
		if r.lookBack(ctx) {
			run.Run()
		}
	}))
	times := timetable{schedule: r.Config.DigestSchedule}
	times.look(r.Now(), r.SweepInterval) // a time that comes while it makes up for another is not missed
	makeUp.Run()

	var jobs sync.WaitGroup
	defer jobs.Wait()
	for {
		slot, wait := times.look(r.Now(), r.SweepInterval)
		if slot.IsZero() {
			jobs.Go(makeUp.Run)
		} else {
			r.owed.Store(&slot)
			jobs.Go(run.Run)
		}
		if !pause.For(ctx, wait) {
			return
		}
	}
}

// run does the run that is owed. If it fails, it remains owed.
func (r *runs) run(ctx context.Context) {
	slot := r.owed.Load()
	if slot == nil {
		return
	}
	if err := r.reserve(ctx, *slot); err != nil {
		if ctx.Err() == nil {
			r.metrics.mailErrors.Inc()
			r.Log.Error("digests could not be reserved, retrying", slog.Any("error", err))
		}
		return
	}
	r.owed.CompareAndSwap(slot, nil) // unless the next time has come
	select {
	case r.reserved <- struct{}{}:
	default: // a sweep is already due
	}
}

// lookBack notes in r.owed the run that is owed, if any: one that failed and that no other worker has done in the
// meantime, or one that was missed while no worker was running. It returns false if that could not be found out, or if
// it was known already that none is.
func (r *runs) lookBack(ctx context.Context) bool {
	slot := r.owed.Load()
	if r.known && slot == nil {
		return false
	}
	last, err := r.lastRun(ctx)
	switch {
	case err != nil:
		if ctx.Err() == nil {
			r.Log.Error("could not find out whether a digest run was missed, retrying", slog.Any("error", err))
		}
		return false
	case slot != nil && !last.Before(*slot):
		if r.owed.CompareAndSwap(slot, nil) {
			r.Log.Info("the digest run has already been done", slog.Time("slot", *slot))
		}
	case slot == nil && !last.IsZero():
		if missed := lastSlot(r.Config.DigestSchedule, last, r.Now()); !missed.IsZero() && r.owed.CompareAndSwap(nil, &missed) {
			r.Log.Info("a digest run was missed, making up for it", slog.Time("slot", missed))
		}
	}
	r.known = true
	return true
}

const (
	sqlRunFinished = `select headway.digest_run_finished($1)`
	sqlPrune       = `select headway.prune_digests()`
	// A clock that was ahead may have recorded runs whose time has not come.
	sqlLastRun = `select max(r.slot) from headway.digest_run r where r.slot <= now()`
)

// reserve does what a scheduled time asks for.
func (w *Worker) reserve(ctx context.Context, slot time.Time) error {
	reserved, err := w.mailer.Reserve(ctx)
	if err != nil {
		return err
	}
	if reserved > 0 {
		w.Log.Info("digests were reserved", slog.Int("reserved", reserved))
	}
	var recorded any
	if err := w.mailer.quickly(ctx, &recorded, durably, sqlRunFinished, slot); err != nil {
		return fmt.Errorf("record the run: %w", err)
	}
	var pruned int64
	if err := w.mailer.ask(ctx, &pruned, durably, sqlPrune); err != nil {
		return fmt.Errorf("prune the ledger: %w", err)
	}
	return nil
}

// lastRun returns the last scheduled time whose run is on record, or the zero time.
func (w *Worker) lastRun(ctx context.Context) (last time.Time, err error) {
	var slot *time.Time
	if err := w.mailer.quickly(ctx, &slot, lazily, sqlLastRun); err != nil {
		return last, fmt.Errorf("last run of digests: %w", err)
	}
	if slot != nil {
		last = *slot
	}
	return last, nil
}
