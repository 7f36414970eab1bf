package worker_test

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"headway/internal/pgtest"
	"headway/internal/postgres"
	"headway/worker"
)

// A PostgreSQL of its own, which the test may stop.
func ownCluster(t *testing.T) (*postgres.Cluster, string) {
	t.Helper()
	cluster, err := postgres.Start(t.Context(), postgres.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cluster.Stop(); err != nil {
			t.Error(err)
		}
	})
	if err := pgtest.Install(t.Context(), cluster, "app"); err != nil {
		t.Fatal(err)
	}
	url := cluster.URL("app")
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	do(t, conn, seed)
	return cluster, url
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

// traffic completes and reopens tasks until the test says stop, whatever becomes of the server.
type traffic struct {
	committed atomic.Int64
	stop      func()
}

func drive(t *testing.T, pool *pgxpool.Pool) *traffic {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	tr := &traffic{}
	var group sync.WaitGroup
	for i := range 3 {
		group.Go(func() {
			for n := i; ctx.Err() == nil; n += 3 {
				task := 1 + n%1000
				statement := complete(task)
				if n/1000%2 == 1 {
					statement = fmt.Sprintf("select headway.reopen_task(%d, 1)", task)
				}
				if _, err := pool.Exec(ctx, statement); err == nil {
					tr.committed.Add(1)
				}
			}
		})
	}
	tr.stop = sync.OnceFunc(func() { cancel(); group.Wait() })
	t.Cleanup(tr.stop)
	return tr
}

// flow waits until some more was committed.
func (tr *traffic) flow(t *testing.T) {
	t.Helper()
	target := tr.committed.Load() + 50
	pgtest.Eventually(t, soon, func() bool { return tr.committed.Load() >= target }, "nothing is committed any more")
}

func TestTheWorkerSurvivesARestartOfPostgres(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"fast", "immediate"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			cluster, url := ownCluster(t)
			pool := connectPool(t, url)
			w := start(t, config(t, url))
			w.await(worker.Leading, worker.Asleep)

			traffic := drive(t, pool)
			for range 3 {
				traffic.flow(t)
				w.forget()
				if err := cluster.Restart(t.Context(), mode); err != nil {
					t.Fatal(err)
				}
				w.await(worker.Lost, worker.Leading, worker.Folded)
			}
			traffic.flow(t)
			traffic.stop()
			eventuallyFolded(t, pool)

			// And asleep.
			w.await(worker.Asleep)
			w.forget()
			if err := cluster.Restart(t.Context(), mode); err != nil {
				t.Fatal(err)
			}
			w.await(worker.Lost, worker.Leading, worker.Asleep)
			pool.Reset()
			if _, err := pool.Exec(t.Context(), "select headway.reopen_task(1, 1), headway.complete_task(1, 1)"); err != nil {
				t.Fatal(err)
			}
			w.await(worker.Rung, worker.Folded)
			eventuallyFolded(t, pool)
		})
	}
}

const terminateLeader = `
	select pg_terminate_backend(pid)
	from pg_locks
	where locktype = 'advisory' and granted and objsubid = 1
		and database = (select oid from pg_database where datname = current_database())
		and (classid::bigint << 32 | objid::bigint) = headway.lock_key('leader')`

func TestTheWorkerSurvivesTheEndOfItsSession(t *testing.T) {
	t.Parallel()
	d := setup(t)
	pool := d.db.Pool(t)

	for range 3 { // asleep
		if !value[bool](t, pool, terminateLeader) {
			t.Fatal("nobody leads")
		}
		d.await(worker.Lost, worker.Leading, worker.Asleep)
	}
	traffic := drive(t, pool)
	for range 5 { // at work
		traffic.flow(t)
		d.forget()
		if !value[bool](t, pool, terminateLeader) {
			t.Fatal("nobody leads")
		}
		d.await(worker.Lost, worker.Leading, worker.Folded)
	}
	traffic.stop()
	d.finish()
}

func TestAStandbyTakesOver(t *testing.T) {
	t.Parallel()
	first := setup(t)
	second := start(t, first.configured)
	second.await(worker.StandingBy)

	first.stop()
	second.await(worker.Leading, worker.Asleep)
	do(t, first.writer, complete(1))
	second.await(worker.Rung, worker.Folded)
	first.finish()
}

