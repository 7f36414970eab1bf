// The catalogue of faults: what breaks systems of this kind, what headway promises then, and the test that holds it to
// that. The tests in this file, and those in fault_linux_test.go, are each named for a fault; their comments say what is
// promised, how the fault is provoked, and what is left afterwards. What is always left, unless they say otherwise:
// every fact is folded, headway.verify() finds nothing, no transaction of an application has failed for headway, and the
// same worker works as before. TestTheCatalogueIsTrue finds names in this table that are not there, and tests of this
// file that are not in it.
//
// LISTEN and NOTIFY
//
//	 1  a half-open connection
//	    worker/fault_test.go: TestAHalfOpenConnection, TestAHalfOpenConnectionInTheMiddleOfAFold, TestTheListeningAddressIsDown
//	    worker/fault_test.go: TestAHalfOpenConnectionToAPooler
//	    worker/poll_test.go: TestWhoVanishesWhileItPollsKeepsNobodyWaiting, TestAListeningAddressThatSaysNothing
//	    worker/schedule_test.go: TestMailGoesOnAfterASilence
//	 2  a subscription that is gone though the connection lives
//	    worker/doorbell_test.go: TestALostSubscriptionIsNoticedAndMadeAnew, TestTheSafetyPollFindsWhatWasNotHeard
//	 3  a pooler that takes LISTEN and delivers nothing
//	    worker/pgbouncer_test.go: TestThroughAPoolerAloneEveryWorkerPolls, TestThroughAPoolerWithAListeningConnection
//	    worker/gateway/trouble_test.go: TestWhereNothingArrivesTheGatewayLooks
//	 4  a failover, with the old primary still there; a server that only reads
//	    worker/fault_test.go: TestAFailover, TestADatabaseThatOnlyReads
//	    worker/gateway/trouble_test.go: TestAServerThatWasReplacedAndLivesOnIsLeft, TestWhatAFailoverHasLostIsForgotten
//	 5  a full notification queue
//	    worker/fault_test.go: TestTheNotificationQueueIsFull
//	 6  NOTIFY in every commit, which then wait for each other
//	    not tested: a matter of speed, which go run ./bench measures
//	 7  forged notifications
//	    worker/fault_test.go: TestForgedNotifications
//	    worker/doorbell_test.go: TestFalseAlarmsAreAnsweredLessAndLessOften
//	 8  names and payloads that are too long, two-phase commit
//	    sql/tests/reserved_and_unlistenable_names_are_refused.sql
//	    sql/delivery_test.go: TestAPayloadOf8000BytesIsTruncated, TestLongMessagesAreStoredAndNotifiedTruncated
//	    worker/fault_test.go: TestAPreparedTransaction
//
// SQL
//
//	 9  a cursor that passes by who commits late
//	    sql/concurrency_test.go: TestAReaderNeverSkipsAMessage, TestSeqOrderIsCommitOrder
//	    sql/pairs_test.go: TestAnyTwoChangesAtOnce
//	    worker/doorbell_test.go: TestNoFactWaitsForATimer
//	10  somebody's old transaction, here or elsewhere, or an open one that is silent
//	    worker/fault_test.go: TestAnOldTransactionIsOpen
//	    worker/doorbell_test.go: TestAnOpenSilentTransactionKeepsNobodyWaiting
//	11  deadlocks between writers, and with the fold
//	    worker/fault_test.go: TestFoldsAreCutShort, TestAnotherDefaultIsolation
//	    sql/concurrency_test.go: TestTheFoldWaitsForNobody
//	12  a queue that bloats behind an old snapshot
//	    not tested: a matter of speed, which go run ./bench measures
//	13  two folds at once, a crash in the middle of one, another isolation, a timeout, a full disk
//	    worker/fault_test.go: TestPostgresIsRestarted, TestPostgresCrashes, TestABackendIsKilled, TestFoldsAreCutShort
//	    worker/fault_test.go: TestSomebodyElseFolds, TestAnotherDefaultIsolation, TestAStatementTimeoutForAll
//	    worker/fault_test.go: TestAWriterTimesOut, TestIdleSessionsAreEnded
//	    worker/fault_linux_test.go: TestTheDiskIsFull
//	    worker/isolation_test.go: TestMailIsSentWhateverTheDefaultIsolation
//	    sql/concurrency_test.go: TestFoldsDoNotOverlap
//	14  changes that pass by the triggers
//	    sql/tests/truncate_is_noticed.sql
//	    sql/tests/verify_finds_what_passed_by_the_triggers_and_repair_mends_it.sql
//	    sql/concurrency_test.go: TestTruncateIsRefusedWhereItWouldGoUnnoticed
//	15  a restore that makes the triggers count again
//	    sql/dump_test.go: TestADatabaseMovesByDump, TestDataIsNotDoubledByTriggers
//	16  a move by logical replication
//	    sql/replication_test.go: TestADatabaseMovesByReplication
//	17  every shape of insert, update and delete
//	    sql/property_test.go: TestProgressIsExactAtAnyMoment, TestPropertyCatchesBrokenVariants
//	    sql/delivery_test.go: TestCopy
//	    sql/tests/on_conflict_and_merge_count_once.sql
//	18  a search_path that is empty or hostile
//	    sql/hostile_test.go: TestNothingHostileIsCalled, TestTriggersDoNotLookAround
//	    sql/catalog_test.go: TestNothingNeedsASearchPath
//	19  definer functions that look where their caller says
//	    sql/catalog_test.go: TestTheCatalogKeepsTheConventions
//	20  views that show everybody's rows
//	    sql/catalog_test.go: TestTheCatalogGivesNothingAway
//	    sql/visibility_test.go: TestEndUsersFindWhatIsTheirs
//	    sql/policies_test.go: TestEveryPolicyCounts
//	21  an identity that stays behind in a pooled session
//	    sql/pooled_test.go: TestIdentityEndsWithItsTransaction, TestPlansAreNobodys
//	22  a caller who sets any identity
//	    sql/flow_test.go: TestAllOfItWithoutASuperuser
//	23  row-level security that keeps the owner from making a backup
//	    sql/owner_test.go: TestTheOwnerMakesABackup, TestADumpIsRestoredByAnotherLogin
//	24  a worker's login without rights, or with too many
//	    worker/fault_test.go: TestALoginWithoutRights
//	    worker/rights_test.go: TestALoginThatMayDoTooLittleIsRefused, TestALoginThatMayDoMoreIsRefused
//	25  leaks by functions, statistics and unique keys, a PostgreSQL with known holes
//	    sql/leak_test.go: TestLeakyFunctionsSeeNoMore, TestStatisticsTellEndUsersNothing
//	    sql/hidden_test.go: TestWhatIsHiddenLooksAsIfItWereNotThere
//	    sql/migrate_test.go: TestAServerThatIsTooOldIsRefused
//
// Mail
//
//	26  a server that stops reading, or says nothing
//	    worker/smtp/smtp_test.go: TestAServerThatStopsReadingHoldsNobodyUp, TestNothingWaitsForEver, TestAMailHasABudgetInAll
//	27  a crash between the server's reply and the record of it
//	    cmd/headway/promise_test.go: TestThePromiseOfMail
//	    worker/digest_refusal_test.go: TestWhenNobodyKnowsTheSettingDecides
//	    worker/digest_test.go: TestWhatIsSentIsRecordedOnceTheDatabaseIsBack
//	28  a retry that says something else
//	    worker/digest_refusal_test.go: TestWhatAServerPutsOffIsSentAgainByteForByte
//	    sql/tests/digest_retry_sends_the_same_bytes.sql
//	29  a connection that is used again after a refusal
//	    worker/smtp/pool_test.go: TestAMailAfterARefusedOneGoesOverTheSameConnection, TestAConnectionThatIsNoGoodAfterAnErrorIsGivenUp
//	30  codes taken for what they are not
//	    worker/smtp/error_test.go: TestOutcomes
//	    worker/smtp/smtp_test.go: TestALostReplyIsUnknown
//	    sql/tests/digest_failure_has_four_outcomes.sql
//	31  a password sent in clear
//	    worker/smtp/smtp_test.go: TestLoginNeedsTLSUnlessToldOtherwise, TestWithoutProperTLSNothingIsSent
//	32  addresses and headers with commands in them
//	    worker/smtp/smtp_test.go: TestWhatNoServerShouldSeeIsNotSent, FuzzAddress
//	    worker/mail/hostile_test.go: FuzzCompose
//	33  mail that a strict server refuses
//	    worker/mail/compose_test.go: TestTheBiggestDigestIsToldInFull
//	    worker/mail/hostile_test.go: FuzzCompose
//	    worker/smtp/smtp_test.go: TestAMailThatIsTooBigIsNotBegun, TestAnAddressThatIsNotASCIINeedsSMTPUTF8
//	34  titles that become links
//	    worker/mail/hostile_test.go: TestNothingTypedGetsOut
//	35  a scanner that follows the link to unsubscribe
//	    worker/mail/unsubscribe_test.go: TestOnlyAPostUnsubscribes
//	36  auto-replies, and what bulk mail has to say
//	    worker/mail/compose_test.go: TestAMailIsAsItWasApproved
//	37  one mail that keeps all others back
//	    worker/digest_test.go: TestADigestThatCannotBeComposedDelaysNoOther, TestAPanicOfTheComposerEndsTheDigest
//	    sql/tests/digest_that_cannot_be_told_keeps_no_other_back.sql
//	38  a restart, and what was read before sending
//	    worker/schedule_test.go: TestWhatWasMissedIsMadeUpForOnce, TestARunThatFailsIsTriedAgain
//	    worker/schedule_test.go: TestTheScheduleGoesByTheClocksOnTheWall
//	    sql/tests/digest_claim_leaves_out_what_was_read.sql
//	    sql/tests/digest_retry_is_dropped_when_all_is_read.sql
//	39  a huge digest, a server that wants less
//	    worker/mail/compose_test.go: TestTheBiggestDigestIsToldInFull, TestWhatDoesNotFitIsCounted
//	    worker/smtp/pool_test.go: TestBusyBeginsAPause, TestTheRateIsKept
//	    worker/connections_test.go: TestAServerThatTakesFewerConnectionsTakesEverything
//
// The worker
//
//	40  a panic
//	    worker/http_test.go: TestAPanicIsLoggedAndTheLoopStartedAgain
//	    worker/schedule_test.go: TestAPanicInARunLeavesTheScheduleAlive, TestRunsThatWouldOverlapAreSkipped
//	41  daylight saving, times that are missed, a clock that jumps
//	    worker/fault_test.go: TestTheClockJumps
//	    worker/schedule_test.go: TestWhatWasMissedIsMadeUpForOnce, TestARunThatFailsIsTriedAgain
//	    worker/schedule_test.go: TestTheScheduleGoesByTheClocksOnTheWall
//	    sql/tests/digest_quiet_hours_follow_the_clock_on_the_wall.sql
//	42  a leader that is killed, stopped, stuck, or does not know that it is none any more
//	    cmd/headway/worker_test.go: TestWorkerProcess
//	    worker/fault_test.go: TestTheLeadersSessionEnds, TestTheLeaderStops, TestTheLeaderIsStuck
//	43  several migrations at once
//	    sql/migrate_test.go: TestReplicasMayMigrateAtTheSameMoment, TestReplicasMayBuildAnIndexConcurrently
//	44  a worker that is older or newer than the schema
//	    sql/migrate_test.go: TestCheckTellsMissingOlderAndNewerApart
//	    worker/http_test.go: TestAWorkerThatCannotBeginSaysWhy, TestHealthReadinessAndMetricsAreServed
//	45  a migration that everybody waits for
//	    sql/migrate_test.go: TestALockTimeoutIsTriedAgain, TestWaitingForAnotherMigrationEndsWithTheContext
//	46  SIGTERM in the middle of something, and a database that is down for long
//	    cmd/headway/worker_test.go: TestWorkerProcess
//	    worker/http_test.go: TestTheFoldInHandIsFinished, TestHealthReadinessAndMetricsAreServed
//	    worker/digest_sender_test.go: TestTheMailInHandIsFinished
//
// The gateway
//
//	47  a page from elsewhere, a token in a log
//	    worker/gateway/gateway_test.go: TestNobodyElseGetsIn
//	    worker/gateway/stream_test.go: TestServerSentEventsByTicket
//	48  a token without an end, of another algorithm, that expires, a membership that is lost
//	    worker/gateway/token_test.go: TestATokenSaysWhoAndUntilWhen, TestNoTokenChoosesItsOwnAlgorithm
//	    worker/gateway/gateway_test.go: TestATokenThatExpiresEndsTheConnection, TestWhoLosesTheProjectIsToldNothingMore
//	    worker/gateway/leaving_test.go: TestWhoLeavesIsToldNothingBeforeTheGatewayHasAsked
//	49  clients that read slowly, not at all, or are too many
//	    worker/gateway/limits_test.go: TestASlowReaderIsToldToResync, TestAReaderWhoStopsReadingIsLetGo, TestConnectionsAreLimited
//	50  what happens between the snapshot and the subscription, or while a client is away
//	    worker/gateway/stream_test.go: TestTheUnionOfWhatCameIsWhatThereIs, TestWhatTheSnapshotHasIsNotToldAgain
//	    worker/gateway/stream_test.go: TestWhatIsSaidWhileTheGatewayReadsIsNotLost
//	    worker/gateway/entry_test.go: TestWhatHappensAfterTheSnapshotIsNotLost
//
// Not to be provoked by a test: a server's clock that is set (TestTheClockJumps moves what is on record instead), a
// notification queue of 8 GB before PostgreSQL 17, a machine that loses its power, and a disk that lies about what it
// has written.

