package worker

import (
	"errors"
	"fmt"
	"sync"
	"time"
)

// condition is what the loops know about the worker. It is kept in memory, so that asking for it costs the database
// nothing.
type condition struct {
	leader    bool // it folds as the leader, or polls
	listening bool
	schema    error     // nil: the schema is this binary's
	folding   bool      // a fold is in hand
	failing   bool      // the last one that ended failed
	lastFold  time.Time // that succeeded, even if there was nothing to fold, or met that of another worker
	lastBeat  time.Time
	queue     queue
}

// queue is what the last heartbeat found.
type queue struct {
	facts         float64 // waiting to be folded
	age           float64 // of the oldest of them, in seconds
	notifications float64 // how full the server's notification queue is, from 0 to 1
	digestAge     float64 // of the oldest digest that could be sent, in seconds
}

// status is the condition that the loops share.
type status struct {
	mu      sync.Mutex
	now     condition
	changed chan struct{} // receives after leader has changed
}

func newStatus() *status { return &status{changed: make(chan struct{}, 1)} }

// update changes the condition and returns the previous one.
func (s *status) update(change func(*condition)) (before condition) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before = s.now
	change(&s.now)
	if s.now.leader != before.leader {
		select {
		case s.changed <- struct{}{}:
		default: // one is pending already
		}
	}
	return before
}

func (s *status) read() condition { return s.update(func(*condition) {}) }

// unready says why a worker should not be relied on; nil if it should. A fold or a heartbeat older than the limit is
// too old; not the last fold, unless it failed, while the next one is in hand: a large backlog takes minutes, and the
// gateway works all the while.
func (c condition) unready(limit time.Duration) error {
	var problems []error
	if c.schema != nil {
		problems = append(problems, c.schema)
	}
	for _, did := range []struct {
		what string
		last time.Time
	}{{"fold", c.lastFold}, {"heartbeat", c.lastBeat}} {
		if did.what == "fold" && c.folding && !c.failing {
			continue
		}
		if did.last.IsZero() {
			problems = append(problems, fmt.Errorf("no %s yet", did.what))
		} else if age := time.Since(did.last); age > limit {
			problems = append(problems, fmt.Errorf("the last %s was %v ago", did.what, age.Round(time.Second)))
		}
	}
	return errors.Join(problems...)
}
