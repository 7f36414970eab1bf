package worker_test

import (
	"fmt"
	"testing"
	"time"

	"headway/internal/pgtest"
	"headway/worker"
)

// TestWhoVanishesWhileItPollsKeepsNobodyWaiting loses a worker's machine in the middle of a fold over the pool: its session
// must not keep the lock of the folds.
func TestWhoVanishesWhileItPollsKeepsNobodyWaiting(t *testing.T) {
	t.Parallel()
	db := seeded(t)
	pooled := db.PgBouncer(t)
	conn, brake, proxy := db.Conn(t), newBrake(t, db), newProxy(t, pooled)
	shortly := func(w *worker.Worker) { w.ProbeTimeout = 500 * time.Millisecond }
	first := start(t, config(t, proxy.url(pooled)), shortly)
	first.await(worker.Deaf, worker.Polled)
	brake.hold(0)
	pgtest.Execute(t, conn, complete(1))
	brake.caught()
	proxy.silence()
	second := start(t, config(t, pooled), shortly)
	second.await(worker.Deaf, worker.Polled)
	brake.release()
	pgtest.Execute(t, conn, complete(2))
	pgtest.Eventually(t, soon, func() bool { return value[int](t, conn, "select count(*) from headway.pending_fact") == 0 }, "nobody folds")
}

// TestALongFoldIsFinishedThoughItPolls takes longer than a worker polls until it tries to connect anew, and than the fold in
// hand may take once the worker is told to stop.
func TestALongFoldIsFinishedThoughItPolls(t *testing.T) {
	t.Parallel()
	db := seeded(t)
	conn, brake := db.Conn(t), newBrake(t, db)
	w := polling(t, db)
	brake.hold(0)
	pgtest.Execute(t, conn, complete(1))
	pid := brake.caught()
	long := fmt.Sprintf("select coalesce((select now() - query_start > '25 seconds' from pg_stat_activity where pid = %d and state = 'active'), true)", pid)
	pgtest.Eventually(t, 2*soon, func() bool { return value[bool](t, conn, long) }, "the fold is not held")
	brake.release()
	w.await(worker.Folded)
	if n := metric(t, w.Worker, "headway_fold_errors_total"); n != 0 {
		t.Errorf("%v folds were cut short", n)
	}
}
