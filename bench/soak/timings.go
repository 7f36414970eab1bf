package soak

import (
	"sync"
	"time"
)

// What is timed.
const (
	completing  = "completing a task"
	reading     = "reading a bar"
	readingHot  = "reading a bar of the busiest project"
	outstanding = "reading what a person has to do"
	snapshot    = "a snapshot for a person who comes back"
	unread      = "reading what is unread"
	posting     = "posting"
	marking     = "marking read"
	notifying   = "from commit to notified"
)

// timings are what was timed, in the order in which it ended.
type timings struct {
	mu  sync.Mutex
	all map[string][]timing
}

// timing is how long something took that began at a time of the run.
type timing struct{ at, took time.Duration }

// timed does something and notes how long it took.
func (r *run) timed(what string, do func() error) error {
	began := time.Now()
	if err := do(); err != nil {
		return err
	}
	r.note(what, began, time.Since(began))
	return nil
}

// note notes how long something took.
func (r *run) note(what string, began time.Time, took time.Duration) {
	t := &r.timings
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.all == nil {
		t.all = map[string][]timing{}
	}
	t.all[what] = append(t.all[what], timing{began.Sub(r.began), took})
}
