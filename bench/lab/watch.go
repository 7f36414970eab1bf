package lab

import (
	"math"
	"slices"
	"sync"
	"time"
)

// Never is the delay of what was not seen before everybody stopped looking.
const Never = time.Duration(math.MaxInt64)

// Delays are the times from commit to somebody's seeing it, of the completions that were watched.
type Delays struct {
	P50, P99 time.Duration
	Watched  int
	Lost     int // were never seen, and count as the longest
}

// summarize returns the quantiles of delays.
func summarize(delays []time.Duration) Delays {
	if len(delays) == 0 {
		return Delays{}
	}
	slices.Sort(delays)
	first := len(delays)
	for first > 0 && delays[first-1] == Never {
		first--
	}
	return Delays{P50: Quantile(delays, 0.50), P99: Quantile(delays, 0.99), Watched: len(delays), Lost: len(delays) - first}
}

// commit is the nth completion of a project of which a writer was told that it is committed.
type commit struct {
	project, nth int64
	at           time.Time
}

// watch takes the time until commits are seen by one observer. A commit counts as seen when its project has as many
// tasks done as had been committed when it was: with several in flight, that may be another of them, but as many are
// seen late for early.
type watch struct {
	mu      sync.Mutex
	seen    map[int64]int64    // by project, the most that were done
	waiting map[int64][]commit // by project, in order of nth
	delays  []time.Duration
}

func newWatch() *watch {
	return &watch{seen: map[int64]int64{}, waiting: map[int64][]commit{}}
}

// expect begins to wait for a commit. It may have been seen before its writer knew of it.
func (w *watch) expect(c commit) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.seen[c.project] >= c.nth {
		w.delays = append(w.delays, 0)
		return
	}
	waiting := w.waiting[c.project]
	// Mostly at the end; writers overtake each other between the count and this.
	at := len(waiting)
	for at > 0 && waiting[at-1].nth > c.nth {
		at--
	}
	w.waiting[c.project] = slices.Insert(waiting, at, c)
}

// saw notes that this many were done at that moment.
func (w *watch) saw(progress Progress, at time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen[progress.Project] = max(w.seen[progress.Project], progress.Done)
	waiting := w.waiting[progress.Project]
	n := 0
	for n < len(waiting) && waiting[n].nth <= progress.Done {
		w.delays = append(w.delays, max(0, at.Sub(waiting[n].at)))
		n++
	}
	if n == len(waiting) {
		delete(w.waiting, progress.Project)
	} else if n > 0 {
		w.waiting[progress.Project] = waiting[n:]
	}
}

// projects appends those to ids in which a commit is waited for.
func (w *watch) projects(ids []int64) []int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	for id := range w.waiting {
		ids = append(ids, id)
	}
	return ids
}

// done reports whether nothing is waited for.
func (w *watch) done() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.waiting) == 0
}

// take returns the delays since the last time and forgets what is still waited for, which counts as never seen.
func (w *watch) take() Delays {
	w.mu.Lock()
	defer w.mu.Unlock()
	delays := w.delays
	for _, waiting := range w.waiting {
		for range waiting {
			delays = append(delays, Never)
		}
	}
	w.delays, w.waiting = nil, map[int64][]commit{}
	return summarize(delays)
}
