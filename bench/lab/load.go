package lab

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"
)

// load gives out the tasks of a shape, each once, and counts what was committed.
type load struct {
	shape     Shape
	order     []int64        // tasks that are to be completed
	given     atomic.Int64   // how many of them were given out
	committed []atomic.Int64 // by project
}

// shuffled is how many tasks are completed in random order: those that were made at about the same time are completed
// at about the same time, and two that are completed at once may be of one project.
const shuffled = 1000

func newLoad(shape Shape) *load {
	l := &load{shape: shape, committed: make([]atomic.Int64, shape.Projects)}
	for task := int64(1); task <= int64(shape.Done); task++ {
		l.committed[shape.project(task)-1].Add(1)
	}
	for task := int64(shape.Done) + 1; task <= int64(shape.Tasks); task++ {
		l.order = append(l.order, task)
	}
	random := rand.New(rand.NewPCG(0, 0)) // the same for every rival
	for some := range slices.Chunk(l.order, shuffled) {
		random.Shuffle(len(some), func(i, j int) { some[i], some[j] = some[j], some[i] })
	}
	return l
}

// total returns how many completions were committed.
func (l *load) total() (n int64) {
	for i := range l.committed {
		n += l.committed[i].Load()
	}
	return n
}

// pace is how a load is laid on.
type pace struct {
	duration time.Duration
	rate     float64       // completions a second, at random moments; 0: as many as possible
	gap      time.Duration // at least this lies between two commits that are watched
}

// arrivals returns when completions are due after the beginning, in order. As many as the rate says, each at a random
// moment: at even distances they would keep step with whatever polls.
func (p pace) arrivals() (due []time.Duration) {
	random := rand.New(rand.NewPCG(0, 0)) // the same for every rival
	for range int(p.rate * p.duration.Seconds()) {
		due = append(due, time.Duration(random.Int64N(int64(p.duration))))
	}
	slices.Sort(due)
	return due
}

// turn is one time that a load is laid on.
type turn struct {
	load    *load
	pace    pace
	watched func(commit) // told of some of the commits

	began   time.Time
	counted atomic.Int64 // commits in time
	last    atomic.Int64 // when the last commit was that is watched, from the beginning
}

// driver has connections and completes tasks over them.
type driver interface {
	// drive completes tasks until the time of the turn is up or ctx is done. What has begun is finished.
	drive(ctx context.Context, t *turn) error
	close()
}

// run lays the load on and returns how many completions there were in time.
func (l *load) run(ctx context.Context, d driver, p pace, watched func(commit)) (int, error) {
	t := &turn{load: l, pace: p, watched: watched, began: time.Now()}
	err := d.drive(ctx, t)
	return int(t.counted.Load()), err
}

// over reports whether the time is up.
func (t *turn) over(now time.Time) bool { return now.Sub(t.began) >= t.pace.duration }

var errNoTasks = errors.New("all tasks are completed before the time is up: the shape needs more")

// next returns the next task, its project and somebody who may complete it.
func (t *turn) next(random *rand.Rand) (task, project, user int64, err error) {
	shape, n := t.load.shape, t.load.given.Add(1)
	if n > int64(len(t.load.order)) {
		return 0, 0, 0, errNoTasks
	}
	task = t.load.order[n-1]
	project = shape.project(task)
	return task, project, (project-1)*int64(shape.Customers) + 1 + random.Int64N(int64(shape.Customers)), nil
}

// commit notes that a completion is committed, as its writer knows by now.
func (t *turn) commit(project int64, now time.Time) {
	c := commit{project: project, nth: t.load.committed[project-1].Add(1), at: now}
	if !t.over(now) {
		t.counted.Add(1)
	}
	last, at := t.last.Load(), int64(now.Sub(t.began))
	if at-last >= int64(t.pace.gap) && t.last.CompareAndSwap(last, at) {
		t.watched(c)
	}
}
