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

// timetable finds the times of a schedule as they come. It looks at the clock on the wall again and again, which may be
// put back or forward at any moment, also by hours: [cron.Cron] sleeps until a time comes, however far away it is by now.
type timetable struct {
	schedule cron.Schedule
	looked   time.Time // when it was looked at last
	next     time.Time // the time that comes next, zero: none does
}

// look returns the time of the schedule that has come, the zero time if none has since the last look, and how long to
// wait before the next look, most at the most.
func (t *timetable) look(now time.Time, most time.Duration) (slot time.Time, wait time.Duration) {
	now = now.Round(0) // what follows goes by the clock on the wall alone
	if t.looked.IsZero() || now.Before(t.looked) {
		t.next = t.schedule.Next(now)
	}
	t.looked = now
	if !t.next.IsZero() && !t.next.After(now) {
		slot, t.next = t.next, t.schedule.Next(now)
	}
	if wait = most; !t.next.IsZero() {
		wait = min(t.next.Sub(now), most)
	}
	return slot, wait
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

// wallClock is a schedule whose times come although clocks are put forward and leave them out: at that moment then, all
// of them at once. One that clocks put back show twice comes twice.
type wallClock struct{ *cron.SpecSchedule }

// Next implements [cron.Schedule].
func (s wallClock) Next(after time.Time) time.Time {
	next := s.SpecSchedule.Next(after)
	at := after
	if s.Location != time.Local {
		at = after.In(s.Location)
	}
	for {
		_, change := at.ZoneBounds()
		if change.IsZero() || !change.Before(next) {
			return next
		}
		before := change.Add(-time.Second)
		_, old := before.Zone()
		_, offset := change.Zone()
		// What the clocks leave out is what would come by the old clock before the new one is where it begins.
		unchanged := *s.SpecSchedule
		unchanged.Location = time.FixedZone("", old)
		if forward := time.Duration(offset-old) * time.Second; unchanged.Next(before).Before(change.Add(forward)) {
			return change.In(after.Location())
		}
		at = change
	}
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