func TestAStandbyFoldsWhereTheLeaderIsStuck(t *testing.T) {
	t.Parallel()
	first := setup(t)
	second := start(t, config(t, first.db.URL, "HEADWAY_POLL_INTERVAL", "50ms"))
	second.await(worker.StandingBy)

	h := first.holdAt(worker.Rung)
	do(t, first.writer, complete(1))
	await(t, "the leader to wake", h.reached)
	second.await(worker.Folded)
	eventuallyFolded(t, first.bystander)
	h.release()
	first.finish()
}

func TestAFoldThatMeetsAnotherTransactionIsTriedAgain(t *testing.T) {
	t.Parallel()
	d := setup(t)

	// Whoever folds in an open transaction keeps others from folding until they give up waiting.
	do(t, d.writer, "begin; select headway.fold()")
	do(t, d.bystander, complete(1))
	d.await(worker.Rung)
	pgtest.Eventually(t, soon, func() bool { return metric(t, d.Worker, "headway_fold_errors_total") > 0 }, "no fold has failed")
	do(t, d.writer, "rollback")
	d.await(worker.Folded)
	d.finish()
}

// proxy passes connections on to a server until it is told otherwise.
type proxy struct {
	listener net.Listener
	server   string
	group    sync.WaitGroup

	mu     sync.Mutex
	links  []*link
	closed bool
}

// link is one connection through a proxy. A silent one takes everything and passes nothing on, as a half-open
// connection does.
type link struct {
	client, server net.Conn
	silent         atomic.Bool
}

func newProxy(t *testing.T, server string) *proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: listener, server: server}
	p.group.Go(p.accept)
	t.Cleanup(func() { p.shut(); p.group.Wait() })
	return p
}

func (p *proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.server)
		if err != nil {
			client.Close()
			continue
		}
		l := &link{client: client, server: server}
		p.mu.Lock()
		if p.links = append(p.links, l); p.closed {
			l.close()
		}
		p.mu.Unlock()
		p.group.Go(func() { l.pass(l.client, l.server) })
		p.group.Go(func() { l.pass(l.server, l.client) })
	}
}

func (l *link) pass(from, to net.Conn) {
	buffer := make([]byte, 4096)
	for {
		n, err := from.Read(buffer)
		switch {
		case l.silent.Load():
			if err != nil {
				return
			}
		case err != nil:
			l.close()
			return
		default:
			_, _ = to.Write(buffer[:n]) // the next read tells
		}
	}
}

func (l *link) close() { l.client.Close(); l.server.Close() }

// silence makes the connections that there are silent; new ones are not.
func (p *proxy) silence() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range p.links {
		l.silent.Store(true)
	}
}

// shut closes all connections and takes no new ones.
func (p *proxy) shut() {
	p.listener.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, l := range p.links {
		l.close()
	}
}

// proxied is a worker that listens through a proxy.
func proxied(t *testing.T, change func(*worker.Worker)) (*running, *proxy, *pgx.Conn) {
	t.Helper()
	db := seeded(t)
	listen, err := url.Parse(db.URL)
	if err != nil {
		t.Fatal(err)
	}
	proxy := newProxy(t, listen.Host)
	listen.Host = proxy.listener.Addr().String()
	w := start(t, config(t, db.URL, "HEADWAY_LISTEN_URL", listen.String()), change)
	w.await(worker.Leading, worker.Asleep)
	return w, proxy, db.Conn(t)
}

func TestASilentNetworkIsNoticed(t *testing.T) {
	t.Parallel()
	w, proxy, conn := proxied(t, func(w *worker.Worker) { w.PingInterval = 200 * time.Millisecond })

	proxy.silence()
	do(t, conn, complete(1))
	began := time.Now()
	w.await(worker.Lost)
	if took := time.Since(began); took > 15*time.Second {
		t.Errorf("noticed after %v", took)
	}
	// The server still believes in the old session, which the proxy keeps open.
	w.await(worker.StandingBy, worker.Folded)
	eventuallyFolded(t, conn)
	if !value[bool](t, conn, terminateLeader) {
		t.Error("nobody leads")
	}
	w.await(worker.Leading, worker.Asleep)
	do(t, conn, complete(2))
	w.await(worker.Rung, worker.Folded)
	eventuallyFolded(t, conn)
}

func TestWhereOnlyTheListeningAddressIsDownTheWorkerPolls(t *testing.T) {
	t.Parallel()
	w, proxy, conn := proxied(t, func(*worker.Worker) {})

	proxy.shut()
	do(t, conn, complete(1))
	w.await(worker.Lost, worker.Polled, worker.Folded)
	eventuallyFolded(t, conn)
}