package worker_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"headway/internal/pgtest"
	"headway/internal/postgres"
	"headway/internal/smtptest"
	"headway/internal/sqlstate"
	"headway/worker"
)

// TestAHalfOpenConnectionToAPooler
//
// Promised: a worker that only polls, through a pooler, notices as soon as one that listens.
// Provoked: every connection to the pooler leads through a proxy, which passes nothing on any more.
// Left: it polls over new connections.
func TestAHalfOpenConnectionToAPooler(t *testing.T) {
	t.Parallel()
	db := seeded(t)
	pooled := db.PgBouncer(t)
	proxy := newProxy(t, pooled)
	w := start(t, config(t, proxy.url(pooled)), func(w *worker.Worker) { w.ProbeTimeout = 500 * time.Millisecond })
	w.await(worker.Deaf, worker.Polled)

	proxy.silence()
	conn := db.Conn(t)
	pgtest.Execute(t, conn, complete(1))
	pgtest.Eventually(t, 40*time.Second, func() bool { // before it would ask anew whether it hears anything
		return value[int](t, conn, "select count(*) from headway.pending_fact") == 0
	}, "nothing is folded")
}

// TestAHalfOpenConnection
//
// Promised: a network that swallows everything, without a word from either side, is noticed within 15 seconds, and what
// is completed meanwhile is folded within the poll interval after that.
// Provoked: every connection of the worker leads through a proxy, which passes nothing on any more.
// Left: the worker has connected anew and folds as a standby, because the server still believes that the old session
// leads; it leads and hears the bell again once that one is gone. Told to stop, it waits for no old connection.
func TestAHalfOpenConnection(t *testing.T) {
	t.Parallel()
	db := seeded(t)
	conn := db.Conn(t)
	proxy := newProxy(t, db.URL)
	w := start(t, config(t, proxy.url(db.URL), "HEADWAY_POLL_INTERVAL", "10s"), func(w *worker.Worker) {
		w.PingInterval = 200 * time.Millisecond
	})
	w.await(worker.Leading, worker.Asleep)
	old := leader(t, conn)

	proxy.silence()
	pgtest.Execute(t, conn, complete(1))
	began := time.Now()
	w.await(worker.Lost)
	if took := time.Since(began); took > 15*time.Second {
		t.Errorf("noticed after %v", took)
	}
	w.await(worker.StandingBy, worker.Folded)
	eventuallyFolded(t, conn)
	pgtest.Execute(t, conn, fmt.Sprintf("select pg_terminate_backend(%d)", old)) // as the server does by itself, with time
	w.await(worker.Leading, worker.Asleep)
	pgtest.Execute(t, conn, complete(2))
	w.await(worker.Rung, worker.Folded)
	eventuallyFolded(t, conn)

	began = time.Now()
	w.stop()
	if took := time.Since(began); took > 14*time.Second {
		t.Errorf("stopped after %v", took)
	}
}

