package worker_test

import (
	"fmt"
	"net"
	"slices"
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

// TestADeafWorkerPollsWhileItTriesToHear has each try take two seconds, and hardly any time between them.
func TestADeafWorkerPollsWhileItTriesToHear(t *testing.T) {
	t.Parallel()
	db := seeded(t)
	w := start(t, config(t, db.PgBouncer(t)), func(w *worker.Worker) {
		w.ProbeTimeout, w.RelistenInterval = 2*time.Second, time.Millisecond
	})
	w.await(worker.Deaf, worker.Deaf)
	var between []worker.Event // from one try to the next
	pgtest.Eventually(t, soon, func() bool {
		events := w.since()
		next := slices.Index(events, worker.Deaf)
		between = events[:max(next, 0)]
		return next >= 0
	}, "it does not try again")
	if len(between) < 3 {
		t.Errorf("between its tries, or while it tries, it only did %v", between)
	}
}

// TestAListeningAddressThatSaysNothing has it accept connections and never answer: each try takes until its timeout.
func TestAListeningAddressThatSaysNothing(t *testing.T) {
	t.Parallel()
	db := seeded(t)
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	proxy := newProxy(t, db.URL)
	w := start(t, config(t, db.URL, "HEADWAY_LISTEN_URL", proxy.url(db.URL)))
	w.await(worker.Leading, worker.Asleep)
	conn := db.Conn(t)
	proxy.turn("postgres://" + silent.Addr().String())
	pgtest.Execute(t, conn, fmt.Sprintf("select pg_terminate_backend(%d)", leader(t, conn)))
	w.await(worker.Lost)
	pgtest.Execute(t, conn, complete(1))
	w.await(worker.Polled, worker.Folded)
	pgtest.Eventually(t, soon, func() bool { return metric(t, w.Worker, "headway_leader") == 1 }, "it folds, and is said not to")
}
