package process

import (
	"os"
	"testing"
	"time"

	"headway/internal/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

func TestAWorkerFoldsSaysWhatItCostsAndStops(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	conn := db.Conn(t)
	program, err := Build(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	worker, err := Start(t.Context(), program, db.URL)
	if err != nil {
		t.Fatal(err)
	}

	if _, err := conn.Exec(t.Context(), `
insert into headway.appuser (id, fullname) values (1, 'Abe');
insert into headway.project (id, name) values (1, 'Garden');
insert into headway.member (project_id, user_id, role) values (1, 1, 'customer');
insert into headway.task (id, project_id, title) values (1, 1, 'Dig');
insert into headway.completion (task_id, user_id) values (1, 1)`); err != nil {
		t.Fatal(err)
	}
	pgtest.Eventually(t, 20*time.Second, func() bool {
		m, err := worker.Metrics(t.Context())
		return err == nil && m.Facts == 3 && m.Folds > 0 && m.FoldTime > 0 && m.Heap > 0
	}, "joining, the task and its completion were not folded")

	if err := worker.Stop(); err != nil {
		t.Error(err)
	}
	var workers int
	if err := conn.QueryRow(t.Context(), "select workers from headway.status").Scan(&workers); err != nil || workers != 0 {
		t.Errorf("%d workers are left, %v", workers, err)
	}
}

func TestAWorkerThatCannotBeginSaysWhy(t *testing.T) {
	t.Parallel()
	program, err := Build(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Start(t.Context(), program, pgtest.Empty(t).URL); err == nil {
		t.Error("a worker has begun without a schema")
	} else {
		t.Log(err)
	}
}