// TestAHalfOpenConnectionInTheMiddleOfAFold
//
// Promised: a leader that waits for the answer to a fold that never comes, from behind something that acknowledges
// what it swallows, holds nobody up: a standby folds every poll interval.
// Provoked: a fold is held in the middle while the leader's connections fall silent, then goes on.
// Left: that fold counts, and so does everything after it.
func TestAHalfOpenConnectionInTheMiddleOfAFold(t *testing.T) {
	t.Parallel()
	db := seeded(t)
	conn, brake, proxy := db.Conn(t), newBrake(t, db), newProxy(t, db.URL)
	leader := start(t, config(t, proxy.url(db.URL)))
	leader.await(worker.Leading, worker.Asleep)
	standby := start(t, config(t, db.URL, "HEADWAY_POLL_INTERVAL", "50ms"))
	standby.await(worker.StandingBy)

	brake.hold(0)
	pgtest.Execute(t, conn, complete(1))
	brake.caught()
	proxy.silence()
	brake.release()
	pgtest.Execute(t, conn, complete(2))
	standby.await(worker.Folded)
	eventuallyFolded(t, conn)
	if events := leader.since(); slices.Contains(events, worker.Folded) {
		t.Errorf("the leader has heard the answer: %q", events)
	}
	proxy.shut()
	leader.await(worker.Lost)
}

// TestTheListeningAddressIsDown
//
// Promised: where only DATABASE_URL can be reached, the worker polls, and says so if that fails, too.
// Provoked: the proxy that HEADWAY_LISTEN_URL leads through closes everything and takes nothing new; folds fail for a while.
// Left: everything is folded.
func TestTheListeningAddressIsDown(t *testing.T) {
	t.Parallel()
	db := seeded(t)
	conn := db.Conn(t)

	w := polling(t, db)
	pgtest.Execute(t, conn, "alter function headway.fold rename to gone")
	pgtest.Eventually(t, soon, func() bool { return w.logbook.has("the fold failed, retrying") }, "nobody hears of it")
	pgtest.Execute(t, conn, "alter function headway.gone rename to fold; "+complete(1))
	w.await(worker.Folded)
	eventuallyFolded(t, conn)
}

// polling is a worker whose listening address has gone down.
func polling(t *testing.T, db *pgtest.DB, more ...string) *running {
	t.Helper()
	proxy := newProxy(t, db.URL)
	w := start(t, config(t, db.URL, append(more, "HEADWAY_LISTEN_URL", proxy.url(db.URL))...))
	w.await(worker.Leading, worker.Asleep)
	proxy.shut()
	w.await(worker.Lost, worker.Polled)
	return w
}

