package worker

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"headway/internal/listen"
	"headway/internal/sqlstate"
)

const (
	// queryTimeout bounds a query that has no work to do; after that, the peer is considered gone.
	queryTimeout = 5 * time.Second

	// foldTimeout bounds a fold. Recounting a very large project takes a while.
	foldTimeout = 5 * time.Minute

	// foldGrace is how long the fold in hand may go on after the worker is told to stop.
	foldGrace = 15 * time.Second
)

// session is the dedicated connection, which holds leadership, the subscription and, during sleep, KEY. It is used by
// one goroutine.
type session struct {
	conn  *pgx.Conn
	probe string // the channel on which it hears itself

	// What it has heard; set during any call on conn that reads from the server.
	rung   bool      // the doorbell, since it was last forgotten
	echoed time.Time // when a probe last came back
}

// open opens a session.
func (w *Worker) open(ctx context.Context) (*session, error) {
	s := &session{probe: "headway_probe_" + w.id[:8]}
	var err error
	s.conn, err = w.connect(ctx, func(_ *pgconn.PgConn, n *pgconn.Notification) {
		switch n.Channel {
		case "headway_doorbell":
			s.rung = true
		case s.probe:
			s.echoed = time.Now()
		}
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// connect connects to where LISTEN works, or should. hear receives notifications; if nil, they wait in the connection
// for [pgx.Conn.WaitForNotification].
func (w *Worker) connect(ctx context.Context, hear pgconn.NotificationHandler) (*pgx.Conn, error) {
	pool, err := ParseDatabaseURL(cmp.Or(w.Config.ListenURL, w.Config.DatabaseURL), "headway worker")
	if err != nil {
		return nil, fmt.Errorf("listening connection: %w", err)
	}
	config := pool.ConnConfig
	config.StatementCacheCapacity = max(config.StatementCacheCapacity, 16) // the session prepares its statements, whatever the pool does
	config.OnNotification = hear
	closeReadOnly(&config.Config)
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil && w.Config.ListenURL != "" {
		return nil, fmt.Errorf("listening connection (HEADWAY_LISTEN_URL): %w", err)
	} else if err != nil {
		return nil, fmt.Errorf("listening connection: %w", err)
	}
	return conn, nil
}

// sqlSettle prepares a session to be idle for long, to recount a large project, and to hold locks: the server must
// notice soon when the worker's machine is gone, or nobody else could lead. A timeout set for all sessions would end a
// fold at the same place each time; foldTimeout bounds it instead. Each statement of the doorbell needs its own
// snapshot, whatever the default isolation level. Unqualified names are PostgreSQL's.
const sqlSettle = `
select set_config(s.name, '0', false)
from pg_settings s
where s.name in ('idle_session_timeout', 'statement_timeout', 'transaction_timeout'); -- the last one from 17 on
set default_transaction_isolation = 'read committed';
set search_path = pg_catalog, pg_temp;
set lock_timeout = '5s';
set tcp_keepalives_idle = 5;
set tcp_keepalives_interval = 3;
set tcp_keepalives_count = 3;
set tcp_user_timeout = 15000`

// settle prepares a connection that is known to have a server session of its own.
func (s *session) settle(ctx context.Context) error {
	ctx, cancel := quick(ctx)
	defer cancel()
	if err := s.conn.PgConn().Exec(ctx, sqlSettle).Close(); err != nil {
		return fmt.Errorf("prepare the listening connection: %w", err)
	}
	return nil
}

// subscribe listens to a channel. Everything committed after it returns is heard.
func (s *session) subscribe(ctx context.Context, channel string) error {
	ctx, cancel := quick(ctx)
	defer cancel()
	return listen.To(ctx, s.conn, channel)
}

// QueryRow runs a query that returns one row, as a prepared statement, which a session that was probed reliably keeps.
func (s *session) QueryRow(ctx context.Context, query string, args ...any) pgx.Row {
	return s.conn.QueryRow(ctx, query, append([]any{pgx.QueryExecModeCacheStatement}, args...)...)
}

// fold folds one batch and returns how many facts it consumed.
func (s *session) fold(ctx context.Context, maxFacts int) (folded int, err error) {
	err = s.QueryRow(ctx, sqlFold, maxFacts).Scan(&folded)
	return folded, err
}

// ask runs a query that has no work to do.
func (s *session) ask(ctx context.Context, query string, into ...any) error {
	ctx, cancel := quick(ctx)
	defer cancel()
	return s.QueryRow(ctx, query).Scan(into...)
}

// hear waits until something is heard, the deadline has passed, or ctx is done; only a broken connection is an error.
func (s *session) hear(ctx context.Context, deadline time.Time) error {
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	if _, err := s.conn.WaitForNotification(ctx); err != nil && s.conn.IsClosed() {
		return fmt.Errorf("wait for a notification: %w", err)
	}
	return nil
}

// ping checks that the peer is still there.
func (s *session) ping(ctx context.Context) error {
	ctx, cancel := quick(ctx)
	defer cancel()
	if err := s.conn.Ping(ctx); err != nil {
		return fmt.Errorf("ping: %w", err)
	}
	return nil
}

// lost reports whether an error ends the connection, rather than just one query.
func (s *session) lost(err error) bool {
	return s.conn.IsClosed() || sqlstate.Of(err) == ""
}

// close ends the server session and releases everything it holds.
func (s *session) close() {
	ctx, cancel := context.WithTimeout(context.Background(), queryTimeout)
	defer cancel()
	_ = s.conn.Close(ctx) // it fails only if there is nothing left to close
}

// quick is for a query that takes no time: the end of ctx does not interrupt it, since that would cost the connection.
func quick(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), queryTimeout)
}

// linger returns a context that ends after the timeout, or a grace period after its parent.
func linger(parent context.Context, timeout, grace time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(parent), timeout)
	stop := context.AfterFunc(parent, func() {
		timer := time.AfterFunc(grace, cancel)
		context.AfterFunc(ctx, func() { timer.Stop() })
	})
	return ctx, func() { stop(); cancel() }
}
