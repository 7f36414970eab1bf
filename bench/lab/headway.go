package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"headway/sql"
	"headway/worker"
)

// Headway makes a template of this name with headway's schema and the rows that fill puts there, and a database from it.
func (l *Lab) Headway(ctx context.Context, name string, fill func(ctx context.Context, conn *pgx.Conn) error) (*Database, error) {
	if err := l.Template(ctx, name, Installed(fill)); err != nil {
		return nil, err
	}
	return l.Copy(ctx, name)
}

// Installed returns a function that installs headway's schema, calls fill and folds what that leaves to fold.
func Installed(fill func(ctx context.Context, conn *pgx.Conn) error) func(ctx context.Context, conn *pgx.Conn) error {
	return func(ctx context.Context, conn *pgx.Conn) error {
		if err := sql.Migrate(ctx, conn, sql.Latest(), nil); err != nil {
			return err
		}
		if err := fill(ctx, conn); err != nil {
			return err
		}
		return FoldAll(ctx, conn)
	}
}

// FoldAll folds until nothing waits.
func FoldAll(ctx context.Context, conn *pgx.Conn) error {
	for folded := 1; folded > 0; {
		if err := conn.QueryRow(ctx, "select headway.fold(100000)").Scan(&folded); err != nil {
			return fmt.Errorf("fold: %w", err)
		}
	}
	return nil
}

// StartWorker runs headway's worker in this process and returns once it has folded everything there was and sleeps.
// stop stops it and returns how it ended; it must be called once.
func StartWorker(ctx context.Context, url string) (stop func() error, err error) {
	environment := map[string]string{"DATABASE_URL": url, "HEADWAY_ALLOW_MORE_RIGHTS": "true"}
	config, err := worker.LoadConfig(func(name string) string { return environment[name] })
	if err != nil {
		return nil, err
	}
	asleep, ended := make(chan struct{}), make(chan error, 1)
	sleep := sync.OnceFunc(func() { close(asleep) })
	w := worker.New(config, slog.New(slog.DiscardHandler), "bench")
	w.Observe = func(event worker.Event) {
		if event == worker.Asleep {
			sleep()
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	go func() { ended <- w.Run(ctx) }()
	stop = func() error {
		cancel()
		return <-ended
	}
	select {
	case <-asleep:
		return stop, nil
	case <-ctx.Done():
		return nil, errors.Join(ctx.Err(), stop())
	case err := <-ended:
		cancel()
		return nil, fmt.Errorf("the worker has ended: %w", err)
	}
}

// HeardProgress returns the progress that one of headway's notifications tells, none if it tells something else: of the
// tasks that all customers of a project share.
func HeardProgress(payload string) ([]Progress, error) {
	if !strings.Contains(payload, `"progress"`) {
		return nil, nil // most are messages: it would cost more to parse than to notify them
	}
	var event struct {
		Kind    string `json:"kind"`
		Project int64  `json:"project_id"`
		Shared  struct {
			Done int64 `json:"done"`
		} `json:"shared"`
	}
	if err := json.Unmarshal([]byte(payload), &event); err != nil || event.Kind != "progress" {
		return nil, err
	}
	return []Progress{{Project: event.Project, Done: event.Shared.Done}}, nil
}

// AwaitProgress returns once a listener is notified of a project's progress with at least this many tasks done, see
// [HeardProgress], or with [context.DeadlineExceeded] after the timeout.
func AwaitProgress(ctx context.Context, listener *pgx.Conn, project, done int64, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	for {
		n, err := listener.WaitForNotification(ctx)
		if err != nil {
			return fmt.Errorf("wait for the notification: %w", err)
		}
		heard, err := HeardProgress(n.Payload)
		if err != nil {
			return fmt.Errorf("notification %s: %w", n.Payload, err)
		}
		for _, p := range heard {
			if p.Project == project && p.Done >= done {
				return nil
			}
		}
	}
}
