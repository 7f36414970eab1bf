package soak

import (
	"context"
	"errors"
	"fmt"
	"time"

	"headway/bench/lab"
)

const (
	// probeRate is how many completions a second are followed to their notification, one after the other.
	probeRate = 20

	// lost is how long a notification is waited for; the one after it tells what it would have.
	lost = 30 * time.Second
)

// probe completes tasks of a project that nobody else works in, and notes how long it takes until a listener hears of
// each.
func (r *run) probe(ctx context.Context) error {
	opening := context.WithoutCancel(ctx)
	writer, err := r.db.Connect(opening)
	if err != nil {
		return err
	}
	defer writer.Close(opening)
	listener, err := r.db.Connect(opening)
	if err != nil {
		return err
	}
	defer listener.Close(opening)
	if _, err := listener.Exec(opening, fmt.Sprintf("listen project_%d", r.tasks.projects)); err != nil {
		return err
	}
	done := int64(0)
	return every(ctx, probeRate, 0, func(ctx context.Context) error {
		done++
		began := time.Now()
		if _, err := writer.Exec(ctx, `insert into headway.completion (task_id, user_id) values ($1, 1)`, -done); err != nil {
			return err
		}
		committed := time.Now()
		err := lab.AwaitProgress(ctx, listener, r.tasks.projects, done, lost)
		if err != nil && !errors.Is(err, context.DeadlineExceeded) {
			return err
		}
		// Now and then the listener hears of a commit before the one who made it.
		r.note(notifying, began, max(0, time.Since(committed)))
		return nil
	})
}
