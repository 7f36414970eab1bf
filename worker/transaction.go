package worker

import (
	"github.com/jackc/pgx/v5"

	"headway/sql"
)

// durability says whether a commit waits until it is on disk.
type durability bool

const (
	durably durability = true

	// lazily is for records that the ledger can do without if the database crashes within the next half second. They
	// are on disk as soon as anything committed later is.
	lazily durability = false
)

// transaction returns a transaction that runs a query returning one value, for a session of a pool, which cannot be
// settled. It is a single round trip: a client that vanishes after sending it leaves no open transaction or locks
// behind.
//
// Whatever the default isolation level, each statement in the query sees what others have committed by then: otherwise
// concurrent claims or folds would fail one another. A timeout set for all sessions would end it at the same place each
// time; the context that it is sent with bounds it instead.
func transaction(into any, how durability, query string, args ...any) *pgx.Batch {
	batch := new(pgx.Batch)
	batch.Queue("begin isolation level read committed")
	batch.Queue(sql.Unlimited)
	if how == lazily {
		batch.Queue("set local synchronous_commit = off")
	}
	batch.Queue(query, args...).QueryRow(func(row pgx.Row) error { return row.Scan(into) })
	batch.Queue("commit")
	return batch
}
