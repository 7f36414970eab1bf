package sql

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// The oldest and newest major versions of PostgreSQL that headway is tested on, with those in between. It refuses older
// ones, which lack security_invoker views, and trusts newer ones to work.
const (
	OldestServer = 15
	NewestServer = 18
)

// ServerError says that a server is too old for headway.
type ServerError struct {
	Major, Minor int
}

// Error implements error.
func (e *ServerError) Error() string {
	return fmt.Sprintf("PostgreSQL %d.%d is too old: headway needs %d or newer", e.Major, e.Minor, OldestServer)
}

// CheckServer returns the version of the server, and a [*ServerError] if it is too old.
func CheckServer(ctx context.Context, conn *pgx.Conn) (major, minor int, err error) {
	var number int
	if err := conn.QueryRow(ctx, "select current_setting('server_version_num')::integer").Scan(&number); err != nil {
		return 0, 0, fmt.Errorf("ask the server for its version: %w", err)
	}
	major, minor = number/10000, number%10000
	if major < OldestServer {
		err = &ServerError{Major: major, Minor: minor}
	}
	return major, minor, err
}