// TestAFailover
//
// Promised: the worker converges on the new primary without a restart, also where nobody ended the old one, which
// keeps its connections alive and knows nothing; and a worker that began on the standby works once that is promoted.
// Provoked: a streaming standby is promoted, and the address by which worker and applications connect leads there from
// then on.
// Left: all that the standby had is there, and all since is folded, by the bell.
func TestAFailover(t *testing.T) {
	t.Parallel()
	primary, db := ownCluster(t, nil)
	standby := pgtest.Standby(t, primary)
	proxy := newProxy(t, db.URL)
	probing := func(w *worker.Worker) { w.ProbeInterval, w.ProbeTimeout = 200*time.Millisecond, 3*time.Second }
	w := start(t, config(t, proxy.url(db.URL)), probing)
	w.await(worker.Leading, worker.Asleep)
	early := start(t, config(t, standby.URL(db.Name)), probing)
	early.await(worker.Lost)

	traffic := drive(t, connectPool(t, proxy.url(db.URL)))
	traffic.flow()
	old := db.Conn(t)
	traffic.settle(old)
	w.await(worker.Asleep)
	pgtest.Eventually(t, soon, func() bool {
		return value[bool](t, old, "select coalesce(bool_and(replay_lsn >= pg_current_wal_lsn()), false) from pg_stat_replication")
	}, "the standby does not follow")

	w.forget()
	conn := (&pgtest.DB{URL: standby.URL(db.Name)}).Conn(t)
	pgtest.Execute(t, conn, "select pg_promote()")
	proxy.turn(standby.URL(db.Name))
	traffic.settle(conn) // nothing is missing
	w.await(worker.Lost)
	traffic.resume(connectPool(t, proxy.url(db.URL)))
	traffic.flow()
	traffic.settle(conn)

	pgtest.Eventually(t, soon, func() bool { return metric(t, early.Worker, "headway_listening") == 1 }, "the other worker does not listen")
	early.stop()
	w.await(worker.Leading, worker.Asleep)
	w.forget()
	pgtest.Execute(t, conn, again)
	w.await(worker.Rung, worker.Folded)
	eventuallyFolded(t, conn)
}

// TestADatabaseThatOnlyReads
//
// Promised: while a database refuses to be written to, the worker tries again and again, and works soon after that has
// ended. It overrides nothing: who sets such a default has a reason.
// Provoked: default_transaction_read_only is on for the sessions that begin, the worker's among them, which keep it
// for as long as they last.
// Left: the worker has sessions that write, and everything is folded.
func TestADatabaseThatOnlyReads(t *testing.T) {
	t.Parallel()
	d := setup(t, func(w *worker.Worker) { w.HeartbeatInterval = 20 * time.Millisecond })

	setDefault(t, d.db, "default_transaction_read_only", "on")
	pgtest.Execute(t, d.bystander, fmt.Sprintf("select pg_terminate_backend(%d)", leader(t, d.bystander)))
	d.await(worker.Lost)
	pgtest.Execute(t, d.writer, complete(1)) // in a session that is older
	for range 2 {
		d.await(worker.Leading, worker.Lost)
	}
	pgtest.Execute(t, d.bystander, "alter database "+d.db.Name+" reset default_transaction_read_only")
	d.await(worker.Folded, worker.Asleep)
	pgtest.Execute(t, d.writer, complete(2))
	d.await(worker.Rung, worker.Folded)
	seen := "select max(last_seen_at) from headway.worker"
	before := value[time.Time](t, d.bystander, seen)
	pgtest.Eventually(t, soon, func() bool { return value[time.Time](t, d.bystander, seen).After(before) }, "its heart has stopped")
	d.finish()
}

// TestTheNotificationQueueIsFull
//
// Promised: no application's commit fails for it. Nobody rings then, so the worker polls, says so, and goes back to the
// bell by itself. A worker that starts meanwhile works, too.
// Provoked: from PostgreSQL 17 on, by filling the smallest queue there may be to the last byte behind a listener that is
// stuck in a transaction. Before, the queue holds 8 GB: there, the function that tells how full it is says half.
// Left: everything is folded, and the next fact by the bell.
func TestTheNotificationQueueIsFull(t *testing.T) {
	t.Parallel()
	db, fill, drain := notificationQueue(t)
	log := newLogbook(t, nil)
	d := setupIn(t, db, func(w *worker.Worker) {
		w.Config.PollInterval = 100 * time.Millisecond // as one who sleeps just then is not told
		w.HeartbeatInterval = 20 * time.Millisecond
		w.Log = slog.New(log)
	})

	fill()
	pgtest.Execute(t, d.writer, "insert into headway.task (id, project_id, title) values (1001, 1, 'Make room')")
	d.await(worker.Folded, worker.Silenced)
	pgtest.Eventually(t, soon, func() bool {
		return log.has("the server's notification queue is half full, so headway sends no notifications: a listening session is " +
			"stuck in a transaction (pg_stat_activity shows the oldest)")
	}, "the worker does not say so")
	d.stop()
	w := start(t, d.configured, func(w *worker.Worker) { w.HeartbeatInterval, w.Log = 20*time.Millisecond, slog.New(log) })
	traffic := drive(t, db.Pool(t))
	traffic.flow()
	pgtest.Execute(t, d.writer, "select headway.post(1, 'project_1', 'Is anybody there?')")
	w.await(worker.Folded)
	eventuallyFolded(t, d.bystander)
	traffic.flow()
	traffic.settle(d.bystander)

	drain()
	w.await(worker.Asleep)
	pgtest.Eventually(t, soon, func() bool {
		return log.has("the server's notification queue has room again, so headway sends notifications")
	}, "the worker does not say that it is over")
	w.forget()
	pgtest.Execute(t, d.writer, again)
	w.await(worker.Rung, worker.Folded)
	eventuallyFolded(t, d.bystander)
}

// notificationQueue makes a seeded database, and functions that have its server's notification queue full, and no more.
func notificationQueue(t *testing.T) (db *pgtest.DB, fill, drain func()) {
	t.Helper()
	db = seeded(t)
	conn := db.Conn(t)
	if value[int](t, conn, "select current_setting('server_version_num')::integer") < 170000 {
		pgtest.Execute(t, conn, pretendedQueue)
		set := func(usage string) func() {
			return func() { pgtest.Execute(t, conn, "update public.queue set usage = "+usage) }
		}
		return db, set("0.5"), set("0")
	}

	_, db = ownCluster(t, map[string]string{"max_notify_queue_pages": "64"})
	stuck, flood := db.Conn(t), db.Conn(t)
	fill = func() {
		pgtest.Execute(t, stuck, "listen flood")
		pgtest.Execute(t, stuck, "begin")
		for n := 0; ; n++ {
			_, err := flood.Exec(t.Context(), "select pg_notify('flood', $1)", fmt.Sprintf("%7990d", n))
			if sqlstate.Of(err) == "54000" { // program_limit_exceeded
				return
			}
			if err != nil || n > 1000 {
				t.Fatalf("the queue is not full after %d notifications: %v", n, err)
			}
		}
	}
	return db, fill, func() { pgtest.Execute(t, stuck, "rollback") }
}

