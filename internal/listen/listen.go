// Package listen holds what everything that LISTENs has in common: waiting for a notification, and finding out whether
// notifications arrive at all.
//
// They do not if a pooler in transaction mode is in between, which accepts LISTEN but passes nothing on, or if the
// connection leads to a primary that was replaced and does not know it. So a listener also listens to a channel that
// only it knows, its probe, and is notified there over another connection. Until it hears that, no query must run on
// it: through a pooler it could, by luck, reach the server connection that was just notified.
package listen

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"headway/internal/sqlstate"
)

// Events is the channel on which everything is notified.
const Events = "headway_events"

// timeout bounds a statement that has no work to do; after that, the peer is considered gone.
const timeout = 5 * time.Second

// ErrDeaf says that notifications do not arrive.
var ErrDeaf = errors.New("a test notification did not come back")

// ProbeChannel makes up the name of a channel to probe a listener with.
func ProbeChannel() string { return fmt.Sprintf("headway_probe_%016x", rand.Uint64()) }

// To subscribes a connection to a channel. It hears everything that is committed after this returns.
func To(ctx context.Context, conn *pgx.Conn, channel string) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if _, err := conn.Exec(ctx, "listen "+pgx.Identifier{channel}.Sanitize()); err != nil {
		return fmt.Errorf("listen %s: %w", channel, err)
	}
	return nil
}

// Keep keeps the server from ending a connection that hears nothing for long, and from waiting for one that takes nothing
// for long, as that of a program that was suspended: meanwhile it would keep whatever anybody notifies. The connection
// must be known to have a server session of its own.
func Keep(ctx context.Context, conn *pgx.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	_, err := conn.PgConn().Exec(ctx, "set idle_session_timeout = 0; set tcp_user_timeout = '15s'").ReadAll()
	if err != nil {
		return fmt.Errorf("keep the listening connection: %w", err)
	}
	return nil
}

// Next returns the next notification; nil if none arrives before the deadline.
func Next(ctx context.Context, conn *pgx.Conn, deadline time.Time) (*pgconn.Notification, error) {
	waiting, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	notification, err := conn.WaitForNotification(waiting)
	switch {
	case err == nil:
		return notification, nil
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case conn.IsClosed():
		return nil, fmt.Errorf("wait for a notification: %w", err)
	}
	return nil, nil
}

// Hears returns nil if notifications sent through sender arrive at listener, and [ErrDeaf] if they do not within the
// timeout, as behind a pooler in transaction mode, or cannot, on a standby.
func Hears(ctx context.Context, listener, sender *pgx.Conn, timeout time.Duration) error {
	channel := ProbeChannel()
	err := To(ctx, listener, channel)
	if sqlstate.Of(err) == sqlstate.ReadOnlySQLTransaction {
		return fmt.Errorf("%w: %w", ErrDeaf, err)
	} else if err != nil {
		return err
	}
	if err := send(ctx, sender, channel); err != nil {
		return fmt.Errorf("notify: %w", err)
	}
	deadline := time.Now().Add(timeout)
	for time.Now().Before(deadline) {
		notification, err := Next(ctx, listener, deadline)
		if err != nil {
			return err
		}
		if notification != nil && notification.Channel == channel {
			return nil
		}
	}
	return ErrDeaf
}

// Notify notifies a channel over a new connection, made like those of the pool: these may lead to a primary that was
// replaced and does not know it.
func Notify(ctx context.Context, pool *pgxpool.Pool, channel string) error {
	config := pool.Config()
	if config.BeforeConnect != nil {
		if err := config.BeforeConnect(ctx, config.ConnConfig); err != nil {
			return err
		}
	}
	conn, err := pgx.ConnectConfig(ctx, config.ConnConfig)
	if err != nil {
		return err
	}
	return errors.Join(send(ctx, conn, channel), conn.Close(ctx))
}

// send notifies a channel. It does not wait for a synchronous standby, and waits no more than a few seconds for a session
// that does so while it commits a notification, and meanwhile holds the lock that every NOTIFY takes.
func send(ctx context.Context, conn *pgx.Conn, channel string) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	_, err := conn.PgConn().Exec(ctx, // in one transaction
		"set local synchronous_commit = off; set local lock_timeout = '3s'; notify "+pgx.Identifier{channel}.Sanitize()).ReadAll()
	return err
}
