package worker_test

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"headway/internal/pgtest"
	"headway/worker"
)

func TestMain(m *testing.M) {
	// Most of these tests wait for something to time out, which more of them than there are processors can do at a time,
	// unless -parallel says otherwise.
	if err := flag.Lookup("test.parallel").Value.Set("6"); err != nil {
		panic(err)
	}
	os.Exit(pgtest.Main(m))
}

// soon bounds what is a matter of milliseconds, on a machine that is busy with other tests.
const soon = 20 * time.Second

// config is what the environment would say, with a login of a worker in the place of the superuser. An hour between safety polls: only the protocol explains what is folded
// before that.
func config(t *testing.T, databaseURL string, more ...string) worker.Config {
	t.Helper()
	env := map[string]string{"DATABASE_URL": databaseURL, "HEADWAY_POLL_INTERVAL": "1h"}
	for i := 0; i < len(more); i += 2 {
		env[more[i]] = more[i+1]
	}
	for _, name := range []string{"DATABASE_URL", "HEADWAY_LISTEN_URL"} {
		env[name] = pgtest.AsWorker(env[name])
	}
	config, err := worker.LoadConfig(func(name string) string { return env[name] })
	if err != nil {
		t.Fatal(err)
	}
	return config
}

// running is a worker that runs until the test ends or stop is called.
type running struct {
	*worker.Worker
	*watcher
	logbook *logbook // unless change has set another
	stop    func()
}

// start runs a worker that never probes nor pings by the clock, unless change says otherwise.
func start(t *testing.T, config worker.Config, change ...func(*worker.Worker)) *running {
	t.Helper()
	watcher := &watcher{t: t, changed: make(chan struct{}), holds: map[worker.Event]*hold{}}
	log := newLogbook(t, nil)
	w := worker.New(config, slog.New(log), "test")
	w.ProbeInterval, w.PingInterval = time.Hour, time.Hour
	w.StandbyInterval = 20 * time.Millisecond
	w.Observe = watcher.observe
	for _, f := range change {
		f(w)
	}

	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	stop := sync.OnceFunc(func() {
		watcher.releaseAll()
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("run: %v", err)
			}
		case <-time.After(25 * time.Second):
			t.Error("the worker has not stopped within 25 seconds")
		}
	})
	t.Cleanup(stop)
	return &running{Worker: w, watcher: watcher, logbook: log, stop: stop}
}

// watcher remembers what a worker did, and can hold it at a step.
type watcher struct {
	t *testing.T

	mu       sync.Mutex
	log      []worker.Event
	times    []time.Time   // of each
	position int           // what has been awaited
	changed  chan struct{} // closed and replaced with every event
	holds    map[worker.Event]*hold
}

// hold keeps a worker at a step, once.
type hold struct {
	reached  chan struct{}
	released chan struct{}
	release  func()
}

func (w *watcher) observe(e worker.Event) {
	w.mu.Lock()
	w.log, w.times = append(w.log, e), append(w.times, time.Now())
	close(w.changed)
	w.changed = make(chan struct{})
	h := w.holds[e]
	delete(w.holds, e)
	w.mu.Unlock()
	if h != nil {
		close(h.reached)
		<-h.released
	}
}

// holdAt has the worker stop when it next comes to a step, until release is called.
func (w *watcher) holdAt(e worker.Event) *hold {
	w.mu.Lock()
	defer w.mu.Unlock()
	h := &hold{reached: make(chan struct{}), released: make(chan struct{})}
	h.release = sync.OnceFunc(func() { close(h.released) })
	w.holds[e] = h
	w.t.Cleanup(h.release)
	return h
}

func (w *watcher) releaseAll() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, h := range w.holds {
		h.release()
	}
}

// forget ignores what has happened so far.
func (w *watcher) forget() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.position = len(w.log)
}

