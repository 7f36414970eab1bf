package sql

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// Beginner is a connection, or a pool of connections.
type Beginner interface {
	Begin(ctx context.Context) (pgx.Tx, error)
}

// Unlimited lifts statement_timeout and transaction_timeout for the rest of a transaction, whatever its search_path.
const Unlimited = `
select pg_catalog.set_config('statement_timeout', '0', true),
  case
    when pg_catalog.current_setting('server_version_num')::pg_catalog.int4 operator(pg_catalog.>=) 170000
      then pg_catalog.set_config('transaction_timeout', '0', true)
  end`

// InCatalog calls do in a transaction in which unqualified names are PostgreSQL's. Otherwise, an operator or a function
// that somebody created in a schema of the search_path, for exactly the types in use, would be called in place of
// PostgreSQL's, with the caller's rights. Names are quoted only where they must be, nothing is compiled, and neither
// statement_timeout nor transaction_timeout applies: ctx bounds it.
func InCatalog(ctx context.Context, db Beginner, do func(pgx.Tx) error) error {
	return pgx.BeginFunc(ctx, db, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "set local search_path = pg_catalog, pg_temp; set local quote_all_identifiers = off; set local jit = off;"+Unlimited); err != nil {
			return err
		}
		return do(tx)
	})
}
