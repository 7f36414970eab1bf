package worker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"headway/internal/pause"
)

// The statements of the protocol that the package comment describes.
const (
	sqlTryKey = `select pg_try_advisory_lock(headway.lock_key('doorbell'))`

	sqlReleaseKey = `select pg_advisory_unlock(headway.lock_key('doorbell'))`

	sqlLook = `select exists (select from headway.pending_fact), ` + sqlAudible

	// Whether writers would ring at all.
	sqlAudible = `headway.notify_mode() <> 'off'`
)

// doorbell is one term of leadership: the loop that folds what there is, sleeps, and wakes when the bell rings.
type doorbell struct {
	w *Worker
	*session
	prober prober

	refused  pause.Backoff // while a silent writer is at work
	deferred pause.Backoff // while the queue holds something that cannot be folded
	trouble  pause.Backoff // while folds fail

	rang     bool // the bell ended the last sleep
	alarms   int  // how often in a row it rang and there was nothing to fold
	silenced bool // at the last look, writers would not have rung
}

// lead runs the loop until ctx is done, which is no error, or the session is lost.
func (w *Worker) lead(ctx context.Context, s *session) error {
	if err := s.subscribe(ctx, "headway_doorbell"); err != nil {
		return err
	}
	d := &doorbell{
		w:        w,
		session:  s,
		prober:   prober{w: w, s: s, due: s.echoed.Add(w.ProbeInterval)},
		refused:  pause.Backoff{First: time.Millisecond, Max: 20 * time.Millisecond},
		deferred: pause.Backoff{First: time.Millisecond, Max: 100 * time.Millisecond},
		trouble:  pause.Backoff{First: 10 * time.Millisecond, Max: 5 * time.Second},
	}
	for ctx.Err() == nil {
		if err := d.round(ctx); err != nil {
			return err
		}
	}
	return nil
}

// round folds once and then sleeps, if it may.
func (d *doorbell) round(ctx context.Context) error {
	d.rung = false // whoever has rung so far has committed: the fold sees it
	began := time.Now()
	folded, err := d.w.fold(ctx, d.fold)
	took := time.Since(began)
	if err != nil {
		if d.lost(err) {
			return err
		}
		d.w.complain(err)
		pause.For(ctx, d.trouble.Next())
		return nil
	}
	d.trouble.Reset()
	if folded > 0 {
		d.refused.Reset()
		d.deferred.Reset()
	}
	if folded >= busy {
		d.gather(ctx, folded, took)
		return nil
	}
	d.throttle(ctx, folded)

	state, err := d.lieDown(ctx)
	if err != nil {
		return err
	}
	d.w.observe(state)
	rest := min(took, maxRest)
	switch {
	case state == Asleep:
		return d.sleep(ctx)
	case state == Silenced:
		pause.For(ctx, pause.Jitter(d.w.fastPoll()))
	case folded > 0:
		// When something has just arrived, more is likely to follow.
	case state == Refused:
		pause.For(ctx, max(d.refused.Next(), rest))
	case state == Deferred:
		pause.For(ctx, max(d.deferred.Next(), rest))
	}
	return nil
}

// maxRest bounds the pause after a fold that found nothing. It is as long as the fold, so that at most half the time is
// spent looking: whoever loads much in one transaction has each fold step over all facts that are not committed yet.
const maxRest = time.Second

const (
	// busy is how many facts in one fold suggest that more are coming.
	busy = 8

	// maxGather bounds the delay that gathering adds between commit and notification.
	maxGather = 5 * time.Millisecond
)

// gather lets more facts arrive before the next fold when many are arriving: each fold has a fixed cost, which slows
// down the writers.
func (d *doorbell) gather(ctx context.Context, folded int, took time.Duration) {
	if folded < d.w.MaxFacts {
		pause.For(ctx, min(took, maxGather))
	}
}

// throttle limits the harm that ringing for nothing can do, as any role can. A few false alarms are normal: a fold
// often consumes the fact of a writer whose bell is heard only afterwards.
func (d *doorbell) throttle(ctx context.Context, folded int) {
	switch {
	case folded > 0:
		d.alarms = 0
	case d.rang:
		d.alarms++
	}
	d.rang = false
	if d.alarms > 10 {
		pause.For(ctx, pause.Jitter(100*time.Millisecond)) // awake, so that real writers stay silent
	}
}

// lieDown takes KEY unless something prevents sleep, and returns what does.
func (d *doorbell) lieDown(ctx context.Context) (Event, error) {
	if d.silenced { // whoever is refused KEY now does not ring, and may commit once the others ring again
		var audible bool
		if err := d.ask(ctx, "select "+sqlAudible, &audible); err != nil {
			return "", fmt.Errorf("ask whether writers ring: %w", err)
		}
		d.silenced = !audible
		if d.silenced {
			return Silenced, nil
		}
	}

	d.w.observe(LyingDown)
	var granted, waiting, audible bool
	if err := d.ask(ctx, sqlTryKey, &granted); err != nil {
		return "", fmt.Errorf("try the doorbell's key: %w", err)
	}
	if !granted {
		return Refused, nil
	}
	// In a separate statement, so that its snapshot is later than the lock.
	if err := d.ask(ctx, sqlLook, &waiting, &audible); err != nil {
		return "", fmt.Errorf("check the queue: %w", err)
	}
	d.silenced = !audible
	if audible && !waiting {
		return Asleep, nil
	}
	if err := d.wake(ctx); err != nil {
		return "", err
	}
	if d.silenced {
		return Silenced, nil
	}
	return Deferred, nil
}

// wake releases KEY.
func (d *doorbell) wake(ctx context.Context) error {
	var held bool
	if err := d.ask(ctx, sqlReleaseKey, &held); err != nil {
		return fmt.Errorf("release the doorbell's key: %w", err)
	}
	if !held {
		return errors.New("release the doorbell's key: it was not held")
	}
	return nil
}

// sleep waits for the bell, the safety poll or the end of ctx, and wakes.
func (d *doorbell) sleep(ctx context.Context) error {
	poll := time.Now().Add(d.w.Config.PollInterval)
	ping := time.Now().Add(d.w.PingInterval)
	for !d.rung && ctx.Err() == nil && time.Now().Before(poll) {
		probe, err := d.prober.step(ctx)
		if err != nil {
			return err
		}
		if err := d.hear(ctx, slices.MinFunc([]time.Time{poll, ping, probe}, time.Time.Compare)); err != nil {
			return err
		}
		if !time.Now().Before(ping) {
			if err := d.ping(ctx); err != nil {
				return err
			}
			ping = time.Now().Add(d.w.PingInterval)
		}
	}
	d.rang = d.rung
	if d.rang {
		d.w.metrics.wakes.Inc()
		d.w.observe(Rung)
	} else {
		d.w.metrics.polls.Inc()
		d.w.observe(Polled)
	}
	return d.wake(ctx)
}
