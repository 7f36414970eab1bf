// Package pgtest gives each test its own database with headway's schema in it.
//
// A test binary boots one PostgreSQL, when the first test asks for it, and migrates one template database; every
// further database is a copy of that, which takes milliseconds. NOTIFY is per database, so tests do not hear each other
// and may run in parallel. A package that uses it says so in TestMain:
//
//	func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }
//
// What only one package's tests need belongs there, not here.
package pgtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"go.uber.org/goleak"

	"headway/internal/postgres"
	"headway/internal/sqlstate"
	"headway/sql"
)

const template = "headway_template"

// closeTimeout bounds cleanup, when a test's context has already been canceled.
const closeTimeout = 30 * time.Second

// shared is the cluster of this test binary. TestMain and the tests have only the package in common.
var shared struct {
	sync.Mutex
	cluster     *postgres.Cluster
	maintenance *pgxpool.Pool
	migrated    bool
	databases   atomic.Int64
}

// Main runs the tests, stops the cluster if any test started it, and returns the exit code. A goroutine that outlives
// the tests is a failure.
func Main(m *testing.M) int {
	code := m.Run()
	err := stop()
	if code == 0 && err == nil {
		err = goleak.Find()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "pgtest:", err)
		code = max(code, 1)
	}
	return code
}

func stop() error {
	shared.Lock()
	defer shared.Unlock()
	if shared.cluster == nil {
		return nil
	}
	shared.maintenance.Close()
	return shared.cluster.Stop()
}

// Cluster returns the cluster that the tests share. A test that restarts it must not run in parallel with others; it
// had better start its own with [postgres.Start].
func Cluster(t testing.TB) *postgres.Cluster {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	cluster, err := boot()
	if err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	return cluster
}

// Client returns the path of a client program, and fails the test if there is none. See [postgres.Client].
func Client(t testing.TB, program string) string {
	t.Helper()
	path, err := postgres.Client(program)
	if err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	return path
}

// boot starts the shared cluster unless it is running. The lock is held.
func boot() (*postgres.Cluster, error) {
	if shared.cluster == nil {
		// Parallel tests have a pool each.
		cluster, err := postgres.Start(context.Background(), postgres.Options{Settings: map[string]string{"max_connections": "300"}})
		if err != nil {
			return nil, err
		}
		shared.cluster = cluster
		if shared.maintenance, err = pgxpool.New(context.Background(), cluster.URL("postgres")); err != nil {
			return nil, err
		}
	}
	return shared.cluster, nil
}

// sqlWorker creates the login for workers, if the cluster does not have it yet.
const sqlWorker = `
do $$ begin
  create role test_worker login in role headway_worker;
exception when duplicate_object then null;
end $$`

// AsWorker turns a superuser's URL into that of a login that may do what a worker does, and nothing else. The cluster
// has that login once a database has been installed.
func AsWorker(superuserURL string) string {
	return strings.Replace(superuserURL, "postgres://postgres@", "postgres://test_worker@", 1)
}

// Install makes a database with headway's schema in a cluster, and a login for workers. It is for tests that start
// their own cluster; the shared one has its template.
func Install(ctx context.Context, cluster *postgres.Cluster, dbname string) error {
	conn, err := pgx.Connect(ctx, cluster.URL("postgres"))
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, "create database "+dbname)
	if err = errors.Join(err, conn.Close(ctx)); err != nil {
		return err
	}
	conn, err = pgx.Connect(ctx, cluster.URL(dbname))
	if err != nil {
		return err
	}
	err = sql.Migrate(ctx, conn, sql.Latest(), nil)
	if err == nil {
		_, err = conn.Exec(ctx, sqlWorker)
	}
	return errors.Join(err, conn.Close(ctx))
}

// DB is a database that one test has to itself.
type DB struct {
	// URL connects to it as the superuser, with the search_path of the server.
	URL string
	// Name is the name of the database.
	Name string
}

// WorkerURL is the URL for connecting to it as a worker: see [AsWorker].
func (db *DB) WorkerURL() string { return AsWorker(db.URL) }

// New makes a database with headway's schema, which is dropped when the test ends.
func New(t testing.TB) *DB {
	t.Helper()
	cluster := migrated(t)
	return create(t, cluster, template)
}

// Empty makes an empty database, which is dropped when the test ends.
func Empty(t testing.TB) *DB {
	t.Helper()
	return create(t, Cluster(t), "template1")
}

