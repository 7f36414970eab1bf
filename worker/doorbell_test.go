package worker_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"headway/internal/pgtest"
	"headway/worker"
)

// doorbell is a worker that sleeps, in a seeded database, and two connections beside it.
type doorbell struct {
	*running
	db         *pgtest.DB
	writer     *pgx.Conn // whose interleaving with the worker is tested
	bystander  *pgx.Conn // does something else meanwhile
	t          *testing.T
	configured worker.Config
}

func setup(t *testing.T, change ...func(*worker.Worker)) *doorbell {
	t.Helper()
	return setupIn(t, seeded(t), change...)
}

// setupIn does it in a seeded database that the test has made.
func setupIn(t *testing.T, db *pgtest.DB, change ...func(*worker.Worker)) *doorbell {
	t.Helper()
	config := config(t, db.URL)
	d := &doorbell{t: t, db: db, writer: db.Conn(t), bystander: db.Conn(t), configured: config}
	d.running = start(t, config, change...)
	d.await(worker.Leading, worker.Folded, worker.Asleep)
	eventuallyFolded(t, d.bystander)
	d.forget()
	return d
}

// finish checks that everything was folded and the worker is asleep again.
func (d *doorbell) finish() {
	d.t.Helper()
	eventuallyFolded(d.t, d.bystander)
	pgtest.Eventually(d.t, soon, func() bool {
		return locks(d.t, d.bystander, "doorbell", exclusive) == 1
	}, "the worker does not go to sleep")
}

// awake has the worker awake, done with folding and about to try KEY, until release is called.
func (d *doorbell) awake() (release func()) {
	d.t.Helper()
	h := d.holdAt(worker.LyingDown)
	pgtest.Execute(d.t, d.bystander, "notify headway_doorbell")
	await(d.t, "the worker to wake and find nothing", h.reached)
	return h.release
}

func TestASleepingWorkerIsRung(t *testing.T) {
	t.Parallel()
	d := setup(t)

	pgtest.Execute(t, d.writer, complete(1))
	d.await(worker.Rung, worker.Folded, worker.Asleep)
	d.finish()
}

func TestASilentWriterMayCommitAfterTheWorkerHasLooked(t *testing.T) {
	t.Parallel()
	d := setup(t)

	release := d.awake()
	pgtest.Execute(t, d.writer, "begin; "+complete(1))
	if locks(t, d.bystander, "doorbell", shared) != 1 {
		t.Fatal("the writer is not silent")
	}
	d.forget()
	release()
	d.await(worker.Refused)
	pgtest.Execute(t, d.writer, "commit")
	d.await(worker.Folded, worker.Asleep)
	d.finish()
}

func TestARingingWriterMayCommitWhileTheWorkerSleepsAgain(t *testing.T) {
	t.Parallel()
	d := setup(t)

	pgtest.Execute(t, d.writer, "begin; "+complete(1))
	if locks(t, d.bystander, "doorbell", shared) != 0 {
		t.Fatal("the writer is silent though the worker sleeps")
	}
	pgtest.Execute(t, d.bystander, "notify headway_doorbell")
	d.await(worker.Rung, worker.Asleep)
	pgtest.Execute(t, d.writer, "commit")
	d.await(worker.Rung, worker.Folded, worker.Asleep)
	d.finish()
}

func TestARingingWriterMayCommitWhileTheWorkerIsAwake(t *testing.T) {
	t.Parallel()
	d := setup(t)

	pgtest.Execute(t, d.writer, "begin; "+complete(1))
	release := d.awake()
	pgtest.Execute(t, d.writer, "commit")
	release()
	d.await(worker.Folded, worker.Asleep)
	d.finish()
}

func TestARingingWriterMayCommitBetweenTheLookAndTheWait(t *testing.T) {
	t.Parallel()
	d := setup(t)

	h := d.holdAt(worker.Asleep)
	pgtest.Execute(t, d.bystander, "notify headway_doorbell")
	await(t, "the worker to lie down", h.reached)
	pgtest.Execute(t, d.writer, complete(1))
	h.release()
	d.await(worker.Rung, worker.Folded, worker.Asleep)
	d.finish()
}

