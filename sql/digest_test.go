package sql_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"golang.org/x/sync/errgroup"

	"headway/internal/pgtest"
)

// digestDB is a database in which Bob, Charlie and Dora (2, 3, 4) have something unread in two channels each: what
// Abe said hours ago in project_1, and what he has just said in broadcast.
func digestDB(t testing.TB) *pgtest.DB {
	t.Helper()
	db := pgtest.New(t)
	conn := db.Conn(t)
	pgtest.Execute(t, conn, `
		insert into headway.appuser (id, fullname, email) values
		  (1, 'Abe', null), (2, 'Bob', 'bob@example.com'), (3, 'Charlie', 'charlie@example.com'), (4, 'Dora', 'dora@example.com');
		insert into headway.project (id, name) values (1, 'Website');
		insert into headway.member (project_id, user_id, role)
		values (1, 1, 'staff'), (1, 2, 'customer'), (1, 3, 'customer'), (1, 4, 'customer');
		select headway.post(1, 'project_1', 'Hello');
		set session_replication_role = replica;
		update headway.message set sent_at = now() - interval '6 hours';
		set session_replication_role = origin;
		select headway.post(1, 'broadcast', 'Just now')`)
	return db
}

// begin starts a transaction that is rolled back when the test ends, if it is still open then.
func begin(t testing.TB, conn *pgx.Conn, level pgx.TxIsoLevel) pgx.Tx {
	t.Helper()
	tx, err := conn.BeginTx(t.Context(), pgx.TxOptions{IsoLevel: level})
	if err != nil {
		t.Fatal(err)
	}
	return tx
}

// finish commits or rolls back.
func finish(t testing.TB, tx pgx.Tx, commit bool) {
	t.Helper()
	end := tx.Rollback
	if commit {
		end = tx.Commit
	}
	if err := end(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// waits returns once a backend waits for a lock, and fails the test if it does not.
func waits(t testing.TB, watch *pgx.Conn, pid uint32) {
	t.Helper()
	pgtest.Eventually(t, 30*time.Second, func() bool {
		return value[bool](t, watch, "select cardinality(pg_blocking_pids($1)) > 0", pid)
	}, "nobody waits for a lock")
}

// impatient makes statements fail that would wait for a lock.
func impatient(t testing.TB, conn *pgx.Conn) {
	t.Helper()
	pgtest.Execute(t, conn, "set lock_timeout = '1ms'")
}

// noItemTwice fails the test if a message is in two digests of one person.
func noItemTwice(t testing.TB, conn *pgx.Conn) {
	t.Helper()
	if twice := value[int](t, conn, `
		select count(*)
		from headway.digest d
		join headway.digest_item i on i.digest_id = d.id
		join headway.digest e on e.user_id = d.user_id and e.id > d.id
		join headway.digest_item j on j.digest_id = e.id and j.channel = i.channel
		where j.from_seq <= i.through_seq and i.from_seq <= j.through_seq`); twice > 0 {
		t.Errorf("%d ranges are in two digests", twice)
	}
}

func TestTwoReservationsTakeEverythingOnce(t *testing.T) {
	t.Parallel()
	for _, level := range []pgx.TxIsoLevel{pgx.ReadCommitted, pgx.RepeatableRead, pgx.Serializable} {
		for _, commit := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, the first commits %v", level, commit), func(t *testing.T) {
				t.Parallel()
				db := digestDB(t)
				watch, first, second := db.Conn(t), db.Conn(t), db.Conn(t)
				pgtest.Execute(t, watch, "select headway.set_setting('digest_min_gap', '0')")
				tx := begin(t, first, level)
				if n := value[int](t, tx.Conn(), "select headway.reserve_digests()"); n != 3 {
					t.Fatalf("the first reserved %d", n)
				}
				result := make(chan error, 1)
				var reserved int
				go func() {
					tx, err := second.BeginTx(t.Context(), pgx.TxOptions{IsoLevel: level})
					if err == nil {
						err = errors.Join(tx.QueryRow(t.Context(), "select headway.reserve_digests()").Scan(&reserved), tx.Commit(t.Context()))
					}
					result <- err
				}()
				waits(t, watch, second.PgConn().PID())
				finish(t, tx, commit)
				err := <-result
				switch {
				case !commit && (err != nil || reserved != 3):
					t.Errorf("after a rollback the second reserved %d, %v", reserved, err)
				case commit && level == pgx.ReadCommitted && (err != nil || reserved != 0):
					t.Errorf("the second reserved %d, %v", reserved, err)
				case commit && level != pgx.ReadCommitted && reserved > 0 && code(err) != "40001":
					t.Errorf("with an old snapshot the second reserved %d, %v", reserved, err)
				}
				if n := value[int](t, watch, "select count(*) from headway.digest"); n != 3 {
					t.Errorf("%d digests", n)
				}
				noItemTwice(t, watch)
			})
		}
	}
}

