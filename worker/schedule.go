package worker

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/robfig/cron/v3"
)

// digests has digests reserved when the schedule says so, and sends what is reserved. The schedule says only when to
// look. Who is due is computed in the database, so that a time that comes late, comes twice or is seen by several workers
// neither loses nor doubles a mail.
func (w *Worker) digests(ctx context.Context) error {
	runs := &runs{Worker: w, reserved: make(chan struct{}, 1)}
	ctx, stop := context.WithCancel(ctx)
	var timetable sync.WaitGroup
	timetable.Go(func() { runs.keepTime(ctx) })
	defer timetable.Wait()
	defer stop() // after a panic, too

	sweep := time.NewTicker(w.SweepInterval)
	defer sweep.Stop()
	for {
		if sent, err := w.mailer.Send(ctx); err != nil && ctx.Err() == nil {
			w.metrics.mailErrors.Inc()
			w.Log.Error("digests could not be sent and are tried again", slog.Any("error", err))
		} else if sent > 0 {
			w.Log.Info("digests were sent", slog.Int("sent", sent))
		}
		select {
		case <-runs.reserved:
		case <-sweep.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// runs are what the times of the schedule ask for.
type runs struct {
	*Worker
	owed     atomic.Pointer[time.Time] // the last time that came, until its run has succeeded; nil: none
	known    bool                      // whether a run was missed before the worker came
	reserved chan struct{}
}

// keepTime does a run whenever a time of the schedule has come, and makes up for one that was missed or that failed,
// until ctx is done. While a run takes its time, further ones are skipped.
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
	makeUp.Run()

	var jobs sync.WaitGroup
	defer jobs.Wait()
	times := timetable{schedule: r.Config.DigestSchedule}
	for {
		slot, wait := times.look(r.Now(), r.SweepInterval)
		if slot.IsZero() {
			jobs.Go(makeUp.Run)
		} else {
			r.owed.Store(&slot)
			jobs.Go(run.Run)
		}
		if !pause(ctx, wait) {
			return
		}
	}
}

// run does the run that is owed. If it fails it stays owed.
func (r *runs) run(ctx context.Context) {
	slot := r.owed.Load()
	if slot == nil {
		return
	}
	if err := r.reserve(ctx, *slot); err != nil {
		if ctx.Err() == nil {
			r.Log.Error("digests could not be reserved, which is tried again", slog.Any("error", err))
		}
		return
	}
	r.owed.CompareAndSwap(slot, nil) // unless the next time has come
	select {
	case r.reserved <- struct{}{}:
	default: // a sweep is on its way
	}
}

// lookBack reports whether a run is to be made up for: one that failed and that no other worker has done meanwhile, or
// one that went by while no worker was there.
func (r *runs) lookBack(ctx context.Context) bool {
	slot := r.owed.Load()
	if r.known && slot == nil {
		return false
	}
	last, err := r.lastRun(ctx)
	switch {
	case err != nil:
		if ctx.Err() == nil {
			r.Log.Error("whether a run of digests was missed is not known, which is asked again", slog.Any("error", err))
		}
		return false
	case slot != nil && !last.Before(*slot):
		if r.owed.CompareAndSwap(slot, nil) {
			r.Log.Info("the run of digests is done already", slog.Time("slot", *slot))
		}
	case slot == nil && !last.IsZero():
		if missed := lastSlot(r.Config.DigestSchedule, last, r.Now()); !missed.IsZero() && r.owed.CompareAndSwap(nil, &missed) {
			r.Log.Info("a run of digests was missed and is made up for", slog.Time("slot", missed))
		}
	}
	r.known = true
	return true
}

const (
	sqlRunFinished = `select headway.digest_run_finished($1)`
	sqlPrune       = `select headway.prune_digests()`
	// A clock that was ahead has recorded runs whose time has not come.
	sqlLastRun = `select max(r.slot) from headway.digest_run r where r.slot <= now()`
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

// lastRun returns the last time of the schedule whose run is on record, the zero time if none is.
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
