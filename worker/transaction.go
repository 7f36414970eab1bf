package worker

import "github.com/jackc/pgx/v5"

// durability says whether a transaction waits until it is on disk.
type durability bool

const (
	durably durability = true

	// lazily is for what the ledger can do without where the database crashes within the next half a second, and which
	// is on disk as soon as anything else is that came later.
	lazily durability = false
)

// sqlUnlimited lets a transaction take its time, whatever timeout somebody set for all sessions.
const sqlUnlimited = `
select set_config('statement_timeout', '0', true),
  case when current_setting('server_version_num')::integer >= 170000 then set_config('transaction_timeout', '0', true) end`

// transaction returns one that runs a query that returns one value, for a session of a pool, which cannot be settled. It is
// one round trip: whoever vanishes after sending it leaves no transaction open, nor the locks in it.
//
// Whatever the default isolation is, each statement that the query consists of sees what others have committed by then:
// several who claim or fold at a time would fail each other otherwise. A timeout that somebody set for all sessions would
// end it at the same place each time; what bounds it is the context that it is sent with.
func transaction(into any, how durability, query string, args ...any) *pgx.Batch {
	batch := new(pgx.Batch)
	batch.Queue("begin isolation level read committed")
	batch.Queue(sqlUnlimited)
	if how == lazily {
		batch.Queue("set local synchronous_commit = off")
	}
	batch.Queue(query, args...).QueryRow(func(row pgx.Row) error { return row.Scan(into) })
	batch.Queue("commit")
	return batch
}