// migrated returns the cluster with the template in it.
func migrated(t testing.TB) *postgres.Cluster {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	cluster, err := boot()
	if err == nil && !shared.migrated {
		_, err = shared.maintenance.Exec(t.Context(), "drop database if exists "+template)
		err = errors.Join(err, Install(t.Context(), cluster, template))
		shared.migrated = err == nil
	}
	if err != nil {
		t.Fatalf("pgtest: make the template: %v", err)
	}
	return cluster
}

func create(t testing.TB, cluster *postgres.Cluster, template string) *DB {
	t.Helper()
	name := fmt.Sprintf("test_%d", shared.databases.Add(1))
	// Copied as files, which only logs the copy itself to the WAL: faster than copying it page by page.
	if err := alone(t.Context(), "create database "+name+" template "+template+" strategy file_copy"); err != nil {
		t.Fatalf("pgtest: make a database: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
		defer cancel()
		if err := alone(ctx, "drop database "+name+" with (force)"); err != nil {
			t.Errorf("pgtest: drop the database: %v", err)
		}
	})
	return &DB{URL: cluster.URL(name), Name: name}
}

// alone runs a statement that needs a database to itself. The server waits five seconds for others to go, which may be
// autovacuum's, or have just been told to: too little on a machine that is busy.
func alone(ctx context.Context, statement string) error {
	for tries := 1; ; tries++ {
		_, err := shared.maintenance.Exec(ctx, statement)
		if sqlstate.Of(err) != sqlstate.ObjectInUse || tries == 5 {
			return err
		}
	}
}

// Option changes how a test connects.
type Option func(*pgx.ConnConfig)

// SearchPath sets the search_path, for a test of what people type.
func SearchPath(path string) Option {
	return func(config *pgx.ConnConfig) { config.RuntimeParams["search_path"] = path }
}

// User connects as another role, which must be allowed to log in.
func User(name string) Option {
	return func(config *pgx.ConnConfig) { config.User = name }
}

func (db *DB) configure(config *pgx.ConnConfig, options []Option) {
	config.RuntimeParams["search_path"] = ""
	for _, option := range options {
		option(config)
	}
}

// Conn connects to the database until the test ends. The search_path is empty, so that unqualified names fail, unless
// an option says otherwise.
func (db *DB) Conn(t testing.TB, options ...Option) *pgx.Conn {
	t.Helper()
	config, err := pgx.ParseConfig(db.URL)
	if err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	db.configure(config, options)
	conn, err := pgx.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
		defer cancel()
		_ = conn.Close(ctx) // the test may have closed it, or had it killed
	})
	return conn
}

// Pool is a pool of connections like those of [DB.Conn], closed when the test ends.
func (db *DB) Pool(t testing.TB, options ...Option) *pgxpool.Pool {
	t.Helper()
	config, err := pgxpool.ParseConfig(db.URL)
	if err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	db.configure(config.ConnConfig, options)
	config.MaxConns = max(config.MaxConns, 10)
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	t.Cleanup(pool.Close)
	return pool
}

// Server starts a PostgreSQL for one test, which stops when the test ends. It is empty, without even the roles.
func Server(t testing.TB, options postgres.Options) *postgres.Cluster {
	t.Helper()
	cluster, err := postgres.Start(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cluster.Stop(); err != nil {
			t.Error(err)
		}
	})
	return cluster
}

// Standby returns a hot standby of a cluster, which is restarted for that. It is stopped when the test ends.
func Standby(t testing.TB, primary *postgres.Cluster) *postgres.Cluster {
	t.Helper()
	standby, err := primary.Standby(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := standby.Stop(); err != nil {
			t.Error(err)
		}
	})
	return standby
}

// Rehearse calls do in a transaction that is rolled back.
func Rehearse(t testing.TB, conn *pgx.Conn, do func(pgx.Tx)) {
	t.Helper()
	tx, err := conn.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	do(tx)
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// Typed returns what a client can send of s to a database: UTF-8, without the character that ends strings.
func Typed(s string) string { return strings.ToValidUTF8(strings.ReplaceAll(s, "\x00", ""), "?") }

// Eventually waits until a condition holds, and fails the test with the message if it does not within the timeout. It
// asks less and less often: what is waited for needs the machine, too.
func Eventually(t testing.TB, timeout time.Duration, condition func() bool, format string, args ...any) {
	t.Helper()
	deadline := time.Now().Add(timeout)
	for pause := 2 * time.Millisecond; !condition(); pause = min(pause*5/4, 50*time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited %v: %s", timeout, fmt.Sprintf(format, args...))
		}
		<-time.After(pause)
	}
}

// Execute runs a script, within five minutes.
func Execute(t testing.TB, conn *pgx.Conn, script string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	if _, err := conn.Exec(ctx, script); err != nil {
		t.Fatalf("%s: %v", script, err)
	}
}