// pretendedQueue has everything in headway believe public.queue rather than the server.
const pretendedQueue = `
create table public.queue as select 0::float8 as usage;
grant select on public.queue to public;
alter function pg_catalog.pg_notification_queue_usage() rename to real_queue_usage;
create function pg_catalog.pg_notification_queue_usage() returns float8 language sql volatile as 'select usage from public.queue';
do $$ begin
	execute 'create or replace view headway.status with (security_invoker) as '
		|| replace(pg_get_viewdef('headway.status'), 'real_queue_usage', 'pg_notification_queue_usage');
end $$`

// TestForgedNotifications
//
// Promised: a notification carries no authority. Any role may forge one, on any channel and with any payload; that costs
// wake-ups and nothing else, and not many of them (TestFalseAlarmsAreAnsweredLessAndLessOften).
// Provoked: a role that may do nothing else floods the doorbell, and the channel on which the worker hears itself.
// Left: the worker has neither lost its connection nor missed a fact.
func TestForgedNotifications(t *testing.T) {
	t.Parallel()
	d := setup(t, func(w *worker.Worker) { w.ProbeInterval = 50 * time.Millisecond })
	stranger := d.db.Conn(t, pgtest.User(login(t, d.db)))

	refused(t, stranger, "42501", "select from headway.task")
	refused(t, stranger, "22023", "select pg_notify('headway_doorbell', repeat('x', 8000))")
	for round := range 10 {
		for _, payload := range []string{"", "{", "'; drop table headway.task; --", strings.Repeat("é", 3999)} {
			for _, channel := range []string{"headway_doorbell", "headway_probe_" + d.ID()[:8], "headway_events"} {
				_, err := stranger.Exec(t.Context(), "select pg_notify($1, $2 || n) from generate_series(1, 9) n", channel, payload)
				if err != nil {
					t.Fatal(err)
				}
			}
		}
		pgtest.Execute(t, d.writer, complete(1+round))
		d.await(worker.Folded)
	}
	d.finish()
	if events := d.since(); slices.Contains(events, worker.Lost) {
		t.Errorf("the worker has lost its connection: %q", events)
	}
}

// TestAPreparedTransaction
//
// Promised: a transaction that is prepared keeps its facts, its silence and its locks until it is committed for good.
// The worker keeps looking meanwhile, without haste, and folds what others commit. One that rings cannot be prepared,
// because PostgreSQL forbids it to those that notify: who uses two-phase commit sets notify_payload to off.
// Provoked: PREPARE TRANSACTION while the worker sleeps, while it is awake, and while nothing is notified.
// Left: what was committed is folded, what was rolled back is not, and the worker sleeps.
func TestAPreparedTransaction(t *testing.T) {
	t.Parallel()
	_, db := ownCluster(t, map[string]string{"max_prepared_transactions": "2"})
	d := setupIn(t, db)

	refused(t, d.writer, "0A000", "begin; "+complete(1)+"; prepare transaction 'ringing'")
	if n := value[int](t, d.bystander, "select count(*) from headway.completion"); n != 0 {
		t.Errorf("%d completions are left", n)
	}
	for end, want := range map[string]int{"commit": 2, "rollback": 1} {
		release := d.awake() // so a writer is silent
		pgtest.Execute(t, d.writer, "begin; "+complete(1)+"; prepare transaction 'silent'")
		release()
		for range 10 {
			d.await(worker.Refused)
		}
		if took := d.took(20, worker.Refused); took < 150*time.Millisecond { // twenty pauses of 10 ms or more
			t.Errorf("the worker looked twenty times within %v", took)
		}
		pgtest.Execute(t, d.bystander, complete(2))
		d.await(worker.Folded)
		eventuallyFolded(t, d.bystander)
		d.forget()
		pgtest.Execute(t, d.writer, end+" prepared 'silent'")
		d.await(worker.Asleep)
		d.finish()
		if done := value[int](t, d.bystander, "select done from headway.progress where project_id = 1"); done != want {
			t.Errorf("%s: %d tasks are done, want %d", end, done, want)
		}
		pgtest.Execute(t, d.bystander, "delete from headway.completion")
		d.finish()
	}

	pgtest.Execute(t, d.bystander, "select headway.set_setting('notify_payload', 'off'); notify headway_doorbell")
	d.await(worker.Silenced)
	pgtest.Execute(t, d.writer, "begin; "+complete(3)+"; select headway.post(1, 'project_1', 'Done.'); prepare transaction 'off'")
	pgtest.Execute(t, d.writer, "commit prepared 'off'")
	d.await(worker.Folded)
	eventuallyFolded(t, d.bystander)
}

// TestPostgresIsRestarted
//
// Promised: the worker survives, and nothing that was committed is lost, though it was just being folded.
// Provoked: a fast shutdown, at different places of a fold, under load, and while the worker sleeps.
// Left: every change that a writer was told is committed is there, counted once, and told once.
func TestPostgresIsRestarted(t *testing.T) {
	t.Parallel()
	outage(t, []int{1, 3}, func(cluster *postgres.Cluster, _ int) error { return cluster.Restart(t.Context(), postgres.Fast) })
}

// TestPostgresCrashes
//
// Promised and left: as in TestPostgresIsRestarted.
// Provoked: an immediate shutdown, which is a crash: nothing is written any more, and recovery begins from the log.
func TestPostgresCrashes(t *testing.T) {
	t.Parallel()
	outage(t, []int{0, 1, 2, 3}, func(cluster *postgres.Cluster, _ int) error { return cluster.Restart(t.Context(), postgres.Immediate) })
}

// TestABackendIsKilled
//
// Promised and left: as in TestPostgresIsRestarted.
// Provoked: kill -9 of the server process that folds, or that leads and sleeps. The server then ends all others, because
// the memory that they share may be damaged, and recovers.
func TestABackendIsKilled(t *testing.T) {
	t.Parallel()
	outage(t, []int{0, 2}, func(_ *postgres.Cluster, pid int) error { return syscall.Kill(pid, syscall.SIGKILL) })
}

// outage ends a server while a fold is at one of the stops, then at the next, and once in the worker's sleep.
func outage(t *testing.T, stops []int, end func(cluster *postgres.Cluster, pid int) error) {
	t.Helper()
	cluster, db := ownCluster(t, nil)
	brake := newBrake(t, db)
	w := start(t, config(t, db.URL))
	w.await(worker.Leading, worker.Asleep)
	pool := connectPool(t, db.URL)
	traffic := drive(t, pool)
	for _, stop := range stops {
		traffic.flow()
		brake.hold(stop)
		pid := brake.caught()
		w.forget()
		if err := end(cluster, pid); err != nil {
			t.Fatal(err)
		}
		brake.release()
		w.await(worker.Lost, worker.Leading, worker.Folded)
	}
	traffic.flow()
	pool.Reset()
	traffic.settle(pool)

	w.await(worker.Asleep)
	w.forget()
	if err := end(cluster, leader(t, pool)); err != nil {
		t.Fatal(err)
	}
	w.await(worker.Lost, worker.Leading, worker.Asleep)
	conn := db.Conn(t)
	pgtest.Execute(t, conn, again)
	w.await(worker.Rung, worker.Folded)
	eventuallyFolded(t, conn)
}

