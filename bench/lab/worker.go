package lab

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"headway/worker"
)

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
