package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"headway/web"
	"headway/worker/mail"
)

// shutdownGrace is how long requests under way may take after the worker is told to stop.
const shutdownGrace = 5 * time.Second

// handler serves health, readiness, metrics, the unsubscribe page, the gateway with its page, and [Worker.Handlers].
func (w *Worker) handler() http.Handler {
	mux := http.NewServeMux()
	// Alive means that the process answers: restarting it because the database is down would not help anyone.
	mux.HandleFunc("GET /healthz", func(rw http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(rw, "ok")
	})
	mux.HandleFunc("GET /readyz", func(rw http.ResponseWriter, _ *http.Request) {
		if err := w.status.read().unready(w.staleAfter()); err != nil {
			http.Error(rw, err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(rw, "ok")
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(w.Registry, promhttp.HandlerOpts{
		ErrorLog: slog.NewLogLogger(w.Log.Handler(), slog.LevelWarn),
	}))
	mux.Handle("/headway/unsubscribe/", &mail.Unsubscriber{DB: w.pool, Log: w.Log})
	if w.gateway != nil {
		mux.Handle("/api/", w.gateway.Handler())
		mux.Handle("/", web.Handler())
	}
	for pattern, handler := range w.Handlers {
		mux.Handle(pattern, handler)
	}
	return mux
}

// staleAfter is how old the last fold and the last heartbeat may be. A sleeping worker folds every poll interval.
func (w *Worker) staleAfter() time.Duration {
	return 10*time.Second + 2*max(w.Config.PollInterval, w.HeartbeatInterval)
}

// listen opens the HTTP listener, if there should be one.
func (w *Worker) listen(ctx context.Context) (net.Listener, error) {
	if w.Listener != nil || w.Config.HTTPAddr == "" {
		return w.Listener, nil
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", w.Config.HTTPAddr)
	if err != nil {
		return nil, fmt.Errorf("HEADWAY_HTTP_ADDR: %w", err)
	}
	w.Log.Info("serving HTTP", slog.String("addr", listener.Addr().String()))
	return listener, nil
}

// readTimeout is how long a request may take to arrive. It does not limit what continues after that, WebSockets and
// streams.
const readTimeout = 30 * time.Second

// serveHTTP serves until ctx is done and then lets requests under way finish.
func (w *Worker) serveHTTP(ctx context.Context, listener net.Listener) error {
	server := &http.Server{
		Handler:           w.handler(),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       readTimeout,
		IdleTimeout:       time.Minute,
		ErrorLog:          slog.NewLogLogger(w.Log.Handler(), slog.LevelWarn),
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	select {
	case err := <-served:
		return fmt.Errorf("serve HTTP: %w", err)
	case <-ctx.Done():
	}

	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownGrace)
	defer cancel()
	if err := server.Shutdown(ctx); err != nil {
		w.Log.Warn("requests were cut off", slog.Any("error", errors.Join(err, server.Close())))
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve HTTP: %w", err)
	}
	return nil
}
