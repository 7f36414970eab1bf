package lab

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// load completes the tasks of a shape, each once, in order, over several connections.
type load struct {
	shape     Shape
	writers   []Complete
	given     atomic.Int64   // the last task that a writer took
	committed []atomic.Int64 // by project
}

// pace is how a load is laid on.
type pace struct {
	duration time.Duration
	rate     float64       // completions a second, at random moments; 0: as many as possible
	gap      time.Duration // at least this lies between two commits that are watched
}

var errNoTasks = errors.New("all tasks are completed before the time is up: the shape needs more")

// run completes tasks for a while, tells watched of some of the commits, and returns how many there were within that
// while. What has begun is finished.
func (l *load) run(ctx context.Context, p pace, watched func(commit)) (int, error) {
	due := arrivals(p)
	var arrived, counted, last atomic.Int64
	group, ctx := errgroup.WithContext(ctx)
	// A query whose context can end costs a goroutine.
	uncancelled := context.WithoutCancel(ctx)
	began := time.Now()
	end := began.Add(p.duration)
	for w, complete := range l.writers {
		group.Go(func() error {
			random := rand.New(rand.NewPCG(uint64(w), 0)) // the same for every rival
			for ctx.Err() == nil && time.Now().Before(end) {
				if p.rate > 0 {
					i := int(arrived.Add(1)) - 1
					if i >= len(due) || !waitUntil(ctx, began.Add(due[i])) {
						return nil
					}
				}
				task := l.given.Add(1)
				if task > int64(l.shape.Tasks) {
					return errNoTasks
				}
				project := l.shape.project(task)
				user := (project-1)*int64(l.shape.Customers) + 1 + random.Int64N(int64(l.shape.Customers))
				if err := complete(uncancelled, task, user); err != nil {
					return err
				}
				c := commit{project: project, nth: l.committed[project-1].Add(1), at: time.Now()}
				if c.at.Before(end) {
					counted.Add(1)
				}
				before, now := last.Load(), int64(c.at.Sub(began))
				if now-before >= int64(p.gap) && last.CompareAndSwap(before, now) {
					watched(c)
				}
			}
			return nil
		})
	}
	err := group.Wait()
	return int(counted.Load()), err
}

// arrivals returns when completions are due after the beginning, in order. As many as the rate says, each at a moment
// of its own: at even distances they would keep step with whatever polls.
func arrivals(p pace) (due []time.Duration) {
	if p.rate == 0 {
		return nil
	}
	random := rand.New(rand.NewPCG(0, 0))
	for at := 0.0; ; {
		at += random.ExpFloat64() / p.rate
		if at >= p.duration.Seconds() {
			return due
		}
		due = append(due, time.Duration(at*float64(time.Second)))
	}
}

// waitUntil returns false if ctx ends first.
func waitUntil(ctx context.Context, at time.Time) bool {
	timer := time.NewTimer(time.Until(at))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// total returns how many completions were committed.
func (l *load) total() (n int64) {
	for i := range l.committed {
		n += l.committed[i].Load()
	}
	return n
}