// again is a change, whatever was before.
const again = "select headway.reopen_task(1, 1), headway.complete_task(1, 1)"

// TestFoldsAreCutShort
//
// Promised: whatever ends a fold ends all of it, and whoever folds next takes up everything that it had in hand.
// Provoked: more than a hundred times, the session that folds is terminated, or its statement canceled, at one of the places in
// a fold. That is sometimes the worker, and more often somebody who only folds and connects again at once.
// Left: every change is counted once and told once, and the worker folds and sleeps as before.
func TestFoldsAreCutShort(t *testing.T) {
	t.Parallel()
	d := setup(t)
	brake := newBrake(t, d.db)
	const folds = "select sum(version)::integer from headway.shared_progress"
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var folders sync.WaitGroup
	folders.Go(func() {
		for ctx.Err() == nil {
			foldUntilCutShort(ctx, d.db.URL)
		}
	})

	traffic := drive(t, d.db.Pool(t))
	for n := range 5 * 2 * stopCount {
		brake.hold(n % stopCount)
		pid := brake.caught()
		how := []string{"terminate", "cancel"}[n/stopCount%2]
		if !value[bool](t, brake.conn, fmt.Sprintf("select pg_%s_backend(%d)", how, pid)) {
			t.Errorf("%d has ended by itself", pid)
		}
		brake.release()
		// One fold that succeeds, or there would be ever more to fold.
		before := value[int](t, d.bystander, folds)
		pgtest.Eventually(t, soon, func() bool { return value[int](t, d.bystander, folds) > before }, "no fold succeeds any more")
	}
	stop()
	folders.Wait()
	traffic.settle(d.bystander)
	d.forget()
	pgtest.Execute(t, d.writer, again)
	d.await(worker.Folded)
	d.finish()
}

// foldUntilCutShort folds, a thousand times a second at most, until that fails.
func foldUntilCutShort(ctx context.Context, url string) {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return
	}
	defer conn.Close(context.WithoutCancel(ctx))
	for err == nil {
		_, err = conn.Exec(ctx, "select headway.fold() from pg_sleep(0.001)")
	}
}

// TestTheLeadersSessionEnds
//
// Promised: subscription, leadership and the doorbell's key are lost together and taken again together.
// Provoked: the session of a leader that sleeps is terminated, several times.
// Left: the worker sleeps as the leader, and hears the bell.
func TestTheLeadersSessionEnds(t *testing.T) {
	t.Parallel()
	d := setup(t)

	for range 3 {
		pgtest.Execute(t, d.bystander, fmt.Sprintf("select pg_terminate_backend(%d)", leader(t, d.bystander)))
		d.await(worker.Lost, worker.Leading, worker.Asleep)
	}
	pgtest.Execute(t, d.writer, complete(1))
	d.await(worker.Rung, worker.Folded)
	d.finish()
}

// TestTheLeaderStops
//
// Promised: a standby takes over at once.
// Provoked: the leader is told to stop.
// Left: the standby leads, and hears the bell.
func TestTheLeaderStops(t *testing.T) {
	t.Parallel()
	first := setup(t)
	second := start(t, first.configured)
	second.await(worker.StandingBy)

	first.stop()
	second.await(worker.Leading, worker.Asleep)
	pgtest.Execute(t, first.writer, complete(1))
	second.await(worker.Rung, worker.Folded)
	first.finish()
}

// TestTheLeaderIsStuck
//
// Promised: a leader that keeps its lock and does nothing delays facts by a standby's poll interval.
// Provoked: the leader is held in its own code when it has just been woken.
// Left: everything is folded while it is stuck, and it goes on afterwards.
func TestTheLeaderIsStuck(t *testing.T) {
	t.Parallel()
	first := setup(t)
	second := start(t, config(t, first.db.URL, "HEADWAY_POLL_INTERVAL", "50ms"))
	second.await(worker.StandingBy)

	h := first.holdAt(worker.Rung)
	pgtest.Execute(t, first.writer, complete(1))
	await(t, "the leader to wake", h.reached)
	second.await(worker.Folded)
	eventuallyFolded(t, first.bystander)
	h.release()
	first.finish()
}

// TestSomebodyElseFolds
//
// Promised: a fold that cannot get its lock is given up after a while and tried again.
// Provoked: somebody calls fold() in a transaction and leaves that open.
// Left: all is folded once that has ended.
func TestSomebodyElseFolds(t *testing.T) {
	t.Parallel()
	d := setup(t)

	pgtest.Execute(t, d.writer, "begin; select headway.fold()")
	pgtest.Execute(t, d.bystander, complete(1))
	d.await(worker.Rung)
	pgtest.Eventually(t, soon, func() bool { return metric(t, d.Worker, "headway_fold_errors_total") > 0 }, "no fold has failed")
	pgtest.Execute(t, d.writer, "rollback")
	d.await(worker.Folded)
	d.finish()
}

// TestAnOldTransactionIsOpen
//
// Promised: no fact waits for anybody else's transaction. The fold deletes what it reads, and needs no cursor that an
// old snapshot could hold back.
// Provoked: transactions that have a snapshot and an id stay open, in this database and in another one.
// Left: everything was folded meanwhile.
func TestAnOldTransactionIsOpen(t *testing.T) {
	t.Parallel()
	d := setup(t)

	for _, conn := range []*pgx.Conn{d.bystander, pgtest.Empty(t).Conn(t)} {
		pgtest.Execute(t, conn, "begin isolation level repeatable read; select pg_current_xact_id()")
	}
	for task := range 3 {
		pgtest.Execute(t, d.writer, complete(1+task))
		d.await(worker.Rung, worker.Folded, worker.Asleep)
	}
	pgtest.Execute(t, d.bystander, "rollback")
	d.finish()
}

