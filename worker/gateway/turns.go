package gateway

import (
	"context"
	"sync"
)

// turns limit how many requests of one person are being served, so that nobody keeps everybody else waiting: the others
// of that person wait for their turn.
type turns struct {
	most int

	mu     sync.Mutex
	queues map[int64]*queue // by person
}

// queue is the requests of one person.
type queue struct {
	served   chan struct{} // a semaphore for those that are being served: see [enter]
	requests int           // those, and the others that wait
}

// take waits for the turn of a person's request, and returns what ends it.
func (t *turns) take(ctx context.Context, userID int64) (end func(), err error) {
	t.mu.Lock()
	q := t.queues[userID]
	if q == nil {
		q = &queue{served: make(chan struct{}, t.most)}
		t.queues[userID] = q
	}
	q.requests++
	t.mu.Unlock()
	leave := func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if q.requests--; q.requests == 0 {
			delete(t.queues, userID)
		}
	}
	free, err := enter(ctx, q.served)
	if err != nil {
		leave()
		return nil, err
	}
	return func() { free(); leave() }, nil
}