// await waits for the events, in this order, others in between, after what was awaited before.
func (w *watcher) await(events ...worker.Event) {
	w.t.Helper()
	timeout := time.After(soon)
	for _, e := range events {
		for !w.find(e) {
			w.mu.Lock()
			seen, changed := w.log[w.position:], w.changed
			w.mu.Unlock()
			if slices.Contains(seen, e) {
				continue
			}
			select {
			case <-changed:
			case <-timeout:
				w.t.Fatalf("waited %v for %q of %q; then came %q", soon, e, events, seen)
			}
		}
	}
}

func (w *watcher) find(e worker.Event) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	i := slices.Index(w.log[w.position:], e)
	if i >= 0 {
		w.position += i + 1
	}
	return i >= 0
}

// took waits for an event that many times more, and returns how long that took the worker since what was awaited last,
// however late the test hears of it.
func (w *watcher) took(times int, e worker.Event) time.Duration {
	w.t.Helper()
	at := func() time.Time {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.times[w.position-1]
	}
	began := at()
	for range times {
		w.await(e)
	}
	return at().Sub(began)
}

// since returns what happened after what was awaited.
func (w *watcher) since() []worker.Event {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.log[w.position:])
}

func await(t *testing.T, what string, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(soon):
		t.Fatalf("waited %v for %s", soon, what)
	}
}

// seed makes two projects, ids 1 and 2, with a customer, id 1, and tasks that are each done by one completion: 1 to
// 500 in the first, 501 to 1000 in the second.
const seed = `
insert into headway.appuser (id, fullname) values (1, 'Abe');
insert into headway.project (id, name) values (1, 'Site'), (2, 'Shop');
insert into headway.member (project_id, user_id, role) values (1, 1, 'customer'), (2, 1, 'customer');
insert into headway.task (id, project_id, title)
select n, case when n <= 500 then 1 else 2 end, 'Task ' || n from generate_series(1, 1000) n`

func seeded(t *testing.T) *pgtest.DB {
	t.Helper()
	db := pgtest.New(t)
	pgtest.Execute(t, db.Conn(t), seed)
	return db
}

type execer interface {
	Query(ctx context.Context, query string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, query string, args ...any) pgx.Row
}

var (
	_ execer = (*pgx.Conn)(nil)
	_ execer = (*pgxpool.Pool)(nil)
)

// complete is the statement that completes a task.
func complete(task int) string { return fmt.Sprintf("select headway.complete_task(%d, 1)", task) }

// value returns the one value of a query.
func value[T any](t *testing.T, on execer, query string, args ...any) (v T) {
	t.Helper()
	if err := on.QueryRow(t.Context(), query, args...).Scan(&v); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return v
}

// eventuallyFolded waits until nothing is left to fold, and then nothing may be wrong.
func eventuallyFolded(t *testing.T, on execer) {
	t.Helper()
	pgtest.Eventually(t, soon, func() bool {
		return value[int](t, on, "select count(*) from headway.pending_fact") == 0
	}, "facts are left in the queue")
	if n := value[int](t, on, "select count(*) from headway.verify()"); n > 0 {
		t.Errorf("verify() finds %d differences", n)
	}
}

// locks counts the holders of one of headway's locks in this database, in any mode or a certain one.
func locks(t *testing.T, on execer, purpose, mode string) int {
	t.Helper()
	return value[int](t, on, `
		select count(*)
		from pg_locks
		where locktype = 'advisory' and granted and objsubid = 1
			and database = (select oid from pg_database where datname = current_database())
			and (classid::bigint << 32 | objid::bigint) = headway.lock_key($1)
			and mode like $2`, purpose, mode)
}

// advisoryWaits counts the sessions that wait for an advisory lock in this database.
func advisoryWaits(t *testing.T, on execer) int {
	t.Helper()
	return value[int](t, on, `
		select count(*) from pg_stat_activity
		where wait_event_type = 'Lock' and wait_event = 'advisory' and datname = current_database()`)
}

const (
	anyMode   = "%"
	shared    = "ShareLock"
	exclusive = "ExclusiveLock"
)
