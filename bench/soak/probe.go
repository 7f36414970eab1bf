package soak

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
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
		if err := hear(ctx, listener, done); err != nil && !errors.Is(err, context.DeadlineExceeded) {
			return fmt.Errorf("listen: %w", err)
		}
		// Now and then the listener hears of a commit before the one who made it.
		r.note(notifying, began, max(0, time.Since(committed)))
		return nil
	})
}

// hear returns when so many tasks are done in a project that is listened to, or with [context.DeadlineExceeded] if that
// is lost.
func hear(ctx context.Context, listener *pgx.Conn, done int64) error {
	ctx, cancel := context.WithTimeout(ctx, lost)
	defer cancel()
	for {
		n, err := listener.WaitForNotification(ctx)
		if err != nil {
			return err
		}
		var event struct {
			Kind   string `json:"kind"`
			Shared struct {
				Done int64 `json:"done"`
			} `json:"shared"`
		}
		if err := json.Unmarshal([]byte(n.Payload), &event); err != nil {
			return fmt.Errorf("notification %s: %w", n.Payload, err)
		}
		if event.Kind == "progress" && event.Shared.Done >= done {
			return nil
		}
	}
}
