package gateway

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"headway/bench/lab"
)

// dialect is how a server is spoken to over its WebSocket.
type dialect struct {
	path string

	// hello is what a client says first, unless it is nil.
	hello func(client int) string

	// hear takes a text that is no message. there: from here on the client is told of every message, which is said once.
	hear func(text []byte) (answer string, there bool)
}

// publish has a server send texts to all clients, in order, and returns when they were published.
type publish func(ctx context.Context, texts ...string) (at time.Time, err error)

// tally counts who has received what from a message on. The fleet writes it.
type tally struct {
	first    int64
	received []int         // receivers, by message
	arrivals [][]time.Time // by message; kept where it is not nil
	all      atomic.Int64  // number of the last message that all have received
	last     time.Time     // when they had
}

// newTally begins with the message that is published next. n bounds how many there may be.
func (f *fleet) newTally(n int, arrivals bool) *tally {
	t := &tally{first: f.next, received: make([]int, n)}
	t.all.Store(f.next - 1)
	if arrivals {
		t.arrivals = make([][]time.Time, n)
	}
	f.tally.Store(t)
	return t
}

// count counts a message that somebody has received, and reports whether now all of them have. Each receives them in
// order, so they are complete in order.
func (t *tally) count(number int64, now time.Time, receivers int) (complete bool) {
	i := number - t.first
	if t.received[i]++; t.arrivals != nil {
		t.arrivals[i] = append(t.arrivals[i], now)
	}
	if t.received[i] < receivers {
		return false
	}
	t.last = now
	t.all.Store(number)
	return true
}

// patience is how long something may take at the end.
const patience = time.Minute

// errLate says that messages did not come.
var errLate = errors.New("not everything came")

// finish waits until everybody has received everything.
func (f *fleet) finish(ctx context.Context, t *tally) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, errLate)
	defer cancel()
	if err := f.wait(ctx, func() bool { return t.all.Load() == f.next-1 }); err != nil {
		return fmt.Errorf("of message %d on: %w", t.all.Load()+1, err)
	}
	return nil
}

// Delays is how long it took from publishing a message until one received it.
type Delays struct{ P50, P99 time.Duration }

// pace publishes so many messages a second, and returns how long they took to each of the receivers.
func (f *fleet) pace(ctx context.Context, send publish, rate float64, d time.Duration) (Delays, error) {
	n := int(rate * d.Seconds())
	t := f.newTally(n, true)
	published := make([]time.Time, n)
	ticker := time.NewTicker(time.Duration(float64(time.Second) / rate))
	defer ticker.Stop()
	for i := range n {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return Delays{}, ctx.Err()
		}
		var err error
		if published[i], err = send(ctx, textOf(f.next)); err != nil {
			return Delays{}, fmt.Errorf("publish: %w", err)
		}
		f.next++
	}
	if err := f.finish(ctx, t); err != nil {
		return Delays{}, err
	}
	var delays []time.Duration
	for i, arrivals := range t.arrivals {
		at := published[i]
		if first := arrivals[0]; first.Before(at) {
			at = first // the news overtook the publisher's own answer
		}
		for _, arrival := range arrivals {
			delays = append(delays, arrival.Sub(at))
		}
	}
	slices.Sort(delays)
	return Delays{P50: lab.Quantile(delays, 0.50), P99: lab.Quantile(delays, 0.99)}, nil
}

// At full speed, so many messages may be under way to the slowest receiver, and so many are published at a time.
const (
	window  = 100
	atATime = 20
)

// rush publishes as fast as everybody receives, and returns how many events a second were delivered.
func (f *fleet) rush(ctx context.Context, send publish, d time.Duration) (perSecond float64, events int64, err error) {
	t := f.newTally(int(d.Seconds()*50_000)+atATime, false)
	began, before := time.Now(), f.delivered.Load()
	var texts [atATime]string
	for time.Since(began) < d && f.next-t.first+atATime <= int64(len(t.received)) {
		if err := f.wait(ctx, func() bool { return f.next-t.all.Load() <= window-atATime }); err != nil {
			return 0, 0, err
		}
		for i := range texts {
			texts[i] = textOf(f.next + int64(i))
		}
		if _, err := send(ctx, texts[:]...); err != nil {
			return 0, 0, fmt.Errorf("publish: %w", err)
		}
		f.next += atATime
	}
	if err := f.finish(ctx, t); err != nil {
		return 0, 0, err
	}
	events = f.delivered.Load() - before
	return float64(events) / t.last.Sub(began).Seconds(), events, nil
}
