package live

import (
	"context"
	"errors"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"headway/internal/pgtest"
	"headway/internal/postgres"
	"headway/sql"
)

func TestItListensAndReadsOverOneConnection(t *testing.T) {
	t.Parallel()
	db, conn := seeded(t)
	f := follow(t, db)
	f.await(Listening, 1)
	pgtest.Eventually(t, soon, func() bool {
		var n int
		err := conn.QueryRow(t.Context(), `
select count(*) from pg_stat_activity where datname = current_database() and backend_type = 'client backend' and pid <> pg_backend_pid()`).Scan(&n)
		if err != nil {
			t.Fatal(err)
		}
		return n == 1
	}, "it keeps more than one")
}

func TestALostConnectionIsMadeAnewAndNothingIsMissed(t *testing.T) {
	t.Parallel()
	db, conn := seeded(t)
	f := follow(t, db)
	f.await(Listening, 1)
	pgtest.Execute(t, conn, `
select headway.complete_task(1, 3), headway.post(2, 'project_1', 'heard by nobody');
select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid();
select headway.fold()`)
	f.await(Lost, 1)
	f.await(Listening, 2)
	f.awaitTruth(conn)
	f.awaitText("Bob: heard by nobody")
	f.awaitText(`Charlie completed "Choose the photographs"`)
	pgtest.Execute(t, conn, `select headway.complete_task(4, 3); select headway.fold()`)
	f.awaitTruth(conn)
	f.toldOnce()
}

func TestWhereNothingIsNotifiedItReads(t *testing.T) {
	t.Parallel()
	t.Run("by setting", func(t *testing.T) {
		t.Parallel()
		db, conn := seeded(t)
		pgtest.Execute(t, conn, `select headway.set_setting('notify_payload', 'off')`)
		f := follow(t, db)
		f.await(Deaf, 1)
		pgtest.Execute(t, conn, `select headway.complete_task(1, 3), headway.post(2, 'project_1', 'silently')`)
		f.awaitTruth(conn)
		f.awaitText("Bob: silently")
		f.await(Read, f.count(Read)+2) // what is said is told after it
		f.toldOnce()
		pgtest.Execute(t, conn, `select headway.set_setting('notify_payload', 'row')`)
		f.await(Listening, 1)
	})
	t.Run("where the queue is half full", func(t *testing.T) {
		t.Parallel()
		db, conn := seeded(t)
		// How full it is cannot be set, so something else says it.
		pgtest.Execute(t, conn, `
alter function pg_catalog.pg_notification_queue_usage() rename to real_usage;
create function pg_catalog.pg_notification_queue_usage() returns float8 language sql as 'select 0.5::float8'`)
		f := follow(t, db)
		f.await(Deaf, 1)
		pgtest.Execute(t, conn, `select headway.complete_task(1, 3), headway.post(2, 'project_1', 'drop by drop')`)
		f.awaitTruth(conn)
		f.awaitText("Bob: drop by drop")
	})
	t.Run("behind a pooler", func(t *testing.T) {
		t.Parallel()
		db, conn := seeded(t)
		pooled := db.PgBouncer(t)
		f := follow(t, db, func(f *Follower) {
			f.Listen = func(ctx context.Context) (*pgx.Conn, error) { return pgx.Connect(ctx, pooled) }
			f.Read = f.Listen
		})
		f.await(Deaf, 1)
		pgtest.Execute(t, conn, `select headway.complete_task(1, 3), headway.post(2, 'project_1', 'pooled')`)
		f.awaitTruth(conn)
		f.awaitText("Bob: pooled")
		f.await(Read, f.count(Read)+2) // what is said is told after it
		f.toldOnce()
	})
}

// TestAStandbyIsFollowedToo has somebody follow a hot standby, which takes no LISTEN.
func TestAStandbyIsFollowedToo(t *testing.T) {
	t.Parallel()
	primary := pgtest.Server(t, postgres.Options{})
	db := &pgtest.DB{URL: primary.URL("postgres"), Name: "postgres"}
	conn := db.Conn(t)
	if err := sql.Migrate(t.Context(), conn, sql.Latest(), nil); err != nil {
		t.Fatal(err)
	}
	pgtest.Execute(t, conn, sqlPeople)
	standby := pgtest.Standby(t, primary)
	f := follow(t, &pgtest.DB{URL: standby.URL("postgres"), Name: "postgres"})
	f.await(Deaf, 1)
	conn = db.Conn(t) // the primary was restarted to be followed
	pgtest.Execute(t, conn, `select headway.complete_task(1, 3), headway.post(2, 'project_1', 'over there')`)
	f.awaitTruth(conn)
	f.awaitText("Bob: over there")
}

