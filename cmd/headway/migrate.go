package main

import (
	"context"
	"fmt"

	"headway/sql"
)

// migrate brings the schema to a version.
func migrate(ctx context.Context, e env, args []string) error {
	flags := newFlags("headway migrate [--to N] [--status]",
		"Brings the schema of the database up to date. Any number of replicas may run it at the same moment.\n"+
			"It needs a direct connection, or a pooler in session mode.")
	to := flags.Int("to", int(sql.Latest()), "go up or down to version `N`; 0 removes the schema with all its data")
	status := flags.Bool("status", false, "change nothing, say which version the database has; fail unless it is this headway's")
	if helped, err := parse(e, flags, args); helped || err != nil {
		return err
	}
	if *to < 0 || *to > int(sql.Latest()) {
		return &usageError{fmt.Errorf("--to %d: versions are 0 to %d", *to, sql.Latest())}
	}

	conn, err := connect(ctx, e)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))

	if !*status {
		err := sql.Migrate(ctx, conn, int32(*to), func(_ int32, file, direction string) {
			fmt.Fprintf(e.stdout, "%-4s %s\n", direction, file)
		})
		if err != nil {
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
