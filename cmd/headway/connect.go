package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"headway/internal/live"
	"headway/internal/sqlstate"
	"headway/worker"
)

// connect connects to the database named by DATABASE_URL, or else by libpq's variables. The caller closes it.
func connect(ctx context.Context, e env) (*pgx.Conn, error) {
	return connectTo(ctx, "DATABASE_URL", e.getenv("DATABASE_URL"))
}

// connectListen connects to where LISTEN works: HEADWAY_LISTEN_URL, or else like [connect].
func connectListen(ctx context.Context, e env) (*pgx.Conn, error) {
	if url := e.getenv("HEADWAY_LISTEN_URL"); url != "" {
		return connectTo(ctx, "HEADWAY_LISTEN_URL", url)
	}
	return connect(ctx, e)
}

// connectTo connects to the database named by a variable. The caller closes it.
func connectTo(ctx context.Context, variable, url string) (*pgx.Conn, error) {
	pool, err := worker.ParseDatabaseURL(url, "headway")
	if err != nil {
		return nil, fmt.Errorf("%s: %w", variable, err)
	}
	conn, err := pgx.ConnectConfig(ctx, pool.ConnConfig)
	if err != nil && variable == "DATABASE_URL" {
		return nil, fmt.Errorf("connect to the database (set by DATABASE_URL, or PGHOST and the other PG* variables): %w", err)
	} else if err != nil {
		return nil, fmt.Errorf("connect to the database (%s): %w", variable, err)
	}
	return conn, nil
}

// lacking names the role that a login lacks. It recommends another login: a worker's should not get more rights.
func lacking(login, what, role string) error {
	return fmt.Errorf("%s may not %s: connect as a member of %s (`create role … login in role %[3]s`)", login, what, role)
}

// refused names the role that a login lacks, if that is why something failed.
func refused(err error, login, what, role string) error {
	if errors.Is(err, live.ErrHidden) || sqlstate.Of(err) == sqlstate.InsufficientPrivilege {
		return fmt.Errorf("%w: %w", lacking(login, what, role), err)
	}
	return err
}

// disconnect closes a connection, even when ctx is done.
func disconnect(ctx context.Context, conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	_ = conn.Close(ctx) // it fails only if there is nothing left to close
}