// Nobody's transaction holds up a reservation, and a reservation holds up nobody's: whoever is reading, leaving or being
// deleted just now gets their mail the next time, and gets all of it then.
func TestReservationWaitsForNobody(t *testing.T) {
	t.Parallel()
	for name, statement := range map[string]string{
		"who is reading":                   "select headway.mark_read(2, 'project_1', 0)",
		"who is reading something else":    "select headway.mark_read(2, 'broadcast', 0)",
		"who is posting":                   "update headway.subscription set read_seq = read_seq where user_id = 2 and channel = 'project_1'",
		"who is muting":                    "select headway.mute(2, 'project_1')",
		"who is leaving":                   "delete from headway.member where user_id = 2",
		"who is being deleted, at first":   "select from headway.appuser where id = 2 for update",
		"whose channel is going, at first": "select from headway.channel where name in ('user_2') for update",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := digestDB(t)
			watch, other, reserver := db.Conn(t), db.Conn(t), db.Conn(t)
			// Something of one's own, so that a lock on the person's channel is one on what they have unread.
			pgtest.Execute(t, watch, `
				insert into headway.message (sender, channel, content, kind) values (1, 'user_2', 'Hello', 'task_assigned');
				set session_replication_role = replica;
				update headway.message set sent_at = now() - interval '6 hours' where channel = 'user_2'`)
			tx := begin(t, other, pgx.ReadCommitted)
			if _, err := tx.Exec(t.Context(), statement); err != nil {
				t.Fatal(err)
			}
			impatient(t, reserver)
			value[int](t, reserver, "select headway.reserve_digests()")
			if who := value[string](t, watch, "select string_agg(user_id::text, ' ' order by user_id) from headway.digest"); who != "3 4" {
				t.Errorf("reserved for %s", who)
			}
			_, err := reserver.Exec(t.Context(), "select headway.reserve_digest(2)")
			var pgErr *pgconn.PgError
			if !errors.As(err, &pgErr) || pgErr.Code != "55P03" || pgErr.Hint == "" {
				t.Errorf("by hand: %v", err)
			}
			finish(t, tx, false)
			value[int](t, reserver, "select headway.reserve_digests()")
			if items := value[string](t, watch, `
				select string_agg(i.channel, ' ' order by i.channel)
				from headway.digest_item i
				join headway.digest d on d.id = i.digest_id
				where d.user_id = 2`); items != "broadcast project_1 user_2" {
				t.Errorf("Bob got %s", items)
			}
		})
	}
}

// An application that deletes a project meets a reservation that has not committed, or the other way round: one may
// wait for the other, but they never wait for each other.
func TestReservationAndDeletionNeverDeadlock(t *testing.T) {
	t.Parallel()
	db := digestDB(t)
	watch, deleter, reserver := db.Conn(t), db.Conn(t), db.Conn(t)

	tx := begin(t, reserver, pgx.ReadCommitted)
	value[int](t, reserver, "select headway.reserve_digests()")
	result := make(chan error, 1)
	go func() {
		_, err := deleter.Exec(t.Context(), "delete from headway.project where id = 1")
		result <- err
	}()
	waits(t, watch, deleter.PgConn().PID())
	finish(t, tx, true)
	if err := <-result; err != nil {
		t.Fatal(err)
	}
	if n := value[int](t, watch, "select count(*) from headway.digest_item where channel = 'project_1'"); n != 0 {
		t.Errorf("%d items of a channel that is gone", n)
	}
	pgtest.Execute(t, watch, `
		select headway.mark_read(user_id, channel) from headway.subscription;
		select headway.claim_digest(gen_random_uuid())`)
	if states := value[string](t, watch, "select string_agg(distinct state, ' ') from headway.digest"); states != "read_before_sending" {
		t.Errorf("digests about nothing are %s", states)
	}
}

func TestTwoClaimsTakeDifferentDigests(t *testing.T) {
	t.Parallel()
	const claim = "select (headway.claim_digest(gen_random_uuid()) ->> 'digest_id')::bigint"
	for _, commit := range []bool{true, false} {
		t.Run(fmt.Sprintf("the first commits %v", commit), func(t *testing.T) {
			t.Parallel()
			db := digestDB(t)
			watch, first, second := db.Conn(t), db.Conn(t), db.Conn(t)
			value[int](t, watch, "select headway.reserve_digests(2)")
			impatient(t, second)
			tx := begin(t, first, pgx.ReadCommitted)
			one := value[int64](t, first, claim)
			two := value[int64](t, second, claim)
			if one == two {
				t.Errorf("both claimed %d", one)
			}
			if got := value[*int64](t, second, claim); got != nil {
				t.Errorf("a third was claimed: %d", *got)
			}
			finish(t, tx, commit)
			switch got := value[*int64](t, second, claim); {
			case commit && got != nil:
				t.Errorf("%d was claimed twice", *got)
			case !commit && (got == nil || *got != one):
				t.Errorf("%d was not given back", one)
			}
		})
	}
}

