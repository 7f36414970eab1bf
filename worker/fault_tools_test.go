package worker_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"headway/internal/pgtest"
	"headway/internal/postgres"
	"headway/internal/sqlstate"
)

// ownCluster boots a PostgreSQL that the test may do anything to, with a seeded database in it.
func ownCluster(t *testing.T, settings map[string]string) (*postgres.Cluster, *pgtest.DB) {
	t.Helper()
	cluster := pgtest.Server(t, postgres.Options{Settings: settings})
	return cluster, installed(t, cluster, "app")
}

// installed makes a seeded database in a cluster.
func installed(t *testing.T, cluster *postgres.Cluster, name string) *pgtest.DB {
	t.Helper()
	if err := pgtest.Install(t.Context(), cluster, name); err != nil {
		t.Fatal(err)
	}
	db := &pgtest.DB{URL: cluster.URL(name), Name: name}
	pgtest.Execute(t, db.Conn(t), seed)
	return db
}

func connectPool(t *testing.T, url string) *pgxpool.Pool {
	t.Helper()
	pool, err := pgxpool.New(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

// setDefault sets a default for the sessions that begin from now on.
func setDefault(t *testing.T, db *pgtest.DB, setting, value string) {
	t.Helper()
	pgtest.Execute(t, db.Conn(t), "alter database "+db.Name+" set "+setting+" = '"+value+"'")
}

// refused runs statements that the server is to refuse with a certain SQLSTATE, and rolls back.
func refused(t *testing.T, conn *pgx.Conn, code, statements string) {
	t.Helper()
	if err := conn.PgConn().Exec(t.Context(), statements).Close(); sqlstate.Of(err) != code {
		t.Errorf("%s: want an error %s: %v", statements, code, err)
	}
	pgtest.Execute(t, conn, "rollback")
}

// login makes a role that may connect and nothing more, until the test ends.
func login(t *testing.T, db *pgtest.DB) (role string) {
	t.Helper()
	role = "stranger_" + db.Name
	conn := db.Conn(t)
	pgtest.Execute(t, conn, "create role "+role+" login")
	t.Cleanup(func() {
		if _, err := conn.Exec(context.Background(), strings.ReplaceAll("reassign owned by it to postgres; drop owned by it; drop role it", "it", role)); err != nil {
			t.Error(err)
		}
	})
	return role
}

// as returns the URL of a database for another role than the superuser.
func as(db *pgtest.DB, role string) string {
	return strings.Replace(db.URL, "postgres@", role+"@", 1)
}

// stops are the places in a fold at which a [brake] can hold it.
const stops = `
create function public.stop() returns trigger language plpgsql security definer set search_path = '' as $$
begin
	perform pg_advisory_xact_lock_shared(42, tg_argv[0]::integer);
	return null;
end $$;
create trigger stop before delete on headway.pending_fact for each statement execute function public.stop(0);
create trigger stop before update on headway.shared_progress for each statement execute function public.stop(1);
create trigger stop before insert on headway.message for each statement execute function public.stop(2);
create trigger stop_after after insert on headway.message for each statement execute function public.stop(3)`

// stopCount is how many there are.
const stopCount = 4

// brake holds folds in the middle.
type brake struct {
	t    *testing.T
	db   *pgtest.DB
	conn *pgx.Conn // holds the brake
}

func newBrake(t *testing.T, db *pgtest.DB) *brake {
	t.Helper()
	pgtest.Execute(t, db.Conn(t), stops)
	return &brake{t: t, db: db}
}

// hold has the next fold that comes to a stop wait there, until release is called or the server ends.
func (b *brake) hold(stop int) {
	b.t.Helper()
	pgtest.Eventually(b.t, soon, func() bool {
		conn, err := pgx.Connect(b.t.Context(), b.db.URL)
		b.conn = conn
		return err == nil
	}, "no connection to the server")
	pgtest.Execute(b.t, b.conn, fmt.Sprintf("select pg_advisory_lock(42, %d)", stop))
}

// caught waits until a fold is held and returns the process id of its session.
func (b *brake) caught() (pid int) {
	b.t.Helper()
	pgtest.Eventually(b.t, soon, func() bool {
		pid = value[int](b.t, b.conn, `
			select coalesce(max(pid), 0) from pg_locks
			where locktype = 'advisory' and not granted and objsubid = 2 and classid = 42
				and database = (select oid from pg_database where datname = current_database())`)
		return pid != 0
	}, "no fold is held")
	return pid
}

func (b *brake) release() {
	b.t.Helper()
	_ = b.conn.Close(b.t.Context()) // the server may be gone
}

const sqlLeader = `
select pid
from pg_locks
where locktype = 'advisory' and granted and objsubid = 1
	and database = (select oid from pg_database where datname = current_database())
	and (classid::bigint << 32 | objid::bigint) = headway.lock_key('leader')`

// leader returns the process id of the session that leads.
func leader(t *testing.T, on execer) int {
	t.Helper()
	return value[int](t, on, sqlLeader)
}
