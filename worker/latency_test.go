package worker_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"headway/internal/pgtest"
	"headway/internal/postgres"
	"headway/worker"
)

// BenchmarkCommitToNotified completes tasks at a steady rate on one connection, and measures from the moment when a
// writer knows of its commit to the moment when a listener has the activity message: go test -bench Commit ./worker
func BenchmarkCommitToNotified(b *testing.B) {
	for _, rate := range []int{20, 200, 1000} {
		b.Run(fmt.Sprintf("%d-per-second", rate), func(b *testing.B) { benchmarkCommitToNotified(b, rate) })
	}
}

func benchmarkCommitToNotified(b *testing.B, rate int) {
	cluster := pgtest.Server(b, postgres.Options{Durable: true})
	if err := pgtest.Install(b.Context(), cluster, "bench"); err != nil {
		b.Fatal(err)
	}
	connect := func() *pgx.Conn {
		conn, err := pgx.Connect(b.Context(), cluster.URL("bench"))
		if err != nil {
			b.Fatal(err)
		}
		return conn
	}
	writer, listener := connect(), connect()
	defer writer.Close(context.WithoutCancel(b.Context()))
	defer listener.Close(context.WithoutCancel(b.Context()))
	if err := writer.PgConn().Exec(b.Context(), seed).Close(); err != nil {
		b.Fatal(err)
	}
	if _, err := listener.Exec(b.Context(), "listen headway_events"); err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(b.Context())
	asleep, done := make(chan struct{}, 1), make(chan error)
	config, err := worker.LoadConfig(func(name string) string {
		return map[string]string{"DATABASE_URL": pgtest.AsWorker(cluster.URL("bench"))}[name]
	})
	if err != nil {
		b.Fatal(err)
	}
	w := worker.New(config, slog.New(slog.DiscardHandler), "bench")
	w.Observe = func(e worker.Event) {
		if e == worker.Asleep {
			select {
			case asleep <- struct{}{}:
			default:
			}
		}
	}
	go func() { done <- w.Run(ctx) }()
	defer func() {
		stop()
		if err := <-done; err != nil {
			b.Error(err)
		}
	}()
	<-asleep

	for b.Loop() {
		committed := make([]time.Time, 1001)
		notified := make(chan []time.Time)
		go func() { notified <- collect(ctx, listener, 1000) }()
		tick := time.NewTicker(time.Second / time.Duration(rate))
		for task := 1; task <= 1000; task++ {
			<-tick.C
			if _, err := writer.Exec(b.Context(), "insert into headway.completion (task_id, user_id) values ($1, 1)", task); err != nil {
				b.Fatal(err)
			}
			committed[task] = time.Now()
		}
		tick.Stop()
		var took []time.Duration
		for task, at := range <-notified {
			if task > 0 {
				took = append(took, max(0, at.Sub(committed[task])))
			}
		}
		slices.Sort(took)
		b.ReportMetric(float64(took[500].Microseconds())/1000, "p50-ms")
		b.ReportMetric(float64(took[990].Microseconds())/1000, "p99-ms")
		b.ReportMetric(float64(took[999].Microseconds())/1000, "max-ms")
		if _, err := writer.Exec(b.Context(), "delete from headway.completion"); err != nil {
			b.Fatal(err)
		}
	}
}

// collect returns when the completion of each task was notified.
func collect(ctx context.Context, listener *pgx.Conn, tasks int) []time.Time {
	at := make([]time.Time, tasks+1)
	for seen := 0; seen < tasks; {
		n, err := listener.WaitForNotification(ctx)
		if err != nil {
			return at
		}
		var event struct {
			Kind   string
			TaskID int `json:"task_id"`
		}
		if json.Unmarshal([]byte(n.Payload), &event) == nil && event.Kind == "task_completed" && at[event.TaskID].IsZero() {
			at[event.TaskID] = time.Now()
			seen++
		}
	}
	return at
}
