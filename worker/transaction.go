package worker

import (
	"github.com/jackc/pgx/v5"

	"headway/sql"
)

// manner is how a transaction is run: a query that changes settings for it.
type manner string

const (
	// durably: its commit waits until it is on disk.
	durably manner = sql.Unlimited

	// lazily is for records that the ledger can do without if the database crashes within the next half second. They
	// are on disk as soon as anything committed later is.
	lazily = durably + ", pg_catalog.set_config('synchronous_commit', 'off', true)"

	// claiming is lazily, and the server gives up before the lease that begins with the transaction ends, so that
	// headway.claim_digest can postpone a digest that takes too long.
	claiming = lazily + ", pg_catalog.set_config('statement_timeout', '4min', true)"
)

// transaction returns a transaction that runs a query returning one value, for a session of a pool, which cannot be
// settled. It is a single round trip: a client that vanishes after sending it leaves no open transaction or locks
// behind.
//
// Whatever the default isolation level, each statement in the query sees what others have committed by then: otherwise
// concurrent claims or folds would fail one another. A timeout set for all sessions would end it at the same place each
// time; the context that it is sent with, or its manner, bounds it instead.
func transaction(into any, how manner, query string, args ...any) *pgx.Batch {
	batch := new(pgx.Batch)
	batch.Queue("begin isolation level read committed")
	batch.Queue(string(how))
	batch.Queue(query, args...).QueryRow(func(row pgx.Row) error { return row.Scan(into) })
	batch.Queue("commit")
	return batch
}
