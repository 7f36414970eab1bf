// Package worker is headway's one process: it folds what happened into progress, sends digests, reports that it is
// alive, and serves health, metrics, the unsubscribe page and, for browsers, the gateway and a ready-made page.
//
// This package decides when something is done. What is done is a SQL function that a person can call from psql just as
// well, select headway.fold() above all; getting it right is the database's business, and nothing here keeps state that
// a crash could lose.
//
// # The doorbell
//
// A transaction that changes something inserts facts into the queue headway.pending_fact. The worker is to fold them as
// soon as they are committed. The obvious way is a NOTIFY in every such transaction, but NOTIFY takes a lock that is
// held until the commit is on disk, so no two commits could share an fsync. So a writer rings only if the worker is
// asleep, and an advisory lock, KEY, says whether it is:
//
//   - A writer, after inserting a fact, tries to take KEY shared for the rest of its transaction. If it gets it,
//     it stays silent. If not, it rings: NOTIFY headway_doorbell, which is delivered when and if it commits.
//   - The worker holds KEY exclusively while it sleeps and at no other time.
//
// Nobody ever waits for KEY: both sides only try. The worker's loop, with L the listening connection:
//
//	┌─► forget that it rang, then FOLD what there is
//	│   TRY KEY ── refused: a silent writer has not ended yet; pause 1 to 20 ms,
//	│    │         or for as long as the fold took, up to a second ───────────────────────────────► again
//	│    │ granted
//	│   LOOK whether the queue is empty ── it is not: release KEY ────────────────────────────────► again
//	│    │ empty
//	│   SLEEP until the bell rings on L
//	└── WAKE: release KEY
//
// # Why no fact waits for a timer
//
// Let transaction T insert a fact and commit, and let c be the moment at which others begin to see it. Suppose the
// worker goes to sleep: it is granted KEY at k, the snapshot with which it finds the queue empty is taken at l, after
// k, and it waits from then on. There are two kinds of T.
//
// The silent writer got KEY shared at some moment s and gives it back only after c, because PostgreSQL releases a
// transaction's locks after it has made it visible. Shared and exclusive exclude each other, so either T gave KEY back
// before k, thus c < k < l and the look would have found the fact: the worker folds it instead of going to sleep. Or s
// is later than the moment when the worker released KEY, so the worker is awake, and it cannot go to sleep before it
// is granted KEY again, which is after T gave it back, so that look finds the fact. In between, a silent writer cannot
// get KEY at all.
//
// This also covers the writer who commits after the worker has looked: while T is silent and open, the worker is
// refused and looks again. It never sleeps on a silent writer.
//
// The ringing writer was refused KEY, and its NOTIFY is delivered to L after c. If c < l, the look finds the fact. If
// not, the notification reaches L after the look. It does not matter whether the worker was asleep in between, or woke
// for another reason and went to sleep again: what is received on L is remembered until the worker next forgets, just
// before a fold, whose snapshot is then later than the notification and hence than c. And while it remembers something,
// the worker does not sleep.
//
// A transaction may do both, one statement silent, another ringing; either alone is enough. One that rolls back, even
// to a savepoint, takes back its fact, its lock and its notification together. One that is prepared keeps its lock
// until COMMIT PREPARED.
//
// docs/models contains a model of this, and a checker explores every interleaving of it.
//
// # When the connection is lost
//
// KEY, the subscription and leadership are all held by one dedicated connection, on which the leader also folds.
// Losing it loses all of them at once. The server then releases KEY, so writers stay silent: nobody has to be told,
// because whoever leads next subscribes first and folds then. A writer that rang in between either committed before
// that first fold, which finds its fact, or after the subscription, which hears it.
//
// # What is left for a timer
//
// The safety poll is for when the argument's assumptions fail: the setting notify_payload has just been switched to
// off, the server's notification queue is at least half full, so that writers no longer ring, or the subscription is
// dead and nobody noticed. The worker sees the first two for itself when it looks, and then polls quickly instead of
// sleeping. For the third, it now and then sends itself a notification over DATABASE_URL, and reconnects if that does
// not come back.
//
// If none ever comes back, as through a pooler in transaction mode, the worker logs a warning and only polls. It never
// takes KEY then: writers find it free and stay silent. Nor does it try to lead, because a session's lock means nothing
// there; headway.fold() itself lets only one fold run at a time, so any number of workers may poll.
//
// It also polls while the listening address is unreachable for longer than a moment but DATABASE_URL is not.
//
// # Leadership
//
// Leadership decides who listens, not who may fold. A standby folds too, every poll interval, so a leader that is
// stopped, or whose network is gone while the server still believes in it, delays facts but does not hold them up
// forever.
package worker
