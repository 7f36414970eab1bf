package sql_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"golang.org/x/sync/errgroup"
	"pgregory.net/rapid"

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
	for worker := range 6 {
		random := rand.New(rand.NewPCG(seed, uint64(worker)))
		group.Go(func() error {
			for range 150 {
				if err := something(ctx, pool, random, worker); err != nil {
					return err
				}
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
	if wrong := value[int](t, watch, `
		select count(*) from headway.digest where (attempts = 0) <> (mail is null) and state <> 'cancelled'`); wrong > 0 {
		t.Errorf("%d digests were frozen without an attempt, or tried without being frozen", wrong)
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

// something does one random thing that somebody might do.
func something(ctx context.Context, pool interface {
	Exec(ctx context.Context, sql string, arguments ...any) (pgconn.CommandTag, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}, random *rand.Rand, worker int) error {
	id := fmt.Sprintf("%08d-1111-1111-1111-111111111111", worker)
	user, channel := 1+random.IntN(4), []string{"project_1", "broadcast"}[random.IntN(2)]
	var err error
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
		switch {
		case random.IntN(5) == 0:
			_, err = pool.Exec(ctx, "select headway.release_digest($1, $2)", *digest, id)
			return err
		case frozen == nil:
			_, err = pool.Exec(ctx, "select headway.freeze_digest($1, $2, $3, 'mail')", *digest, id, address)
		default:
			_, err = pool.Exec(ctx, "select headway.freeze_digest($1, $2, null, null)", *digest, id)
		}
		if err == nil && random.IntN(2) == 0 {
			_, err = pool.Exec(ctx, "select headway.digest_sent($1)", *digest)
		} else if err == nil {
			_, err = pool.Exec(ctx, "select headway.digest_failed($1, $2, $3, 'so it goes')", *digest, id, []string{"retry", "rejected", "unknown"}[random.IntN(3)])
		}
	}
	return err
}

// TestExplainAgreesWithWhoIsDue draws random people with random settings, channels and digests and compares what
// headway.explain_digest() says of them with what headway.due_digests() finds, now and at the moments that it names,
// which are often close to a change of clocks.
func TestExplainAgreesWithWhoIsDue(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	conn := db.Conn(t)
	zones := []string{"UTC", "Europe/Lisbon", "America/New_York", "Asia/Beirut", "Australia/Lord_Howe", "Asia/Kathmandu"}
	changes := map[string][]time.Time{"UTC": {time.Now()}, "Asia/Kathmandu": {time.Now()}}
	for _, zone := range zones {
		rows, err := conn.Query(t.Context(), `
			select h
			from generate_series(date_trunc('hour', now()), now() + interval '400 days', interval '30 minutes') h
			where h at time zone $1 - (h - interval '30 minutes') at time zone $1 <> interval '30 minutes'`, zone)
		if err != nil {
			t.Fatal(err)
		}
		found, err := pgx.CollectRows(rows, pgx.RowTo[time.Time])
		if err != nil {
			t.Fatal(err)
		}
		changes[zone] = append(changes[zone], found...)
	}

	said := map[string]int{}
	person := func(r *rapid.T) {
		tx, err := conn.Begin(r.Context())
		if err != nil {
			r.Fatal(err)
		}
		defer func() { _ = tx.Rollback(r.Context()) }()
		do := func(statement string, args ...any) {
			if _, err := tx.Exec(r.Context(), statement, args...); err != nil {
				r.Fatalf("%s %v: %v", statement, args, err)
			}
			r.Logf("%s %v", statement, args)
		}
		// Everything happens on whole minutes, as people are told.
		var now time.Time
		if err := tx.QueryRow(r.Context(), "select date_trunc('minute', now())").Scan(&now); err != nil {
			r.Fatal(err)
		}
		do("insert into headway.appuser (id, fullname) values (1, 'Abe')")
		do("insert into headway.project (id, name) values (1, 'Website')")
		minutes := func(name string, from, through int) time.Duration {
			return time.Duration(rapid.IntRange(from, through).Draw(r, name)) * time.Minute
		}
		zone := rapid.SampledFrom(zones).Draw(r, "zone")
		do("insert into headway.appuser (id, fullname, email, time_zone) values (2, 'Bob', 'bob@example.com', $1)", zone)
		do("insert into headway.member (project_id, user_id, role) values (1, 1, 'staff'), (1, 2, 'customer')")
		do("select headway.set_setting('digest_after', $1)", fmt.Sprintf("%d minutes", rapid.SampledFrom([]int{1, 60, 240}).Draw(r, "digest_after")))
		do("select headway.set_setting('digest_min_gap', $1)", fmt.Sprintf("%d minutes", rapid.SampledFrom([]int{0, 60, 600}).Draw(r, "digest_min_gap")))

		oldest := now
		for range rapid.IntRange(1, 4).Draw(r, "messages") {
			channel := rapid.SampledFrom([]string{"project_1", "broadcast"}).Draw(r, "channel")
			sender := rapid.SampledFrom([]int{1, 1, 1, 2}).Draw(r, "sender")
			at := now.Add(-minutes("age", 0, 600))
			if at.Before(oldest) {
				oldest = at
			}
			do("select headway.post($1, $2, 'Hello')", sender, channel)
			do("set local session_replication_role = replica")
			// Within a channel, later messages are younger.
			do(`update headway.message m
				set sent_at = greatest($1, (select max(e.sent_at) from headway.message e where e.channel = m.channel and e.seq < m.seq))
				where m.id = (select max(id) from headway.message)`, at)
			do("set local session_replication_role = origin")
		}
		switch rapid.IntRange(0, 9).Draw(r, "digest_after of Bob") {
		case 0, 1:
			do("update headway.appuser set digest_after = $1 where id = 2", minutes("delay", 1, 900))
		case 2, 3, 4, 5:
			near := rapid.SampledFrom(changes[zone]).Draw(r, "change").Truncate(time.Minute).Add(minutes("around it", -180, 180))
			if delay := near.Sub(oldest); delay > 0 {
				do("update headway.appuser set digest_after = $1 where id = 2", delay)
			}
		}
		if rapid.IntRange(0, 2).Draw(r, "quiet hours") > 0 {
			from := rapid.IntRange(0, 1439).Draw(r, "quiet from")
			until := (from + rapid.IntRange(1, 1439).Draw(r, "quiet for")) % 1440
			do("update headway.appuser set quiet_from = $1::text::time, quiet_until = $2::text::time where id = 2",
				fmt.Sprintf("%02d:%02d", from/60, from%60), fmt.Sprintf("%02d:%02d", until/60, until%60))
		}
		if rapid.IntRange(0, 2).Draw(r, "earlier digest") == 0 {
			created := now.Add(-minutes("created", 0, 700))
			state := rapid.SampledFrom([]string{"reserved", "sent", "sent", "sent", "read_before_sending", "failed", "held", "cancelled"}).Draw(r, "state")
			var sent *time.Time
			if state == "sent" {
				at := created.Add(min(minutes("sent after", 0, 100), now.Sub(created)))
				sent = &at
			}
			do("insert into headway.digest (user_id, state, created_at, sent_at) values (2, $1, $2, $3)", state, created, sent)
		}
		for range rapid.SampledFrom([]int{0, 0, 1, 2}).Draw(r, "changes") {
			switch rapid.IntRange(0, 7).Draw(r, "what else") {
			case 0:
				do("update headway.appuser set email = null where id = 2")
			case 1:
				do("update headway.appuser set mail_suspended_at = now(), mail_suspended_reason = '550' where id = 2")
			case 2:
				do("update headway.subscription set muted = true where user_id = 2 and channel = 'project_1'")
			case 3:
				do("update headway.subscription set muted = true where user_id = 2 and channel = 'broadcast'")
			case 4:
				do("update headway.subscription s set read_seq = c.last_seq from headway.channel c where c.name = s.channel and s.user_id = 2 and s.channel = 'project_1'")
			case 5:
				do("select headway.mark_seen(2, array(select id from headway.message order by id limit 1))")
			case 6:
				do("update headway.subscription set mailed_seq = read_seq + 1 where user_id = 2 and channel = 'broadcast'" +
					" and read_seq < (select last_seq from headway.channel where name = 'broadcast')")
			default:
				do("delete from headway.member where user_id = 2")
			}
		}

		rows, err := tx.Query(r.Context(), "select explanation from headway.explain_digest(2)")
		if err != nil {
			r.Fatal(err)
		}
		explanations, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			r.Fatal(err)
		}
		r.Logf("%q", explanations)
		due := func(at string, args ...any) bool {
			var due bool
			if err := tx.QueryRow(r.Context(), "select exists (select from headway.due_digests("+at+") d where d.user_id = 2)", args...).Scan(&due); err != nil {
				r.Fatal(err)
			}
			return due
		}
		dueNow := slices.ContainsFunc(explanations, func(e string) bool { return strings.HasPrefix(e, "mail is due now") })
		if got := due("now()"); got != dueNow {
			r.Fatalf("who is due says %v", got)
		}
		for _, explanation := range explanations {
			rest, later := strings.CutPrefix(explanation, "mail is due at ")
			if !later {
				continue
			}
			if dueNow {
				r.Fatal("now and later")
			}
			said["later"]++
			// The clock may show it twice: one of them is when it begins.
			if !due("$1::text::timestamp at time zone $2", rest[:16], zone) {
				r.Fatalf("nothing is due then")
			}
			var early bool
			if err := tx.QueryRow(r.Context(), `
				select bool_and(exists (select from headway.due_digests(c.at - interval '1 microsecond') d where d.user_id = 2))
				from (
				  select ($1::text::timestamp at time zone $2) - o.earlier as at
				  from unnest(array['0', '30 minutes', '1 hour']::interval[]) o (earlier)
				) c
				where to_char(c.at at time zone $2, 'YYYY-MM-DD HH24:MI') = $1`, rest[:16], zone).Scan(&early); err != nil {
				r.Fatal(err)
			}
			if early {
				r.Fatalf("it is due already before that")
			}
			if strings.Contains(rest, "quiet hours") {
				said["after quiet hours"]++
			}
		}
		if dueNow {
			said["now"]++
			var reserved int
			if err := tx.QueryRow(r.Context(), "select headway.reserve_digests()").Scan(&reserved); err != nil || reserved != 1 {
				r.Fatalf("reserved %d, %v", reserved, err)
			}
		} else if !slices.ContainsFunc(explanations, func(e string) bool { return strings.HasPrefix(e, "mail is due at") }) {
			said["never"]++
			if due("now() + interval '3 years'") {
				r.Fatal("it is due some day")
			}
		}
	}
	for rounds := 0; rounds < 3 || rounds < 30 && len(said) < 4; rounds++ {
		rapid.Check(t, person)
	}
	t.Logf("%v", said)
	for _, what := range []string{"now", "later", "after quiet hours", "never"} {
		if said[what] == 0 {
			t.Errorf("nobody was told %q: that proves little", what)
		}
	}
}

// TestAClockThatWasWrongIsMadeUpFor runs what docs/operations.md has an operator run.
func TestAClockThatWasWrongIsMadeUpFor(t *testing.T) {
	t.Parallel()
	manual, err := os.ReadFile("../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(manual), "\n## A clock that was wrong\n")
	_, block, _ := strings.Cut(section, "```sql\n")
	statements, _, found := strings.Cut(block, "```")
	if !found {
		t.Fatal("there are no statements")
	}

	conn := pgtest.New(t).Conn(t)
	pgtest.Execute(t, conn, `
		insert into headway.appuser (id, fullname, email) select n, 'Person', 'person@example.com' from generate_series(1, 4) n;
		insert into headway.project (id, name) values (1, 'Project');
		insert into headway.member (project_id, user_id, role) select 1, n, 'customer' from generate_series(1, 4) n;
		select headway.post(1, 'project_1', 'Hello');
		select headway.reserve_digest(2), headway.reserve_digest(3);
		select headway.post(1, 'project_1', 'Hello again');
		set session_replication_role = replica;
		update headway.message set sent_at = now() + interval '7 hours';
		update headway.digest set next_attempt_at = now() + interval '1 year' where user_id = 3;
		reset session_replication_role;
		set role headway_owner`)
	pgtest.Execute(t, conn, statements)
	if n := value[int](t, conn, "select headway.digests_to_send()"); n != 2 { // one of them is new
		t.Errorf("%d digests can be sent now", n)
	}
	if !value[bool](t, conn, "select max(next_attempt_at) <= now() + interval '5 hours' from headway.digest") {
		t.Error("one is put off for a year")
	}
}