func TestARingingWriterMayCommitDuringTheLook(t *testing.T) {
	t.Parallel()
	d := setup(t)

	// A look that has taken its snapshot and then waits, for as long as somebody holds the lock 42.
	pgtest.Execute(t, d.bystander, `
		create or replace function headway.notify_mode() returns text language plpgsql volatile as $$
		begin
			if current_setting('application_name') = 'headway worker' then
				perform pg_advisory_xact_lock_shared(42);
			end if;
			return 'row';
		end $$`)
	pgtest.Execute(t, d.writer, "begin; "+complete(1))
	release := d.awake()
	pgtest.Execute(t, d.bystander, "select pg_advisory_lock(42)")
	d.forget()
	release()
	pgtest.Eventually(t, soon, func() bool { return advisoryWaits(t, d.bystander) == 1 }, "the worker does not look")
	pgtest.Execute(t, d.writer, "commit") // its bell is heard together with the answer that the queue is empty
	pgtest.Execute(t, d.bystander, "select pg_advisory_unlock(42)")
	d.await(worker.Rung, worker.Folded, worker.Asleep)
	d.finish()
}

func TestAWriterWhoRollsBackLeavesTheWorkerInPeace(t *testing.T) {
	t.Parallel()
	d := setup(t)

	// Silent.
	release := d.awake()
	pgtest.Execute(t, d.writer, "begin; "+complete(1))
	d.forget()
	release()
	d.await(worker.Refused)
	pgtest.Execute(t, d.writer, "rollback")
	d.await(worker.Asleep)

	// Ringing.
	pgtest.Execute(t, d.writer, "begin; "+complete(1)+"; rollback")
	// Silent, and only to a savepoint.
	release = d.awake()
	pgtest.Execute(t, d.writer, "begin; savepoint s; "+complete(1)+"; rollback to s; commit")
	release()
	d.await(worker.Asleep)

	if events := d.since(); slices.Contains(events, worker.Folded) {
		t.Errorf("something was folded: %q", events)
	}
	pgtest.Execute(t, d.writer, complete(1))
	d.await(worker.Rung, worker.Folded, worker.Asleep)
	d.finish()
}

// TestAFoldThatTakesLongToFindNothingIsNotRepeatedAtOnce: beside whoever loads much in one transaction, it steps over
// all that is not committed yet.
func TestAFoldThatTakesLongToFindNothingIsNotRepeatedAtOnce(t *testing.T) {
	t.Parallel()
	d := setup(t)

	pgtest.Execute(t, d.bystander, `
		create schema moved;
		alter function headway.fold set schema moved;
		create function headway.fold(max_facts integer default 1000) returns integer language plpgsql security definer as $$
		begin
			perform pg_sleep(0.2);
			return moved.fold(max_facts);
		end $$;
		grant execute on function headway.fold to public`)
	release := d.awake()
	pgtest.Execute(t, d.writer, "begin; "+complete(1)) // silent
	release()
	d.await(worker.Refused)
	if took := d.took(5, worker.Refused); took < 1800*time.Millisecond { // five folds, and as long without
		t.Errorf("the worker looked five times, 200 ms each, within %v", took)
	}
	pgtest.Execute(t, d.writer, "commit")
	d.await(worker.Folded, worker.Asleep)
	d.finish()
}

func TestAnOpenSilentTransactionKeepsNobodyWaiting(t *testing.T) {
	t.Parallel()
	d := setup(t)

	release := d.awake()
	pgtest.Execute(t, d.writer, "begin; "+complete(1))
	release()
	d.await(worker.Refused)
	for task := 2; task <= 10; task++ {
		d.forget()
		pgtest.Execute(t, d.bystander, complete(task))
		d.await(worker.Folded, worker.Refused)
		eventuallyFolded(t, d.bystander)
	}
	pgtest.Execute(t, d.writer, "commit")
	d.await(worker.Folded, worker.Asleep)
	d.finish()
}

func TestAProjectInSomebodysHandsWaitsAndTheOthersDoNot(t *testing.T) {
	t.Parallel()
	for _, hold := range []string{
		"select from headway.channel where name = 'project_1_staff' for update",
		"select from headway.shared_progress where project_id = 1 for update",
	} {
		t.Run(hold, func(t *testing.T) {
			t.Parallel()
			d := setup(t)
			percent := "select done from headway.progress where project_id = $1"

			pgtest.Execute(t, d.writer, "begin; "+hold)
			pgtest.Execute(t, d.bystander, complete(1))
			d.await(worker.Rung, worker.Deferred)
			pgtest.Execute(t, d.bystander, complete(501))
			d.await(worker.Folded)
			for project := 1; project <= 2; project++ {
				if done := value[int](t, d.bystander, percent, project); done != 1 {
					t.Errorf("project %d: %d tasks are done", project, done)
				}
			}
			if n := value[int](t, d.bystander, "select count(*) from headway.pending_fact where project_id = 1"); n != 1 {
				t.Errorf("%d facts of the held project wait", n)
			}
			pgtest.Execute(t, d.writer, "rollback")
			d.await(worker.Folded, worker.Asleep)
			d.finish()
		})
	}
}

