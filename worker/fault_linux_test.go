package worker_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"headway/internal/pgtest"
	"headway/worker"
)

// TestTheDiskIsFull
//
// Promised: where the queue has no room, the application's change fails whole, with PostgreSQL's own error; where the
// fold has none, its facts stay in the queue and reads stay exact. The worker goes on when there is room again.
// Provoked: the file of one table, the queue or the messages, is the kernel's device that refuses every byte as a full
// disk does. It needs Linux, and no rights.
// Left: nothing of the refused change, and everything else is folded.
func TestTheDiskIsFull(t *testing.T) {
	t.Parallel()
	const done = "select done from headway.progress where project_id = 1"
	t.Run("under the queue", func(t *testing.T) {
		t.Parallel()
		d := setup(t)
		makeRoom := full(t, d.db, "headway.pending_fact")

		refused(t, d.writer, "53100", "begin; "+complete(1))
		pgtest.Execute(t, d.writer, "select headway.post(1, 'project_1', 'It says that the disk is full.')")
		if n := value[int](t, d.bystander, "select count(*) from headway.completion"); n != 0 {
			t.Errorf("%d completions are left", n)
		}
		makeRoom()
		pgtest.Execute(t, d.writer, complete(1))
		d.await(worker.Rung, worker.Folded)
		d.finish()
	})
	t.Run("under the messages", func(t *testing.T) {
		t.Parallel()
		d := setup(t)
		makeRoom := full(t, d.db, "headway.message")

		pgtest.Execute(t, d.writer, complete(1))
		pgtest.Eventually(t, soon, func() bool { return metric(t, d.Worker, "headway_fold_errors_total") > 2 }, "no fold fails")
		if n := value[int](t, d.bystander, done); n != 1 {
			t.Errorf("%d tasks are done", n)
		}
		if events := d.since(); slices.Contains(events, worker.Lost) {
			t.Errorf("the worker has given up its connection: %q", events)
		}
		makeRoom()
		d.await(worker.Folded)
		d.finish()
		if n := value[int](t, d.bystander, done); n != 1 {
			t.Errorf("%d tasks are done in the end", n)
		}
	})
}

// full has an empty table's file take nothing, until the function that it returns is called. Both give the table a new
// file, because sessions keep open the one that they know.
func full(t *testing.T, db *pgtest.DB, table string) (makeRoom func()) {
	t.Helper()
	renew := "set session_replication_role = replica; begin; truncate " + table // without its triggers
	conn := db.Conn(t)
	pgtest.Execute(t, conn, renew)
	path := filepath.Join(pgtest.Cluster(t).DataDir(), value[string](t, conn, "select pg_relation_filepath($1)", table))
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/dev/full", path); err != nil {
		t.Fatal(err)
	}
	pgtest.Execute(t, conn, "commit")
	if err := conn.Close(t.Context()); err != nil { // it has the removed file open
		t.Fatal(err)
	}
	return func() { pgtest.Execute(t, db.Conn(t), renew+"; commit") }
}