// What a worker says of a digest and what becomes of its person or its lease meet in any order.
func TestLastWordsMeetOtherChanges(t *testing.T) {
	t.Parallel()
	const (
		sent   = "select headway.digest_sent(1)"
		failed = "select headway.digest_failed(1, '11111111-1111-1111-1111-111111111111', 'refused', '550 bob@example.com is unknown')"
		later  = "select headway.digest_failed(1, '11111111-1111-1111-1111-111111111111', 'retry', '450 bob@example.com is busy')"
		forget = "select headway.forget_user(2)"
		drop   = "select headway.claim_digest(gen_random_uuid())"
	)
	for _, c := range []struct {
		first, second string
		state         string
	}{
		{sent, forget, "sent"},
		{forget, sent, "sent"},
		{failed, forget, "failed"},
		{forget, failed, "failed"},
		{later, forget, "cancelled"},
		{forget, later, "cancelled"},
		{sent, failed, "sent"},
		{failed, sent, "sent"},
		{sent, sent, "sent"},
		{sent, drop, "sent"},
		{failed, drop, "failed"},
	} {
		t.Run(c.first+" then "+c.second, func(t *testing.T) {
			t.Parallel()
			db := digestDB(t)
			watch, one, two := db.Conn(t), db.Conn(t), db.Conn(t)
			pgtest.Execute(t, watch, `
				select headway.reserve_digest(2);
				select headway.claim_digest('11111111-1111-1111-1111-111111111111');
				select headway.freeze_digest(1, '11111111-1111-1111-1111-111111111111', 'bob@example.com', 'Dear Bob');
				update headway.digest set lease_until = now() - interval '1 second'`)
			tx := begin(t, one, pgx.ReadCommitted)
			if _, err := tx.Exec(t.Context(), c.first); err != nil {
				t.Fatal(err)
			}
			result := make(chan error, 1)
			go func() {
				_, err := two.Exec(t.Context(), c.second)
				result <- err
			}()
			if c.second != drop { // which skips what is locked
				waits(t, watch, two.PgConn().PID())
				finish(t, tx, true)
			}
			if err := <-result; err != nil {
				t.Fatal(err)
			}
			if c.second == drop {
				finish(t, tx, true)
			}
			// A retry ends with the next claim.
			pgtest.Execute(t, watch, "update headway.digest set next_attempt_at = now(); "+drop)
			if state := value[string](t, watch, "select state from headway.digest"); state != c.state {
				t.Errorf("it is %s, not %s", state, c.state)
			}
			erased := value[bool](t, watch, "select mail is null and recipient is null and d::text not like '%bob%' from headway.digest d")
			if forgotten := c.first == forget || c.second == forget; erased != forgotten {
				t.Errorf("its mail is erased: %v", erased)
			}
		})
	}
}

// TestWhoseMailMovesOnIsReservedWithTheOthers sets everybody's cursors to the end, as after an import, once a reservation has
// read them.
func TestWhoseMailMovesOnIsReservedWithTheOthers(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	worker, other := db.Conn(t), db.Conn(t)
	pgtest.Execute(t, other, unmailed)
	redefine(t, other, "headway.reserve(bigint[], boolean)", `where n\.user_id = any \(reserve\.user_ids\)`,
		"$0 and (select pg_advisory_xact_lock_shared(42)::text) is not null")
	pgtest.Execute(t, other, "select pg_advisory_lock(42)")
	reserved := start(t.Context(), worker, "select headway.reserve_digests()")
	reserved.waits(t, other, worker)
	pgtest.Execute(t, other, `
		insert into headway.message (sender, channel, content) select min(s.user_id), s.channel, 'Hello' from headway.subscription s group by s.channel;
		update headway.subscription s set read_seq = c.last_seq, mailed_seq = c.last_seq from headway.channel c where c.name = s.channel`)
	pgtest.Execute(t, other, "select pg_advisory_unlock(42)") // only when that is committed
	if err := reserved.wait(t); err != nil {
		t.Error(err)
	}
	if back := value[int](t, other, "select count(*) from headway.subscription s join headway.channel c on c.name = s.channel where s.mailed_seq < c.last_seq"); back > 0 {
		t.Errorf("%d cursors are back", back)
	}
}

