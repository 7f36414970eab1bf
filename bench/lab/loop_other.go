//go:build !linux

package lab

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// openStatement opens connections on which a statement completes a task: $1, for a person: $2.
func openStatement(ctx context.Context, db *Database, n int, statement string) (driver, error) {
	return openGoroutines(ctx, db, n, prepare(statement))
}

// prepare prepares a statement on each connection.
func prepare(statement string) func(context.Context, []*pgx.Conn) ([]Complete, error) {
	return func(ctx context.Context, conns []*pgx.Conn) ([]Complete, error) {
		writers := make([]Complete, len(conns))
		for i, conn := range conns {
			if _, err := conn.Prepare(ctx, statementName, statement); err != nil {
				return nil, fmt.Errorf("prepare %q: %w", statement, err)
			}
			writers[i] = func(ctx context.Context, task, user int64) error {
				_, err := conn.Exec(ctx, statementName, task, user)
				return err
			}
		}
		return writers, nil
	}
}
