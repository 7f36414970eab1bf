package listen

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"headway/internal/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// soon bounds what is a matter of milliseconds, on a machine that is busy with other tests.
const soon = 30 * time.Second

func TestNextWaitsForANotificationOrTheDeadline(t *testing.T) {
	t.Parallel()
	db := pgtest.Empty(t)
	var open atomic.Int32
	listener, pool := db.Conn(t), db.Pool(t, func(config *pgx.ConnConfig) {
		dial := config.DialFunc
		config.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := dial(ctx, network, addr)
			open.Add(1)
			return &counted{Conn: conn, open: &open}, err
		}
	})
	if err := To(t.Context(), listener, `a "name"`); err != nil {
		t.Fatal(err)
	}
	if n, err := Next(t.Context(), listener, time.Now()); n != nil || err != nil {
		t.Errorf("where nothing was notified: %v, %v", n, err)
	}
	for range 2 {
		if err := Notify(t.Context(), pool, `a "name"`); err != nil {
			t.Fatal(err)
		}
		if n, err := Next(t.Context(), listener, time.Now().Add(soon)); err != nil || n == nil || n.Channel != `a "name"` {
			t.Errorf("where something was notified: %v, %v", n, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if n, err := Next(ctx, listener, time.Now().Add(soon)); n != nil || !errors.Is(err, context.Canceled) {
		t.Errorf("told to stop: %v, %v", n, err)
	}
	if n := open.Load(); n != 0 {
		t.Errorf("%d connections are left open", n)
	}
}

// counted is a connection that counts for as long as it is open.
type counted struct {
	net.Conn
	open *atomic.Int32
	once sync.Once
}

// Close implements [net.Conn].
func (c *counted) Close() error {
	c.once.Do(func() { c.open.Add(-1) })
	return c.Conn.Close()
}

// TestOnlyTheProbeIsHeard has somebody else notify a channel that is listened to, over and over.
func TestOnlyTheProbeIsHeard(t *testing.T) {
	t.Parallel()
	db := pgtest.Empty(t)
	listener, sender := db.Conn(t), db.Conn(t)
	if err := To(t.Context(), listener, "other"); err != nil {
		t.Fatal(err)
	}
	pgtest.Execute(t, sender, `select pg_notify('other', n::text) from generate_series(1, 3) n`)
	if err := Hears(t.Context(), listener, sender, soon); err != nil {
		t.Error(err)
	}
	pgtest.Execute(t, sender, `select pg_notify('other', 'again')`)
	elsewhere := pgtest.Empty(t).Conn(t) // a database does not hear another
	if err := Hears(t.Context(), listener, elsewhere, 100*time.Millisecond); !errors.Is(err, ErrDeaf) {
		t.Errorf("from another database: %v", err)
	}
}

// TestALostConnectionIsNotDeaf has the server end the listener's session while it waits for its probe.
func TestALostConnectionIsNotDeaf(t *testing.T) {
	t.Parallel()
	db := pgtest.Empty(t)
	listener, admin := db.Conn(t), db.Conn(t)
	elsewhere := pgtest.Empty(t).Conn(t)
	ended := make(chan error, 1)
	go func() { ended <- Hears(t.Context(), listener, elsewhere, soon) }()
	pgtest.Eventually(t, soon, func() bool {
		var gone bool
		err := admin.QueryRow(t.Context(), `
select coalesce(bool_or(pg_terminate_backend(pid)), false) from pg_stat_activity
where datname = current_database() and state = 'idle' and query like 'listen %'`).Scan(&gone)
		if err != nil {
			t.Fatal(err)
		}
		return gone
	}, "it does not listen")
	if err := <-ended; errors.Is(err, ErrDeaf) || !errors.As(err, new(*pgconn.PgError)) {
		t.Errorf("it is said to be %v", err)
	}
}

// TestNobodyWaitsForAServerThatSaysNothing stops the process at the other end.
func TestNobodyWaitsForAServerThatSaysNothing(t *testing.T) {
	t.Parallel()
	db := pgtest.Empty(t)
	for name, do := range map[string]func(silent, other *pgx.Conn) error{
		"subscribing": func(silent, _ *pgx.Conn) error { return To(t.Context(), silent, "other") },
		"keeping":     func(silent, _ *pgx.Conn) error { return Keep(t.Context(), silent) },
		"sending":     func(silent, other *pgx.Conn) error { return Hears(t.Context(), other, silent, soon) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			silent, other := db.Conn(t), db.Conn(t)
			pid := int(silent.PgConn().PID())
			if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGCONT) }) // or the database cannot be dropped
			done := make(chan error, 1)
			go func() { done <- do(silent, other) }()
			select {
			case err := <-done:
				if !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("%v", err)
				}
			case <-time.After(soon):
				t.Errorf("it still waits after %v", soon)
			}
		})
	}
}

// TestANotificationIsSentAsThePoolConnects has what precedes each of the pool's connections fail.
func TestANotificationIsSentAsThePoolConnects(t *testing.T) {
	t.Parallel()
	config, err := pgxpool.ParseConfig(pgtest.Empty(t).URL)
	if err != nil {
		t.Fatal(err)
	}
	gone := errors.New("the password file is gone")
	config.BeforeConnect = func(context.Context, *pgx.ConnConfig) error { return gone }
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	if err := Notify(t.Context(), pool, "any"); !errors.Is(err, gone) {
		t.Errorf("%v", err)
	}
}
