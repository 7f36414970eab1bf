package soak

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"headway/internal/pause"
)

// writers complete tasks, each once, in order.
type writers struct {
	conns []*pgx.Conn
	next  atomic.Int64 // task
	done  atomic.Int64 // completions
}

var errNoTasks = errors.New("all tasks are completed before the time is up")

func (r *run) openWriters(ctx context.Context) (*writers, error) {
	w := &writers{}
	for range r.writers {
		conn, err := r.db.Connect(ctx)
		if err == nil {
			w.conns = append(w.conns, conn)
			_, err = conn.Prepare(ctx, "complete", "insert into headway.completion (task_id, user_id) values ($1, $2)")
		}
		if err != nil {
			w.close(ctx)
			return nil, err
		}
	}
	return w, nil
}

func (w *writers) close(ctx context.Context) {
	for _, conn := range w.conns {
		conn.Close(context.WithoutCancel(ctx))
	}
}

// complete completes the next task on a connection.
func (r *run) complete(ctx context.Context, w *writers, conn *pgx.Conn) error {
	task := w.next.Add(1)
	if task > r.tasks.made {
		return errNoTasks
	}
	_, user := r.tasks.place(task)
	if _, err := conn.Exec(ctx, "complete", task, user); err != nil {
		return err
	}
	w.done.Add(1)
	return nil
}

// measureFullSpeed returns how many completions a second there are when everybody completes as fast as they can.
func (r *run) measureFullSpeed(ctx context.Context, w *writers) (float64, error) {
	warmup := max(time.Second, time.Duration(fullSpeed*float64(r.duration)))
	// No machine that this runs on is faster.
	if err := r.provide(ctx, int64(40_000*2*warmup.Seconds())); err != nil {
		return 0, err
	}
	var rate float64
	for range 2 { // the first time warms up
		before, began := w.done.Load(), time.Now()
		group, ctx := errgroup.WithContext(ctx)
		for _, conn := range w.conns {
			group.Go(func() error {
				for ctx.Err() == nil && time.Since(began) < warmup {
					if err := r.complete(context.WithoutCancel(ctx), w, conn); err != nil {
						return err
					}
				}
				return nil
			})
		}
		if err := group.Wait(); err != nil {
			return 0, err
		}
		rate = float64(w.done.Load()-before) / time.Since(began).Seconds()
	}
	return rate, nil
}

// write completes so many tasks a second until ctx is done.
func (r *run) write(ctx context.Context, w *writers, rate float64) error {
	group, ctx := errgroup.WithContext(ctx)
	for i, conn := range w.conns {
		group.Go(func() error {
			return every(ctx, rate/float64(len(w.conns)), uint64(i), func(ctx context.Context) error {
				return r.timed(completing, func() error { return r.complete(ctx, w, conn) })
			})
		})
	}
	return group.Wait()
}

// every calls do at random moments, so many times a second, until ctx is done or it fails. What is late is made up for.
func every(ctx context.Context, rate float64, seed uint64, do func(ctx context.Context) error) error {
	random := rand.New(rand.NewPCG(seed, 0))
	for next := time.Now(); ; {
		next = next.Add(time.Duration(random.ExpFloat64() / rate * float64(time.Second)))
		if !pause.For(ctx, time.Until(next)) {
			return nil
		}
		// What has begun is finished.
		if err := do(context.WithoutCancel(ctx)); err != nil {
			return err
		}
	}
}
