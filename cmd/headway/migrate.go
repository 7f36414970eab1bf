package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"headway/internal/pause"
	"headway/sql"
)

// migrate brings the schema to a version.
func migrate(ctx context.Context, e env, args []string) error {
	flags := newFlags("headway migrate [--to N [--discard]] [--no-roles] [--status]",
		"Brings the schema of the database up to date. Any number of replicas may run it at the same time.\n"+
			"It needs a direct connection, or a pooler in session mode, and a login with CREATE on the database and on its\n"+
			"schema public, and with CREATEROLE where the server does not have headway's roles yet.")
	to := flags.Int("to", int(sql.Latest()), "go up or down to version `N`; 0 removes the schema with all its data")
	discard := flags.Bool("discard", false, "allow going down to a version above 0, which drops what later migrations created, with its data")
	noRoles := flags.Bool("no-roles", false, "create no roles: if any is missing, print the SQL for somebody who may create it, and fail")
	status := flags.Bool("status", false, "change nothing; print the database's schema version, and fail unless it is the one this headway needs")
	if helped, err := parse(e, flags, args); helped || err != nil {
		return err
	}
	if *to < 0 || *to > int(sql.Latest()) {
		return &usageError{fmt.Errorf("--to %d: versions are 0 to %d", *to, sql.Latest())}
	}
	if *status && *to != int(sql.Latest()) {
		return &usageError{errors.New("--status changes nothing: leave out --to")}
	}

	conn, err := connect(ctx, e)
	if err != nil {
		return err
	}
	defer disconnect(ctx, conn)

	if *noRoles && !*status {
		if err := checkRoles(ctx, e, conn); err != nil {
			return err
		}
	}
	if !*status {
		if err := migrateTo(ctx, e, conn, int32(*to), *discard); err != nil {
			return err
		}
	}
	version, err := sql.Version(ctx, conn)
	if err != nil {
		return err
	}
	fmt.Fprintf(e.stdout, "schema version %d of %d\n", version, sql.Latest())
	if *status {
		return sql.Check(ctx, conn)
	}
	return nil
}

// migrateTo brings the schema to a version and prints each migration. It goes down to a version above 0 only if what
// later migrations created may be discarded.
func migrateTo(ctx context.Context, e env, conn *pgx.Conn, to int32, discard bool) error {
	if 0 < to && to < sql.Latest() && !discard {
		if version, err := sql.Version(ctx, conn); err == nil && to < version {
			return fmt.Errorf("the schema is at version %d: going down to %d drops what later migrations created, with all its data; "+
				"add --discard if that is intended", version, to)
		}
	}
	answered := tellWhoMigrates(ctx, e, conn)
	defer answered()
	last, times := "", 0
	return sql.Migrate(ctx, conn, to, func(_ int32, file, direction string) {
		answered() // it has the lock
		again := ""
		if times++; file != last {
			last, times = file, 1
		} else {
			again = fmt.Sprintf(", attempt %d: waiting for a lock", times)
		}
		fmt.Fprintf(e.stdout, "%-4s %s%s\n", direction, file, again)
	})
}

// quietWait is how long another migration may take before whoever waits for it is told.
const quietWait = 3 * time.Second

// tellWhoMigrates says after a while whose migration one over conn waits for, until the function that it returns is called.
// Through a pooler in transaction mode, a migration that is over may seem to go on: the lock stays with a server session.
func tellWhoMigrates(ctx context.Context, e env, conn *pgx.Conn) (answered func()) {
	ctx, cancel := context.WithCancel(ctx)
	var waiting sync.WaitGroup
	waiting.Go(func() {
		if !pause.For(ctx, quietWait) {
			return
		}
		other, err := connect(ctx, e)
		if err != nil {
			return
		}
		defer disconnect(ctx, other)
		holders, _ := findHolders(ctx, other, conn.PgConn().PID(), false, "migrate")
		for _, holder := range holders {
			fmt.Fprintln(e.stderr, "waiting for another migration: "+holder)
		}
	})
	return func() {
		cancel()
		waiting.Wait()
	}
}

// checkRoles prints what must be run by hand before a migration that creates no roles, and returns an error if there is
// anything.
func checkRoles(ctx context.Context, e env, conn *pgx.Conn) error {
	err := sql.CheckRoles(ctx, conn)
	if lacking, is := errors.AsType[*sql.RolesError](err); is {
		fmt.Fprint(e.stdout, lacking.SQL())
	}
	return err
}
