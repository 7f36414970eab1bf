package worker_test

import (
	"testing"
	"time"

	"headway/internal/pgtest"
	"headway/worker"
)

func TestThroughAPoolerWithAListeningConnection(t *testing.T) {
	t.Parallel()
	db := seeded(t)
	pooled := db.PgBouncer(t)
	w := start(t, config(t, pooled, "HEADWAY_LISTEN_URL", db.URL))
	w.await(worker.Leading, worker.Asleep)
	writers := connectPool(t, pooled+"&default_query_exec_mode=exec")

	traffic := drive(t, writers)
	traffic.flow()
	conn := db.Conn(t)
	traffic.settle(conn)
	pgtest.Eventually(t, soon, func() bool { return locks(t, conn, "doorbell", exclusive) == 1 }, "it does not go to sleep")
	w.forget()
	pgtest.Execute(t, conn, "select headway.reopen_task(1, 1); "+complete(1))
	w.await(worker.Rung, worker.Folded)
	eventuallyFolded(t, conn)
	if metric(t, w.Worker, "headway_listening") != 1 {
		t.Error("it does not say that it listens")
	}
}

func TestThroughAPoolerAloneEveryWorkerPolls(t *testing.T) {
	t.Parallel()
	db := seeded(t)
	pooled := db.PgBouncer(t)
	conn := db.Conn(t)
	shortly := func(w *worker.Worker) { w.ProbeTimeout = 500 * time.Millisecond }
	workers := []*running{start(t, config(t, pooled), shortly), start(t, config(t, pooled), shortly)}
	for _, w := range workers {
		w.await(worker.Deaf, worker.Polled)
	}

	traffic := drive(t, connectPool(t, pooled+"&default_query_exec_mode=exec"))
	traffic.flow()
	for _, purpose := range []string{"leader", "doorbell"} {
		if n := locks(t, conn, purpose, exclusive); n != 0 {
			t.Errorf("%d sessions hold the %s lock", n, purpose)
		}
	}
	traffic.settle(conn)
	for _, w := range workers {
		w.forget()
	}
	pgtest.Execute(t, conn, "select headway.reopen_task(1, 1); "+complete(1))
	eventuallyFolded(t, conn) // by a poll that comes long before the next safety poll
	for _, w := range workers {
		if metric(t, w.Worker, "headway_listening") != 0 || metric(t, w.Worker, "headway_probe_failures_total") != 1 {
			t.Error("it does not say that it hears nothing")
		}
	}
	pgtest.Eventually(t, soon, func() bool {
		return value[int](t, conn, "select count(*) from headway.worker where leader") == 2
	}, "the workers do not say that they fold")
}
