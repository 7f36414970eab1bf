// Package soak keeps headway busy for minutes, as an application would, and looks at what becomes of the queue.
//
// Tasks are completed at half of the speed that was measured just before, at random moments; a tenth of them in one
// project. People look at their bars, at what they have to do and at what is unread, post and mark read. In the middle
// somebody leaves a transaction open that has written and read: until it ends, no row that is deleted anywhere can be
// removed, and the queue is nothing but rows that come and are deleted. Every second or so is noted how it is going.
//
// What compares headway with other ways to do the same does not belong here.
package soak

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"headway/bench/lab"
	"headway/bench/process"
)

// plan is how long and how hard.
type plan struct {
	duration time.Duration // of the load
	writers  int           // connections that complete tasks
	projects int           // at least 3
}

func newPlan(quick bool) plan {
	if quick {
		return plan{duration: 20 * time.Second, writers: 32, projects: 100}
	}
	return plan{duration: 10 * time.Minute, writers: 32, projects: 1000}
}

// The parts of a run. The hold begins and ends at these shares of it; what is before, is from calm on.
const (
	calm      = 0.15
	holdFrom  = 0.40
	holdTill  = 0.50
	settled   = 0.70
	fullSpeed = 0.02 // of the run is given to measure the full speed, at least a second of it
)

// Measure keeps a database of a lab busy for ten minutes or, to see that everything works, for some seconds. It tells log
// what is being done. It compiles headway, so it runs inside the module only.
func Measure(ctx context.Context, l *lab.Lab, quick bool, log func(format string, args ...any)) (Result, error) {
	return measure(ctx, l, newPlan(quick), log)
}

func measure(ctx context.Context, l *lab.Lab, p plan, log func(format string, args ...any)) (Result, error) {
	program, err := process.Build(ctx, l.Dir)
	if err != nil {
		return Result{}, err
	}

	db, err := l.Headway(ctx, "soak", func(ctx context.Context, conn *pgx.Conn) error { return fill(ctx, conn, p.projects) })
	if err != nil {
		return Result{}, err
	}

	r := run{plan: p, log: log, lab: l, db: db, tasks: tasks{projects: int64(p.projects)}}
	if r.worker, err = process.Start(ctx, program, db.URL); err != nil {
		return Result{}, err
	}
	result, err := r.run(ctx)
	return result, errors.Join(err, r.worker.Stop())
}

// run is one call of [Measure].
type run struct {
	plan
	log     func(format string, args ...any)
	lab     *lab.Lab
	db      *lab.Database
	worker  *process.Worker
	tasks   tasks
	began   time.Time // of the load
	timings timings
}

func (r *run) run(ctx context.Context) (Result, error) {
	w, err := r.openWriters(ctx)
	if err != nil {
		return Result{}, err
	}
	defer w.close(ctx)
	full, err := r.measureFullSpeed(ctx, w)
	if err != nil {
		return Result{}, fmt.Errorf("measure the full speed: %w", err)
	}
	rate := full / 2
	r.log("%.0f completions a second at full speed; keeping up %.0f for %v", full, rate, r.duration)
	if err := r.provide(ctx, int64(1.1*rate*r.duration.Seconds())+1000); err != nil {
		return Result{}, fmt.Errorf("make tasks: %w", err)
	}

	loading, cancel := context.WithTimeout(ctx, r.duration)
	defer cancel()
	group, loading := errgroup.WithContext(loading)
	r.began = time.Now()
	result := Result{Full: full, Rate: rate, Duration: r.duration, Projects: r.projects}
	group.Go(func() error { return r.write(loading, w, rate) })
	group.Go(func() error { return r.people(loading) })
	group.Go(func() error { return r.probe(loading) })
	group.Go(func() (err error) {
		result.Hold, err = r.hold(loading)
		return err
	})
	group.Go(func() (err error) {
		result.Samples, err = r.sample(loading, w)
		return err
	})
	if err := group.Wait(); err != nil {
		return Result{}, err
	}
	result.timings = r.timings.all
	return result, r.inspect(ctx, &result)
}
