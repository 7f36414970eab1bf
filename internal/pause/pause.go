// Package pause waits: for a while, longer after each failure, never in step with others.
package pause

import (
	"context"
	"math/rand/v2"
	"time"
)

// For waits for d and returns true, or returns false as soon as ctx is done.
func For(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

// Jitter returns between half of d and one and a half times d, so that replicas do not act in step.
func Jitter(d time.Duration) time.Duration { return d/2 + rand.N(max(d, 1)) }

// Backoff gives pauses that double from First to Max.
type Backoff struct {
	First, Max time.Duration
	next       time.Duration
}

// Next returns how long to wait before the next attempt, with jitter.
func (b *Backoff) Next() time.Duration {
	b.next = min(max(b.next, b.First), b.Max)
	d := b.next
	b.next *= 2
	return Jitter(d)
}

// Reset starts over, after success.
func (b *Backoff) Reset() { b.next = 0 }