func TestWhereNothingIsNotifiedTheWorkerPolls(t *testing.T) {
	t.Parallel()
	d := setup(t)

	pgtest.Execute(t, d.bystander, "select headway.set_setting('notify_payload', 'off'); notify headway_doorbell")
	d.await(worker.Silenced)
	// It does not even try for KEY, and so is not held here: a writer that it refuses would not ring, and be missed once
	// notifications are on again.
	trying := d.holdAt(worker.LyingDown)
	for task := 1; task <= 3; task++ {
		pgtest.Execute(t, d.writer, complete(task))
		d.await(worker.Folded, worker.Silenced)
		eventuallyFolded(t, d.bystander)
		if locks(t, d.bystander, "doorbell", anyMode) != 0 {
			t.Error("somebody holds KEY")
		}
	}
	pgtest.Execute(t, d.bystander, "select headway.set_setting('notify_payload', 'reference')")
	trying.release()
	d.await(worker.Asleep)
	pgtest.Execute(t, d.writer, complete(4))
	d.await(worker.Rung, worker.Folded, worker.Asleep)
	d.finish()
}

// deafen makes a database in which the first session that folds loses its subscriptions.
const deafen = `
create table public.deafened (pid integer);
create function public.deafen() returns trigger language plpgsql security definer set search_path = '' as $$
begin
	if not exists (select from public.deafened) then
		execute 'unlisten *';
		insert into public.deafened select pg_backend_pid();
	end if;
	return null;
end $$;
create trigger deafen after delete on headway.pending_fact for each statement execute function public.deafen()`

func TestALostSubscriptionIsNoticedAndMadeAnew(t *testing.T) {
	t.Parallel()
	d := setup(t, func(w *worker.Worker) { w.ProbeInterval, w.ProbeTimeout = 200*time.Millisecond, 5*time.Second })

	pgtest.Execute(t, d.bystander, deafen)
	pgtest.Execute(t, d.writer, complete(1))
	d.await(worker.Folded, worker.Asleep)
	pgtest.Execute(t, d.writer, complete(2)) // rings for nobody
	d.await(worker.Lost, worker.Leading, worker.Folded, worker.Asleep)
	pgtest.Execute(t, d.writer, complete(3))
	d.await(worker.Rung, worker.Folded, worker.Asleep)
	d.finish()
}