// TestAStatementTimeoutForAll
//
// Promised: a limit that somebody sets for all sessions ends neither folds nor what the ledger of mail does, which would
// begin anew and end at the same place for ever; what bounds them is the worker.
// Provoked: statement_timeout, and transaction_timeout where there is one, for all sessions of the database; a fold, a
// reservation, a claim and a heartbeat that take longer.
// Left: that fold has succeeded, on the leader's session and on one of the pool, the digest was sent, and the worker is
// known to be alive.
func TestAStatementTimeoutForAll(t *testing.T) {
	t.Parallel()
	limit := func(t *testing.T, db *pgtest.DB) {
		t.Helper()
		setDefault(t, db, "statement_timeout", "2s")
		if value[bool](t, db.Conn(t), "select exists (select from pg_settings where name = 'transaction_timeout')") {
			setDefault(t, db, "transaction_timeout", "2s")
		}
	}
	slow := func(t *testing.T, w *running, brake *brake) {
		t.Helper()
		writer, patient := brake.db.Conn(t), brake.db.Conn(t)
		failed := metric(t, w.Worker, "headway_fold_errors_total")
		brake.hold(0)
		pgtest.Execute(t, writer, complete(1))
		brake.caught()
		if _, err := patient.Exec(t.Context(), "select pg_sleep(60)"); err == nil {
			t.Error("there is no timeout")
		}
		brake.release()
		w.await(worker.Folded)
		eventuallyFolded(t, writer)
		if n := metric(t, w.Worker, "headway_fold_errors_total"); n != failed {
			t.Errorf("%v folds have failed", n-failed)
		}
	}
	t.Run("the leader", func(t *testing.T) {
		t.Parallel()
		db := seeded(t)
		brake := newBrake(t, db)
		limit(t, db)
		w := start(t, config(t, db.URL))
		w.await(worker.Leading, worker.Asleep)
		slow(t, w, brake)
	})
	t.Run("a worker that polls", func(t *testing.T) {
		t.Parallel()
		db := seeded(t)
		brake := newBrake(t, db)
		limit(t, db)
		slow(t, polling(t, db), brake)
	})
	t.Run("a mailer", func(t *testing.T) {
		t.Parallel()
		p := unread(t, 1, smtptest.Options{})
		brake := newBrake(t, p.db)
		pgtest.Execute(t, p.conn, "create trigger stop before insert or update on headway.digest for each statement execute function public.stop(0)")
		limit(t, p.db)
		p.Pool = connectPool(t, p.db.URL)
		patient := p.db.Conn(t)
		for _, step := range []func(context.Context) (int, error){p.Reserve, p.Send} {
			brake.hold(0)
			done := make(chan struct{})
			var n int
			var err error
			go func() { defer close(done); n, err = step(t.Context()) }()
			brake.caught()
			if _, err := patient.Exec(t.Context(), "select pg_sleep(60)"); err == nil {
				t.Error("there is no timeout")
			}
			brake.release()
			await(t, "the mailer", done)
			if n != 1 || err != nil {
				t.Errorf("%d went on: %v", n, err)
			}
		}
		p.ledger(1, "d.state = 'sent' and d.attempts = 1")
	})
	t.Run("the heartbeat", func(t *testing.T) {
		t.Parallel()
		db := seeded(t)
		brake := newBrake(t, db)
		pgtest.Execute(t, db.Conn(t), "create trigger stop before insert or update on headway.worker for each statement execute function public.stop(0)")
		limit(t, db)
		brake.hold(0)
		log := newLogbook(t, nil)
		w := start(t, config(t, db.URL), func(w *worker.Worker) { w.Log = slog.New(log) })
		brake.caught()
		patient := db.Conn(t)
		if _, err := patient.Exec(t.Context(), "select pg_sleep(60)"); err == nil {
			t.Error("there is no timeout")
		}
		brake.release()
		w.await(worker.Leading)
		pgtest.Eventually(t, soon, func() bool { return value[int](t, db.Conn(t), "select count(*) from headway.worker") == 1 }, "it has no heartbeat")
		if log.has("the heartbeat failed") {
			t.Error("it failed once")
		}
	})
}

// TestAWriterTimesOut
//
// Promised: an application's transaction that runs into a timeout of its own inside a trigger of headway fails whole: no
// completion without its fact, and no fact without its completion.
// Provoked: lock_timeout and statement_timeout, while somebody keeps the queue locked.
// Left: nothing, and the same change succeeds as soon as the lock is gone.
func TestAWriterTimesOut(t *testing.T) {
	t.Parallel()
	for setting, code := range map[string]string{"lock_timeout": "55P03", "statement_timeout": "57014"} {
		t.Run(setting, func(t *testing.T) {
			t.Parallel()
			d := setup(t)

			pgtest.Execute(t, d.bystander, "begin; lock table headway.pending_fact in share mode")
			pgtest.Execute(t, d.writer, "set "+setting+" = '50ms'")
			refused(t, d.writer, code, "begin; "+complete(1))
			pgtest.Execute(t, d.bystander, "commit")
			for _, table := range []string{"completion", "pending_fact"} {
				if n := value[int](t, d.bystander, "select count(*) from headway."+table); n != 0 {
					t.Errorf("%d rows are in headway.%s", n, table)
				}
			}
			if events := d.since(); len(events) > 0 {
				t.Errorf("the worker did %q", events)
			}
			pgtest.Execute(t, d.writer, "set "+setting+" = 0; "+complete(1))
			d.await(worker.Rung, worker.Folded)
			d.finish()
		})
	}
}

// TestAnotherDefaultIsolation
//
// Promised: folds are right whatever the default isolation is, and get neither in each other's way nor in that of the
// applications, whose own transactions may fail among each other at serializable.
// Provoked: two workers fold at once, one that leads and one that polls, under load at that isolation.
// Left: no fold has failed, no transaction of an application for a fold, and everything is counted once.
func TestAnotherDefaultIsolation(t *testing.T) {
	t.Parallel()
	for level, tolerated := range map[string]string{"repeatable read": "", "serializable": "40001"} {
		t.Run(level, func(t *testing.T) {
			t.Parallel()
			db := seeded(t)
			setDefault(t, db, "default_transaction_isolation", level)
			polls := polling(t, db, "HEADWAY_POLL_INTERVAL", "10ms")
			leads := start(t, config(t, db.URL))
			leads.await(worker.Leading)

			traffic := drive(t, db.Pool(t), tolerated)
			for range 5 {
				traffic.flow()
				polls.await(worker.Folded)
				leads.await(worker.Folded)
			}
			traffic.settle(db.Conn(t))
			for _, w := range []*running{polls, leads} {
				if n := metric(t, w.Worker, "headway_fold_errors_total"); n > 0 {
					t.Errorf("%v folds have failed", n)
				}
			}
		})
	}
}