// TestNoItemIsInTwoDigests has people post, read and mute while several workers reserve, claim, freeze, confirm and
// fail, all at random and at once. Whatever happens, nothing is in two digests and no attempt goes
// uncounted.
func TestNoItemIsInTwoDigests(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	db := digestDB(t)
	pool, watch := db.Pool(t), db.Conn(t)
	pgtest.Execute(t, watch, `
		select headway.set_setting('digest_after', '1 microsecond'), headway.set_setting('digest_min_gap', '0')`)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	group, ctx := errgroup.WithContext(ctx)
	var began [6]map[int64]int // attempts by each worker, by digest
	for worker := range began {
		began[worker] = map[int64]int{}
		random := rand.New(rand.NewPCG(seed, uint64(worker)))
		group.Go(func() error {
			for range 150 {
				digest, err := something(ctx, pool, random, worker)
				if err != nil {
					return err
				}
				began[worker][digest]++
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	noItemTwice(t, watch)
	digests := value[int](t, watch, "select count(*) from headway.digest")
	t.Logf("%d digests, %s", digests, value[string](t, watch, "select jsonb_object_agg(state, n)::text from (select state, count(*) n from headway.digest group by state) s"))
	if digests < 10 {
		t.Error("that proves little")
	}
	rows, err := watch.Query(t.Context(), "select id, attempts, mail is not null from headway.digest")
	if err != nil {
		t.Fatal(err)
	}
	var id int64
	var attempts int
	var frozen bool
	if _, err = pgx.ForEachRow(rows, []any{&id, &attempts, &frozen}, func() error {
		want := 0
		for _, by := range began {
			want += by[id]
		}
		if attempts != want || frozen && attempts == 0 {
			t.Errorf("digest %d: %d attempts are on record, %d were begun; it has a mail: %v", id, attempts, want, frozen)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if gaps := value[int](t, watch, `
		select count(*)
		from (
		  select i.from_seq, lag(i.through_seq) over (partition by d.user_id, i.channel order by d.id) as before
		  from headway.digest_item i
		  join headway.digest d on d.id = i.digest_id
		) i
		where i.from_seq <= i.before`); gaps > 0 {
		t.Errorf("%d ranges go back", gaps)
	}
}

// something does one random thing that somebody might do, and returns of which digest that began an attempt, or 0.
func something(ctx context.Context, pool interface {
	Exec(ctx context.Context, sql string, arguments ...any) (pgconn.CommandTag, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}, random *rand.Rand, worker int) (began int64, err error) {
	id := fmt.Sprintf("%08d-1111-1111-1111-111111111111", worker)
	user, channel := 1+random.IntN(4), []string{"project_1", "broadcast"}[random.IntN(2)]
	switch random.IntN(8) {
	case 0, 1:
		_, err = pool.Exec(ctx, "select headway.post($1, $2, 'Hello')", user, channel)
	case 2:
		_, err = pool.Exec(ctx, "select headway.mark_read($1, $2)", user, channel)
	case 3:
		_, err = pool.Exec(ctx, "select headway.mute($1, $2, $3)", user, channel, random.IntN(4) == 0)
	case 4:
		_, err = pool.Exec(ctx, "select headway.reserve_digests(2)")
	case 5:
		// Time passes; it waits for nobody, or two of these could wait for each other.
		_, err = pool.Exec(ctx, `
			update headway.digest set lease_until = now() - interval '1 second', next_attempt_at = now()
			where id in (
			  select d.id from headway.digest d where d.state in ('reserved', 'sending') and random() < 0.3 for update skip locked
			)`)
	default:
		var digest *int64
		var address, frozen *string
		err = pool.QueryRow(ctx, "select (c ->> 'digest_id')::bigint, c ->> 'email', c ->> 'mail' from headway.claim_digest($1, '1 hour') c", id).Scan(&digest, &address, &frozen)
		if err != nil || digest == nil {
			break
		}
		if random.IntN(5) == 0 {
			_, err = pool.Exec(ctx, "select headway.release_digest($1, $2)", *digest, id)
			return 0, err
		}
		var mail []byte
		if frozen == nil {
			mail = []byte("mail")
		} else {
			address = nil
		}
		var begun bool
		err = pool.QueryRow(ctx, "select headway.freeze_digest($1, $2, $3, $4)", *digest, id, address, mail).Scan(&begun)
		if begun {
			began = *digest
		}
		if err == nil && random.IntN(2) == 0 {
			if _, err = pool.Exec(ctx, "select headway.digest_sent($1)", *digest); code(err) == "55000" {
				err = nil // it was not frozen, since the person has muted the channel
			}
		} else if err == nil {
			_, err = pool.Exec(ctx, "select headway.digest_failed($1, $2, $3, 'so it goes')", *digest, id, []string{"retry", "rejected", "unknown"}[random.IntN(3)])
		}
	}
	return began, err
}