// TestWhoHearsThemselvesIsLeftInPeace has somebody else hear the worker notify itself.
func TestWhoHearsThemselvesIsLeftInPeace(t *testing.T) {
	t.Parallel()
	d := setup(t, func(w *worker.Worker) { w.ProbeInterval = 10 * time.Millisecond })
	ctx, cancel := context.WithTimeout(t.Context(), 2*soon)
	defer cancel()
	pgtest.Execute(t, d.bystander, "listen headway_probe_"+d.ID()[:8])
	for range 3 {
		if _, err := d.bystander.WaitForNotification(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if events := d.since(); slices.Contains(events, worker.Lost) {
		t.Errorf("it %v", events)
	}
}

func TestTheSafetyPollFindsWhatWasNotHeard(t *testing.T) {
	t.Parallel()
	d := setup(t, func(w *worker.Worker) { w.Config.PollInterval = 100 * time.Millisecond })

	pgtest.Execute(t, d.bystander, deafen)
	pgtest.Execute(t, d.writer, complete(1))
	// A poll may fold it before the bell is heard, which then ends one more sleep.
	d.await(worker.Folded, worker.Polled, worker.Asleep)
	pgtest.Execute(t, d.writer, complete(2)) // rings for nobody
	d.await(worker.Polled, worker.Folded)
	d.finish()
}

func TestFalseAlarmsAreAnsweredLessAndLessOften(t *testing.T) {
	t.Parallel()
	d := setup(t)

	ctx, stop := context.WithCancel(t.Context())
	var flood errgroup.Group
	flood.Go(func() error {
		for ctx.Err() == nil {
			if _, err := d.bystander.Exec(t.Context(), "notify headway_doorbell"); err != nil {
				return err
			}
		}
		return nil
	})
	for range 30 {
		d.await(worker.Rung)
	}
	if took := d.took(10, worker.Rung); took < 400*time.Millisecond { // ten pauses of 50 ms or more
		t.Errorf("ten false alarms were answered within %v", took)
	}
	pgtest.Execute(t, d.writer, complete(1))
	d.await(worker.Folded)
	stop()
	if err := flood.Wait(); err != nil {
		t.Error(err)
	}
	d.finish()
}

// TestNoFactWaitsForATimer has writers do what they like. Whenever they pause, everything must be folded soon, and the
// next timer is an hour away.
func TestNoFactWaitsForATimer(t *testing.T) {
	t.Parallel()
	d := setup(t)
	const writers, rounds = 6, 60

	conns := make([]*pgx.Conn, writers)
	for i := range conns {
		conns[i] = d.db.Conn(t)
	}
	for round := range rounds {
		seed := rand.Uint64()
		var group errgroup.Group
		for i, conn := range conns {
			random := rand.New(rand.NewPCG(seed, uint64(i)))
			group.Go(func() error {
				for range random.IntN(4) {
					if err := misbehave(t.Context(), conn, random); err != nil {
						return err
					}
				}
				return nil
			})
		}
		if err := group.Wait(); err != nil {
			t.Fatalf("round %d, seed %d: %v", round, seed, err)
		}
		eventuallyFolded(t, d.bystander)
		if t.Failed() {
			t.Fatalf("round %d, seed %d", round, seed)
		}
	}
	d.finish()
}

// misbehave is one transaction of a few changes, which ends in one way or another.
func misbehave(ctx context.Context, conn *pgx.Conn, random *rand.Rand) error {
	tasks := random.Perm(1000)[:1+random.IntN(3)]
	slices.Sort(tasks) // deadlocks are not the subject
	script := "begin;"
	for _, task := range tasks {
		switch random.IntN(6) {
		case 0:
			script += "savepoint s;" + complete(1+task) + "; rollback to s;"
		case 1:
			script += "select pg_sleep(0.002);"
		case 2:
			script += fmt.Sprintf("select headway.reopen_task(%d, 1);", 1+task)
		default:
			script += complete(1+task) + ";"
		}
	}
	if random.IntN(3) == 0 {
		script += "select pg_sleep(0.003);"
	}
	if random.IntN(5) == 0 {
		script += "rollback"
	} else {
		script += "commit"
	}
	if err := conn.PgConn().Exec(ctx, script).Close(); err != nil {
		return fmt.Errorf("%s: %w", script, err)
	}
	return nil
}

// TestWhoIsBehindFoldsMoreAtOnce has a thousand facts wait for a worker that folds ten.
func TestWhoIsBehindFoldsMoreAtOnce(t *testing.T) {
	t.Parallel()
	db := seeded(t)
	conn := db.Conn(t)
	pgtest.Execute(t, conn, `
		insert into headway.task (id, project_id, title) select i, 1, 'Task' from generate_series(1001, 2100) i;
		select headway.fold(100000);
		insert into headway.completion (task_id, user_id) select i, 1 from generate_series(1001, 2000) i`)
	w := start(t, config(t, db.WorkerURL()), func(w *worker.Worker) { w.MaxFacts = 10 })
	w.await(worker.Asleep)
	// 10, 20, 40, 80, and then 160 at a time.
	if folds := metric(t, w.Worker, "headway_fold_seconds"); folds < 10 || folds > 30 {
		t.Errorf("%v folds", folds)
	}
	// And, since the last one had fewer, 10, 20, 40 and the rest.
	w.forget()
	pgtest.Execute(t, conn, "insert into headway.completion (task_id, user_id) select i, 1 from generate_series(2001, 2100) i")
	eventuallyFolded(t, conn)
	w.stop()
	folded := slices.DeleteFunc(w.since(), func(e worker.Event) bool { return e != worker.Folded })
	if len(folded) != 4 {
		t.Errorf("once it has caught up, 100 are folded %d times", len(folded))
	}
}