// TestIdleSessionsAreEnded
//
// Promised: the worker's listening session may be idle for as long as nothing happens.
// Provoked: idle_session_timeout and idle_in_transaction_session_timeout for all sessions of the database.
// Left: somebody else's session was ended, the worker's is the same as before and hears the bell.
func TestIdleSessionsAreEnded(t *testing.T) {
	t.Parallel()
	db := seeded(t)
	setDefault(t, db, "idle_session_timeout", "3s") // time enough for a session that begins
	setDefault(t, db, "idle_in_transaction_session_timeout", "3s")
	conn := db.Conn(t)
	pgtest.Execute(t, conn, "set idle_session_timeout = 0")
	w := start(t, config(t, db.URL))
	w.await(worker.Leading, worker.Asleep)
	w.forget()
	before := leader(t, conn)

	idle := db.Conn(t)
	pgtest.Eventually(t, soon, func() bool {
		return value[int](t, conn, "select count(*) from pg_stat_activity where pid = $1", idle.PgConn().PID()) == 0
	}, "the idle session is not ended")
	if pid := leader(t, conn); pid != before {
		t.Errorf("the worker's session was %d and is %d", before, pid)
	}
	pgtest.Execute(t, conn, complete(1))
	w.await(worker.Rung, worker.Folded)
	eventuallyFolded(t, conn)
}

// TestTheClockJumps
//
// Promised: correctness never depends on the clock. The worker waits by a clock that only goes forward; facts, messages
// and cursors are in order by locks and numbers. What is a matter of times, when mail is due, comes late or early for
// it, but is neither lost nor doubled.
// Provoked: a server's clock cannot be set from here, but moving every time that is on record by ten years is the same
// as moving the clock by ten years the other way: back, then forward twice as far, with a change under way each time.
// Left: everything is folded and numbered, cursors are right, heartbeats are on time, and a mail is due once.
func TestTheClockJumps(t *testing.T) {
	t.Parallel()
	d := setup(t, func(w *worker.Worker) { w.HeartbeatInterval = 20 * time.Millisecond })
	pgtest.Execute(t, d.bystander, `
		insert into headway.appuser (id, fullname, email) values (2, 'Dora', 'dora@example.com');
		insert into headway.member (project_id, user_id, role) values (1, 2, 'staff')`)

	for i, jump := range []string{"-10 years", "20 years"} {
		pgtest.Execute(t, d.writer, "begin; "+complete(1+2*i))
		pgtest.Execute(t, d.bystander, complete(2+2*i))
		d.await(worker.Folded)
		pgtest.Execute(t, d.bystander, strings.ReplaceAll(jumpClock, "JUMP", jump))
		d.forget()
		pgtest.Execute(t, d.writer, "commit")
		d.await(worker.Folded)
		d.finish()
		pgtest.Eventually(t, soon, func() bool {
			return value[bool](t, d.bystander, `
				select s.workers = 1 and s.leader is not null and w.last_seen_at between now() - interval '1 minute' and now()
				from headway.status s, headway.worker w`)
		}, "after %s its heart does not beat", jump)
		for run, want := range []int{i, 0} { // after the jump back, nothing has been unread for long
			if n := value[int](t, d.bystander, "select headway.reserve_digests()"); n != want {
				t.Errorf("after %s, run %d: %d digests are due, want %d", jump, run, n, want)
			}
		}
	}
	numbers := "select array_agg(seq order by id) from headway.message where channel = 'project_1_staff'"
	if seqs := value[[]int](t, d.bystander, numbers); !slices.Equal(seqs, []int{1, 2, 3, 4}) {
		t.Errorf("the messages have the numbers %v", seqs)
	}
	if n := value[int](t, d.bystander, "select messages from headway.unread where user_id = 2"); n != 4 {
		t.Errorf("%d messages are unread", n)
	}
}

// jumpClock moves the clock, as seen from everything that is on record.
const jumpClock = `
set session_replication_role = replica;
do $$
declare
	c record;
begin
	perform pg_advisory_xact_lock(headway.lock_key('fold')); -- nobody else may change what a fold has in hand
	for c in
		select table_name, string_agg(format('%I = %1$I - interval ''JUMP''', column_name), ', ') as moved
		from information_schema.columns
		join information_schema.tables using (table_schema, table_name)
		where table_schema = 'headway' and table_type = 'BASE TABLE' and data_type = 'timestamp with time zone'
		group by table_name
	loop
		execute format('update headway.%I set %s', c.table_name, c.moved);
	end loop;
end $$;
reset session_replication_role`

// TestALoginWithoutRights
//
// Promised: a worker whose login may not do its work says so and does not start. One that loses its rights later is not
// ready; it neither ends nor spins, and works as soon as it may again.
// Provoked: a role that may log in and nothing more; then it may see the schema's version; then it is headway_worker, is
// not while the worker runs, and is again. What a worker needs is taken away piece by piece in rights_test.go.
// Left: everything is folded.
func TestALoginWithoutRights(t *testing.T) {
	t.Parallel()
	db := seeded(t)
	conn := db.Conn(t)
	role := login(t, db)
	url := as(db, role)
	run := func() error {
		return worker.New(config(t, url), slog.New(slog.DiscardHandler), "test").Run(t.Context())
	}

	for _, some := range []string{"select 1", "grant select on public.headway_schema_version to " + role} {
		pgtest.Execute(t, conn, some)
		if err := run(); !errors.As(err, new(*worker.RightsError)) || !strings.Contains(err.Error(), "grant headway_worker to "+role) {
			t.Errorf("after %s: %v", some, err)
		}
	}

	pgtest.Execute(t, conn, "grant headway_worker to "+role)
	addr := pgtest.FreeAddr(t)
	w := start(t, config(t, url, "HEADWAY_HTTP_ADDR", addr, "HEADWAY_POLL_INTERVAL", "1s"),
		func(w *worker.Worker) { w.HeartbeatInterval = 500 * time.Millisecond })
	ready := func() bool { status, _ := get(t, addr, "/readyz"); return status == http.StatusOK }
	w.await(worker.Leading, worker.Asleep)
	pgtest.Eventually(t, soon, ready, "it is not ready")
	pgtest.Execute(t, conn, "revoke headway_worker from "+role)
	pgtest.Execute(t, conn, complete(1))
	w.await(worker.Lost)
	if took := w.took(4, worker.Lost); took < 350*time.Millisecond { // half of 50, 100, 200 and 400 ms, and more
		t.Errorf("it tried four times more within %v", took)
	}
	pgtest.Eventually(t, soon, func() bool { return !ready() }, "it says that it is ready")
	pgtest.Eventually(t, soon, func() bool { return w.logbook.has("the heartbeat failed") }, "it does not say that its heart has stopped")
	pgtest.Execute(t, conn, "grant headway_worker to "+role)
	w.await(worker.Leading, worker.Asleep)
	eventuallyFolded(t, conn)
	pgtest.Eventually(t, soon, ready, "it is not ready")
}
