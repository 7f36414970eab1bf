package main

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// connect connects to the database that DATABASE_URL names, or else libpq's variables. The caller closes it.
func connect(ctx context.Context, e env) (*pgx.Conn, error) {
	config, err := pgx.ParseConfig(e.getenv("DATABASE_URL"))
	if err != nil {
		return nil, fmt.Errorf("DATABASE_URL: %w", err)
	}
	if config.RuntimeParams["application_name"] == "" {
		config.RuntimeParams["application_name"] = "headway"
	}
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("connect to the database (DATABASE_URL, or PGHOST and its relatives, say which): %w", err)
	}
	return conn, nil
}
