package pgtest_test

import (
	"os"
	"testing"
	"time"

	"headway/internal/pgtest"
	"headway/sql"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

func TestEachTestHasItsOwnCopyOfTheSchema(t *testing.T) {
	t.Parallel()
	one, two := pgtest.New(t), pgtest.New(t)

	if err := sql.Check(t.Context(), one.Conn(t)); err != nil {
		t.Error(err)
	}
	if _, err := one.Pool(t).Exec(t.Context(), "create table public.note ()"); err != nil {
		t.Fatal(err)
	}
	var missing bool
	if err := two.Pool(t).QueryRow(t.Context(), "select to_regclass('public.note') is null").Scan(&missing); err != nil || !missing {
		t.Errorf("the other database has the table too, %v", err)
	}
}

func TestTheSearchPathIsEmptyUnlessAskedFor(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	const query = "select count(*) from appuser"

	if _, err := db.Conn(t).Exec(t.Context(), query); err == nil {
		t.Error("an unqualified name works on a connection")
	}
	if _, err := db.Pool(t).Exec(t.Context(), query); err == nil {
		t.Error("an unqualified name works in a pool")
	}
	if _, err := db.Conn(t, pgtest.SearchPath("headway")).Exec(t.Context(), query); err != nil {
		t.Error(err)
	}
}

func TestADatabaseIsDroppedThoughSomeoneIsConnected(t *testing.T) {
	t.Parallel()
	watcher := pgtest.Empty(t).Conn(t)
	var name string

	t.Run("a test", func(t *testing.T) {
		db := pgtest.Empty(t)
		name = db.Name
		db.Conn(t)
	})
	pgtest.Eventually(t, 10*time.Second, func() bool {
		var dropped bool
		err := watcher.QueryRow(t.Context(), "select count(*) = 0 from pg_database where datname = $1", name).Scan(&dropped)
		return err == nil && dropped
	}, "database %s is still there", name)
}

func BenchmarkNew(b *testing.B) {
	pgtest.New(b) // boots and migrates
	for b.Loop() {
		pgtest.New(b)
	}
}
