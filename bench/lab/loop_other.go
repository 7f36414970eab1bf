//go:build !linux

package lab

import "context"

// openStatement opens connections on which a statement completes a task: $1, for a person: $2.
func openStatement(ctx context.Context, db *Database, n int, statement string) (driver, error) {
	return openGoroutines(ctx, db, n, prepare(statement))
}
