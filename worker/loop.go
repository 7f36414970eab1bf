package worker

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"runtime/debug"
	"time"

	"golang.org/x/sync/errgroup"

	"headway/internal/pause"
)

// loop is one of the things that the worker does all the time. It returns nil once ctx is done; an error ends the
// worker.
type loop struct {
	name string
	run  func(ctx context.Context) error
}

func (w *Worker) loops(first *session, listener net.Listener) []loop {
	loops := []loop{
		{"progress", func(ctx context.Context) error {
			s := first
			first = nil // after a panic it starts with a new one
			return w.progress(ctx, s)
		}},
		{"heartbeat", w.heartbeat},
	}
	if w.mailer != nil {
		loops = append(loops, loop{"digests", w.digests})
	}
	if w.gateway != nil {
		loops = append(loops, loop{"gateway", w.gateway.Run})
	}
	if listener != nil {
		loops = append(loops, loop{"http", func(ctx context.Context) error { return w.serveHTTP(ctx, listener) }})
	}
	return loops
}

// runLoops runs the loops until all have returned. The first error ends the others.
func (w *Worker) runLoops(ctx context.Context, loops []loop) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, l := range loops {
		group.Go(func() error {
			if err := w.keepRunning(ctx, l); err != nil {
				return fmt.Errorf("%s: %w", l.name, err)
			}
			return nil
		})
	}
	return group.Wait()
}

// keepRunning runs a loop, and restarts it after a panic: a defect in one is no reason to stop the others, and none of
// them leaves anything half done outside a transaction. A panic in the goroutines of the gateway, or in those that look
// after a connection, ends the process, as anywhere in Go: whoever runs it restarts it, and shared state is intact.
func (w *Worker) keepRunning(ctx context.Context, l loop) error {
	again := pause.Backoff{First: time.Second, Max: time.Minute}
	for {
		began := time.Now()
		panicked, err := w.catch(ctx, l)
		if !panicked {
			return err
		}
		if time.Since(began) > 2*again.Max { // an occasional panic starts over with a short pause
			again.Reset()
		}
		if !pause.For(ctx, again.Next()) {
			return nil
		}
	}
}

// catch runs a loop until it returns or panics.
func (w *Worker) catch(ctx context.Context, l loop) (panicked bool, err error) {
	defer func() {
		if value := recover(); value != nil {
			panicked = true
			w.metrics.panics.Inc()
			w.Log.Error("a loop panicked, restarting it", slog.String("loop", l.name), slog.Any("panic", value),
				slog.String("stack", string(debug.Stack())))
		}
	}()
	return false, l.run(ctx)
}