// TestAFailoverToWhatLagsBehind follows a database, and then another that has the same, but not the last of it.
func TestAFailoverToWhatLagsBehind(t *testing.T) {
	t.Parallel()
	primary, conn := seeded(t)
	standby, other := seeded(t)
	var url atomic.Pointer[string]
	url.Store(&primary.URL)
	f := follow(t, primary, func(f *Follower) {
		f.Listen = func(ctx context.Context) (*pgx.Conn, error) { return pgx.Connect(ctx, *url.Load()) }
		f.Read = f.Listen
	})
	f.await(Listening, 1)
	pgtest.Execute(t, conn, `select headway.post(2, 'project_1', 'both have it')`)
	pgtest.Execute(t, other, `select headway.post(2, 'project_1', 'both have it')`)
	pgtest.Execute(t, conn, `select headway.post(2, 'project_1', 'lost'), headway.post(2, 'project_1', 'lost, too')`)
	f.awaitText("Bob: lost, too")
	pgtest.Execute(t, conn, `select headway.open_channel('design', 1, array[2]), headway.post(2, 'design', 'lost with its channel')`)
	f.awaitText("Bob: lost with its channel")

	url.Store(&standby.URL)
	pgtest.Execute(t, conn, `select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()`)
	f.await(Listening, 2)
	pgtest.Execute(t, other, `select headway.post(2, 'project_1', 'after the failover')`)
	f.awaitText("Bob: after the failover")
	pgtest.Execute(t, other, `select headway.open_channel('design', 1, array[2]), headway.post(2, 'design', 'in a new channel of that name')`)
	f.awaitText("Bob: in a new channel of that name")
	f.toldOnce()
}

// TestAServerThatFellSilentIsLeft stops the process at the other end, as a network does that loses everything.
func TestAServerThatFellSilentIsLeft(t *testing.T) {
	t.Parallel()
	db, conn := seeded(t)
	f := follow(t, db, func(f *Follower) { f.ReadInterval = time.Hour })
	f.await(Listening, 1)
	var pid int
	pgtest.Eventually(t, soon, func() bool {
		err := conn.QueryRow(t.Context(), `
select min(pid) from pg_stat_activity where datname = current_database() and backend_type = 'client backend' and pid <> pg_backend_pid()
having count(*) = 1`).Scan(&pid)
		return err == nil
	}, "it has more than one connection")
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGCONT) }) // or the database cannot be dropped
	f.await(Lost, 1)
	f.await(Listening, 2)
	pgtest.Execute(t, conn, `select headway.post(2, 'project_1', 'over the new one')`)
	f.awaitText("Bob: over the new one")
}

// TestItMayBeIdle has the server end sessions sooner than it asks whether the server is there.
func TestItMayBeIdle(t *testing.T) {
	t.Parallel()
	db, conn := seeded(t)
	f := follow(t, db, func(f *Follower) {
		f.Listen = func(ctx context.Context) (*pgx.Conn, error) {
			config, err := pgx.ParseConfig(db.URL)
			if err != nil {
				return nil, err
			}
			config.RuntimeParams["idle_session_timeout"], config.RuntimeParams["application_name"] = "1s", "listener"
			return pgx.ConnectConfig(ctx, config)
		}
	})
	f.await(Listening, 1)
	pgtest.Eventually(t, soon, func() bool {
		var idle bool
		err := conn.QueryRow(t.Context(), `
select exists (
  select from pg_stat_activity
  where datname = current_database() and application_name = 'listener' and state = 'idle' and now() - state_change > interval '2 seconds'
)`).Scan(&idle)
		return err == nil && idle
	}, "no session is idle for longer than others may be")
}

// TestAConnectionThatIsLostAtOnceIsMadeAnew has the second one be lost before it is listened to.
func TestAConnectionThatIsLostAtOnceIsMadeAnew(t *testing.T) {
	t.Parallel()
	db, conn := seeded(t)
	f := follow(t, db, func(f *Follower) {
		listen, n := f.Listen, 0
		f.Listen = func(ctx context.Context) (*pgx.Conn, error) {
			conn, err := listen(ctx)
			if n++; err == nil && n == 2 {
				err = conn.Close(ctx)
			}
			return conn, err
		}
	})
	f.await(Listening, 1)
	pgtest.Execute(t, conn, `select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()`)
	f.await(Lost, 2)
	f.await(Listening, 2)
}

func TestTheFirstConnectionHasToSucceed(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	connect := func(ctx context.Context) (*pgx.Conn, error) { return pgx.Connect(ctx, db.URL) }
	wrong := errors.New("wrong address")
	refuse := func(context.Context) (*pgx.Conn, error) { return nil, wrong }
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	for _, f := range []*Follower{{Listen: refuse, Read: connect}, {Listen: connect, Read: refuse}} {
		if err := f.Run(ctx); !errors.Is(err, wrong) {
			t.Errorf("%v", err)
		}
	}
}
