package worker_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"headway/internal/pgtest"
	"headway/internal/sqlstate"
)

// traffic is three applications that complete and reopen tasks of the seed until the test says stop, whatever becomes
// of the server, and remember what they were told.
type traffic struct {
	t         *testing.T
	committed atomic.Int64
	stop      func()
	writers   []*writer
}

// writer has every third task to itself, so that it knows what to expect of them.
type writer struct {
	pool      *pgxpool.Pool
	random    *rand.Rand
	tolerates []string
	tasks     map[int]*account
	failures  []error
}

// account is what is known of a task.
type account struct {
	complete, known     bool // known: it was told whether the last change was committed
	completed, reopened span
}

// span is how often something happened: least times for certain, perhaps more.
type span struct{ least, perhaps int64 }

func (s span) has(n int64) bool { return s.least <= n && n <= s.least+s.perhaps }

// drive starts traffic. A transaction that the server refuses is a failure unless its code is tolerated; one that goes
// down with the server is not.
func drive(t *testing.T, pool *pgxpool.Pool, tolerated ...string) *traffic {
	t.Helper()
	tr := &traffic{t: t}
	const writers = 3
	seed := rand.Uint64()
	t.Logf("traffic from seed %d", seed)
	for i := range writers {
		w := &writer{random: rand.New(rand.NewPCG(seed, uint64(i))), tolerates: tolerated, tasks: map[int]*account{}}
		for task := 1 + i; task <= 1000; task += writers {
			w.tasks[task] = &account{known: true}
		}
		tr.writers = append(tr.writers, w)
	}
	tr.resume(pool)
	t.Cleanup(func() { tr.stop() })
	return tr
}

// resume starts traffic that was stopped again, over other connections.
func (tr *traffic) resume(pool *pgxpool.Pool) {
	var stopped atomic.Bool
	var group sync.WaitGroup
	for _, w := range tr.writers {
		w.pool = pool
		tasks := slices.Sorted(maps.Keys(w.tasks))
		group.Go(func() {
			for !stopped.Load() && tr.t.Context().Err() == nil {
				// Two tasks in one transaction, in any order: nobody may meet anybody else.
				one, two := tasks[w.random.IntN(len(tasks))], tasks[w.random.IntN(len(tasks))]
				if one != two && w.change(tr.t.Context(), one, two) {
					tr.committed.Add(1)
				}
			}
		})
	}
	tr.stop = sync.OnceFunc(func() { stopped.Store(true); group.Wait() })
}

// change completes what is open and reopens what is complete, in one transaction, and reports whether that was
// committed.
func (w *writer) change(ctx context.Context, tasks ...int) bool {
	ctx, cancel := context.WithTimeout(ctx, soon)
	defer cancel()
	var calls []string
	for _, task := range tasks {
		function := "complete_task"
		if w.tasks[task].complete {
			function = "reopen_task"
		}
		calls = append(calls, fmt.Sprintf("headway.%s(%d, 1)", function, task))
	}
	changed := make([]bool, len(tasks))
	// At most 100 transactions a second each: folds are to keep up whatever a test does to them.
	err := w.pool.QueryRow(ctx, "select "+strings.Join(calls, ", ")+" from pg_sleep(0.01)").Scan(&changed[0], &changed[1])
	unknown := endsSession(err)
	if err != nil && !unknown {
		if code := sqlstate.Of(err); !slices.Contains(w.tolerates, code) {
			w.failures = append(w.failures, err)
		}
		return false
	}
	for i, task := range tasks {
		a := w.tasks[task]
		counted := &a.completed
		if a.complete {
			counted = &a.reopened
		}
		switch {
		case unknown:
			counted.perhaps++
		case changed[i]:
			counted.least++
		}
		a.complete, a.known = !a.complete, !unknown
	}
	return !unknown
}

// endsSession reports whether after this error nobody knows whether the transaction was committed.
func endsSession(err error) bool {
	if err == nil {
		return false
	}
	var pgErr *pgconn.PgError
	return !errors.As(err, &pgErr) || pgErr.Severity == "FATAL" || pgErr.Severity == "PANIC"
}

// flow waits until some more was committed.
func (tr *traffic) flow() {
	tr.t.Helper()
	target := tr.committed.Load() + 50
	pgtest.Eventually(tr.t, soon, func() bool { return tr.committed.Load() >= target }, "nothing is committed any more")
}

const sqlAccounts = `
select t.id, exists (select from headway.completion c where c.task_id = t.id),
	coalesce(m.completed, 0), coalesce(m.reopened, 0)
from headway.task t
left join (
	select m.task_id,
		count(*) filter (where m.kind = 'task_completed') as completed,
		count(*) filter (where m.kind = 'task_reopened') as reopened
	from headway.message m
	group by m.task_id
) m on m.task_id = t.id
where t.id <= 1000`

// settle stops the traffic and waits until all of it is folded. Then what was told to the writers has to be so: no
// transaction failed, what was committed is there, and each change was told to the staff once.
func (tr *traffic) settle(on execer) {
	tr.t.Helper()
	tr.stop()
	eventuallyFolded(tr.t, on)
	rows, err := on.Query(tr.t.Context(), sqlAccounts)
	if err != nil {
		tr.t.Fatal(err)
	}
	accounts := map[int]*account{}
	for _, w := range tr.writers {
		maps.Copy(accounts, w.tasks)
		for _, err := range w.failures[:min(3, len(w.failures))] {
			tr.t.Errorf("%d transactions of an application failed: %v", len(w.failures), err)
		}
	}
	var task int
	var complete bool
	var completed, reopened int64
	_, err = pgx.ForEachRow(rows, []any{&task, &complete, &completed, &reopened}, func() error {
		a := accounts[task]
		if a.known && a.complete != complete {
			tr.t.Errorf("task %d is complete: %v, but %v was committed", task, complete, a.complete)
		}
		if !a.completed.has(completed) || !a.reopened.has(reopened) {
			tr.t.Errorf("task %d was told complete %d times and reopened %d times: want %+v and %+v",
				task, completed, reopened, a.completed, a.reopened)
		}
		return nil
	})
	if err != nil {
		tr.t.Fatal(err)
	}
	if tr.committed.Load() == 0 {
		tr.t.Error("nothing was committed")
	}
}
