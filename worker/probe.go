package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"headway/internal/listen"
)

// errUnsubscribed says that a listening connection that used to hear no longer does.
var errUnsubscribed = errors.New("a notification sent through DATABASE_URL did not arrive")

// sendProbe notifies a session over DATABASE_URL. Failing to send says nothing about the session's hearing.
func (w *Worker) sendProbe(ctx context.Context, s *session) error {
	ctx, cancel := quick(ctx)
	defer cancel()
	if err := listen.Notify(ctx, w.pool, s.probe); err != nil {
		return fmt.Errorf("send a probe: %w", err)
	}
	return nil
}

// probe returns nil if the session hears notifications, and [listen.ErrDeaf] if not. The session is subscribed to its
// probe's channel and nothing else.
func (w *Worker) probe(ctx context.Context, s *session) error {
	if err := s.subscribe(ctx, s.probe); err != nil {
		return err
	}
	sent := time.Now()
	if err := w.sendProbe(ctx, s); err != nil {
		return err
	}
	for deadline := sent.Add(w.ProbeTimeout); s.echoed.Before(sent) && ctx.Err() == nil; {
		if time.Now().After(deadline) {
			w.metrics.probeFailures.Inc()
			return listen.ErrDeaf
		}
		if err := s.hear(ctx, deadline); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// prober probes a session while it sleeps. Sending takes a moment, or longer if the server is in trouble, and must not
// keep the bell from being heard, so it is done by another goroutine.
type prober struct {
	w    *Worker
	s    *session
	due  time.Time  // when to send the next one
	sent time.Time  // when the one under way was sent
	fate chan error // the result of sending it; nil: none is under way
}

// step sends a probe if one is due, and returns when to come back. It returns errUnsubscribed if a probe has not
// arrived in time.
func (p *prober) step(ctx context.Context) (time.Time, error) {
	now := time.Now()
	if p.fate == nil {
		if now.Before(p.due) {
			return p.due, nil
		}
		fate := make(chan error, 1)
		p.sent, p.fate = now, fate
		p.w.background.Go(func() { fate <- p.w.sendProbe(ctx, p.s) })
	}

	if !p.s.echoed.Before(p.sent) {
		p.due, p.fate = p.s.echoed.Add(p.w.ProbeInterval), nil
		return p.due, nil
	}
	if deadline := p.sent.Add(p.w.ProbeTimeout); now.Before(deadline) {
		return deadline, nil
	}
	select {
	case err := <-p.fate:
		p.due, p.fate = now.Add(p.w.ProbeInterval), nil
		if err == nil {
			p.w.metrics.probeFailures.Inc()
			return time.Time{}, errUnsubscribed
		}
		p.w.Log.Warn("the listening connection could not be probed", slog.Any("error", err))
		return p.due, nil
	default:
		return now.Add(p.w.ProbeTimeout), nil // still being sent
	}
}
