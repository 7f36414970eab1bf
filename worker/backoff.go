package worker

import (
	"context"
	"math/rand/v2"
	"time"
)

// backoff gives pauses that double from first to max.
type backoff struct {
	first, max time.Duration
	next       time.Duration
}

// pause returns how long to wait before the next attempt.
func (b *backoff) pause() time.Duration {
	b.next = min(max(b.next, b.first), b.max)
	pause := b.next
	b.next *= 2
	return jitter(pause)
}

// reset starts over, after success.
func (b *backoff) reset() { b.next = 0 }

// jitter returns between half of d and one and a half times d, so that replicas do not act in step.
func jitter(d time.Duration) time.Duration { return d/2 + rand.N(d) }

// pause waits for d and returns true, or returns false as soon as ctx is done.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}
