package sql_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"headway/internal/pgtest"
	"headway/internal/sqlstate"
)

const patience = 20 * time.Second

// code returns the SQLSTATE of an error, the text of one that is not the server's; empty for none.
func code(err error) string {
	if err == nil {
		return ""
	}
	return cmp.Or(sqlstate.Of(err), err.Error())
}

// started is a statement that may have to wait for another transaction.
type started struct {
	done chan struct{}
	err  error
}

func start(ctx context.Context, conn *pgx.Conn, statement string) *started {
	s := &started{done: make(chan struct{})}
	go func() {
		defer close(s.done)
		_, s.err = conn.PgConn().Exec(ctx, statement).ReadAll()
	}()
	return s
}

func (s *started) returned() bool {
	select {
	case <-s.done:
		return true
	default:
		return false
	}
}

// wait waits until the statement is done and returns its error.
func (s *started) wait(t testing.TB) error {
	t.Helper()
	pgtest.Eventually(t, patience, s.returned, "a statement does not return")
	return s.err
}

// waits waits until the statement waits for a lock, and fails the test if it is done before that.
func (s *started) waits(t testing.TB, watcher, conn *pgx.Conn) {
	t.Helper()
	if !s.settles(t, watcher, conn) {
		t.Fatalf("a statement that should have waited is done: %v", s.err)
	}
}

// settles waits until the statement is done or waits for a lock, and says whether it waits.
func (s *started) settles(t testing.TB, watcher, conn *pgx.Conn) (waiting bool) {
	t.Helper()
	pgtest.Eventually(t, patience, func() bool {
		if s.returned() {
			return true
		}
		waiting = value[bool](t, watcher, "select cardinality(pg_blocking_pids($1)) > 0", conn.PgConn().PID())
		return waiting
	}, "a statement neither returns nor waits")
	return waiting
}

// exact fails the test where progress differs from a recount.
func exact(t testing.TB, conn *pgx.Conn, when string) {
	t.Helper()
	if err := compare(t.Context(), conn); err != nil {
		t.Fatalf("%s: %v", when, err)
	}
}

// changes are the ways in which a project changes under somebody.
var changes = map[string]string{
	"complete shared":         "insert into headway.completion (task_id, user_id) values (1, 1)",
	"complete shared, too":    "insert into headway.completion (task_id, user_id) values (1, 3)",
	"complete individual":     "insert into headway.completion (task_id, user_id) values (10, 1)",
	"complete assigned":       "insert into headway.completion (task_id, user_id) values (4, 1)",
	"complete again":          "insert into headway.completion (task_id, user_id) values (7, 1) on conflict do nothing",
	"reopen":                  "delete from headway.completion where task_id = 7",
	"reopen everything":       "delete from headway.completion",
	"weigh":                   "update headway.task set weight = weight + 5 where id in (1, 7, 10)",
	"make individual":         "update headway.task set shared = false where id in (1, 7)",
	"make shared":             "update headway.task set shared = true where id = 10",
	"make assigned":           "update headway.task set audience = 'assigned' where id in (1, 7, 10)",
	"make for everyone":       "update headway.task set audience = 'everyone' where id = 4",
	"assign":                  "insert into headway.assignment (task_id, user_id) values (1, 1), (4, 4), (7, 1)",
	"unassign":                "delete from headway.assignment where task_id = 4 and user_id in (1, 2)",
	"assign somebody else":    "update headway.assignment set user_id = 4 where task_id = 4 and user_id = 1",
	"join":                    "insert into headway.member (project_id, user_id, role) values (2, 2, 'customer')",
	"join or become customer": "insert into headway.member (project_id, user_id, role) values (2, 2, 'customer'), (2, 5, 'customer') on conflict (project_id, user_id) do update set role = excluded.role",
	"leave":                   "delete from headway.member where project_id = 2 and user_id in (1, 3)",
	"become staff":            "update headway.member set role = 'staff' where project_id = 2 and user_id = 1",
	"add tasks":               "insert into headway.task (id, project_id, title, weight) values (13, 2, 'New', 7), (16, 2, 'New', 7)",
	"add a hundred tasks":     "insert into headway.task (id, project_id, title) select n, 2, 'New' from generate_series(201, 301) n",
	"delete tasks":            "delete from headway.task where id in (1, 4, 10)",
	"delete the project":      "delete from headway.project where id = 2",
	"truncate completions":    "truncate headway.completion",
	"truncate members":        "truncate headway.member",
}

// TestAnyTwoChangesAtOnce runs pairs of changes in two open transactions, commits them in either order, and folds and
// compares at every step between. With HEADWAY_TEST_THOROUGH it takes all the changes, else those that meet most often.
func TestAnyTwoChangesAtOnce(t *testing.T) {
	t.Parallel()
	names := []string{
		"complete shared", "complete individual", "complete assigned", "reopen", "weigh", "make individual", "unassign", "leave",
		"delete tasks", "delete the project",
	}
	if os.Getenv("HEADWAY_TEST_THOROUGH") != "" {
		names = slices.Sorted(maps.Keys(changes))
	}
	for _, isolation := range []string{"read committed", "repeatable read"} {
		t.Run(isolation, func(t *testing.T) {
			t.Parallel()
			db := pgtest.New(t)
			a, b, other := db.Conn(t), db.Conn(t), db.Conn(t)
			for _, conn := range []*pgx.Conn{a, b} {
				pgtest.Execute(t, conn, "set deadlock_timeout = '10ms'; set default_transaction_isolation = '"+isolation+"'")
			}
			// Whatever holds up the fold holds up everybody's bar.
			pgtest.Execute(t, other, "set lock_timeout = '5s'; set deadlock_timeout = '10ms'")

			pgtest.Execute(t, other, arrange)
			const again = `
				delete from headway.project;
				delete from headway.pending_fact;
				insert into headway.project (id, name) values (2, 'Project');
				insert into headway.member (project_id, user_id, role)
				select 2, n, case when n = 5 then 'staff' else 'customer' end from generate_series(1, 5) n where n <> 2;
				insert into headway.task (id, project_id, title, weight, shared, audience)
				select n, 2, 'Task', n, n <> 10, case when n = 4 then 'assigned' else 'everyone' end from generate_series(1, 10, 3) n;
				insert into headway.assignment (task_id, user_id) values (4, 1), (4, 2), (4, 3);
				insert into headway.completion (task_id, user_id) values (7, 1), (10, 3);
				select headway.fold(), headway.fold()`

			var waited, refused int
			for i, one := range names {
				for _, two := range names[i:] {
					for _, order := range []string{"first commits first", "second commits first", "second begins, and commits first"} {
						first, second, secondCommitsFirst := one, two, order == "second commits first"
						if order == "second begins, and commits first" {
							first, second = two, one
						}
						if isolation != "read committed" && strings.Contains(first+second, "truncate") {
							continue // refused
						}
						pair := fmt.Sprintf("%q and %q, %s", one, two, order)
						folds := !strings.Contains(first+second, "truncate") // which locks the whole table
						fold := func() {
							if folds {
								pgtest.Execute(t, other, "select headway.fold(2)")
								exact(t, other, pair)
							}
						}
						pgtest.Execute(t, other, again)

						pgtest.Execute(t, a, "begin; select from headway.task limit 1")
						pgtest.Execute(t, b, "begin; select from headway.task limit 1")
						pgtest.Execute(t, a, changes[first])
						fold()
						statement := start(t.Context(), b, changes[second])
						waiting := statement.settles(t, other, b)
						fold()
						var errA, errB error
						switch {
						case waiting:
							waited++
							_, errA = a.Exec(t.Context(), "commit")
							errB = errors.Join(statement.wait(t), end(t, b, statement.err))
						case secondCommitsFirst:
							errB = errors.Join(statement.err, end(t, b, statement.err))
							fold()
							_, errA = a.Exec(t.Context(), "commit")
						default:
							_, errA = a.Exec(t.Context(), "commit")
							fold()
							errB = errors.Join(statement.err, end(t, b, statement.err))
						}
						for _, err := range []error{errA, errB} {
							if err != nil && !expected(err, "") {
								t.Fatalf("%s: %v", pair, err)
							}
							if err != nil {
								refused++
							}
						}
						exact(t, other, pair+", committed")
						for value[int](t, other, "select headway.fold(3)") > 0 {
							exact(t, other, pair+", folding")
						}
						exact(t, other, pair+", folded")
						if left := value[int](t, other, "select count(*) from headway.pending_fact"); left > 0 {
							t.Fatalf("%s: %d facts are left", pair, left)
						}
					}
				}
			}
			t.Logf("%d pairs waited for each other, %d changes were refused", waited, refused)
		})
	}
}

// end commits, or rolls back what failed.
func end(t testing.TB, conn *pgx.Conn, failed error) error {
	t.Helper()
	how := "commit"
	if failed != nil {
		how = "rollback"
	}
	_, err := conn.Exec(t.Context(), how)
	return err
}

func TestTwoHalvesOfACycle(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ isolation, want string }{
		{"read committed", "23514"},
		{"repeatable read", "40001"},
		{"serializable", "40001"},
	} {
		t.Run(test.isolation, func(t *testing.T) {
			t.Parallel()
			db := pgtest.New(t)
			a, b, other := db.Conn(t), db.Conn(t), db.Conn(t)
			pgtest.Execute(t, other, `insert into headway.project (id, name) values (1, 'Website');
				insert into headway.task (id, project_id, title) select n, 1, 'Task' from generate_series(1, 3) n;
				insert into headway.prerequisite (task_id, requires_id) values (1, 2)`)

			for _, conn := range []*pgx.Conn{a, b} {
				pgtest.Execute(t, conn, "begin isolation level "+test.isolation+"; select from headway.prerequisite")
			}
			pgtest.Execute(t, a, "insert into headway.prerequisite (task_id, requires_id) values (2, 3)")
			second := start(t.Context(), b, "insert into headway.prerequisite (task_id, requires_id) values (3, 1)")
			second.waits(t, other, b)
			pgtest.Execute(t, a, "commit")
			if got := code(second.wait(t)); got != test.want {
				t.Errorf("the second half: %q, not %s", got, test.want)
			}
		})
	}
}

func TestSeqOrderIsCommitOrder(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	a, b, reader := db.Conn(t), db.Conn(t), db.Conn(t)
	pgtest.Execute(t, reader, "insert into headway.appuser (id, fullname) values (1, 'Abe'), (2, 'Bob'); select headway.open_channel('elsewhere', null, array[2])")
	since := func(seq int) []string {
		rows, err := reader.Query(t.Context(), "select content from headway.messages_since('broadcast', $1)", seq)
		if err != nil {
			t.Fatal(err)
		}
		contents, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			t.Fatal(err)
		}
		return contents
	}

	pgtest.Execute(t, a, "begin; select headway.post(1, 'broadcast', 'early')")
	pgtest.Execute(t, b, "begin; select headway.post(2, 'elsewhere', 'Another channel does not wait')")
	late := start(t.Context(), b, "select headway.post(2, 'broadcast', 'late')")
	late.waits(t, reader, b)
	if got := since(0); len(got) > 0 {
		t.Errorf("before the first commits: %q", got)
	}
	pgtest.Execute(t, a, "commit")
	if err := late.wait(t); err != nil {
		t.Fatal(err)
	}
	if got := since(0); !slices.Equal(got, []string{"early"}) {
		t.Errorf("before the second commits: %q", got)
	}
	pgtest.Execute(t, b, "commit")
	if got := since(1); !slices.Equal(got, []string{"late"}) {
		t.Errorf("after the first: %q", got)
	}

	// What is rolled back takes no number with it.
	pgtest.Execute(t, a, "begin; select headway.post(1, 'broadcast', 'never')")
	next := start(t.Context(), b, "select headway.post(2, 'broadcast', 'third')")
	next.waits(t, reader, b)
	pgtest.Execute(t, a, "rollback")
	if err := next.wait(t); err != nil {
		t.Fatal(err)
	}
	if got := since(2); !slices.Equal(got, []string{"third"}) {
		t.Errorf("after a rollback: %q", got)
	}
}

// TestAReaderNeverSkipsAMessage follows a channel by its cursor while others post, fold and roll back.
func TestAReaderNeverSkipsAMessage(t *testing.T) {
	t.Parallel()
	const posters, each = 4, 60
	db := pgtest.New(t)
	reader := db.Conn(t)
	pgtest.Execute(t, reader, `insert into headway.appuser (id, fullname) select n, 'Person' from generate_series(1, 4) n;
		insert into headway.project (id, name) values (1, 'Website');
		insert into headway.member (project_id, user_id, role) select 1, n, 'staff' from generate_series(2, 4) n;
		insert into headway.member (project_id, user_id, role) values (1, 1, 'customer');
		insert into headway.task (id, project_id, title) select n, 1, 'Task' from generate_series(1, 60) n`)

	var posting sync.WaitGroup
	var over atomic.Bool
	for poster := range posters {
		conn := db.Conn(t)
		posting.Go(func() {
			for n := range each {
				statement := fmt.Sprintf("begin; select headway.post(%d, 'project_1_staff', 'x'); select pg_sleep(0.001 * %d); %s",
					poster+1, n%3, map[bool]string{true: "rollback", false: "commit"}[n%5 == 0])
				if poster == 0 {
					statement = fmt.Sprintf("insert into headway.completion (task_id, user_id) values (%d, 1); select headway.fold()", n+1)
				}
				if _, err := conn.PgConn().Exec(t.Context(), statement).ReadAll(); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	folder := db.Conn(t)
	go func() {
		defer over.Store(true)
		posting.Wait()
		// While somebody posted to the staff, there was nothing to fold.
		if _, err := folder.Exec(t.Context(), "select headway.fold()"); err != nil {
			t.Error(err)
		}
	}()

	last := 0
	for finished := false; !finished; {
		finished = over.Load() // and then read once more
		rows, err := reader.Query(t.Context(), "select seq from headway.messages_since('project_1_staff', $1, 5)", last)
		if err != nil {
			t.Fatal(err)
		}
		page, err := pgx.CollectRows(rows, pgx.RowTo[int])
		if err != nil {
			t.Fatal(err)
		}
		for _, seq := range page {
			if seq != last+1 {
				t.Fatalf("after %d comes %d", last, seq)
			}
			last = seq
		}
		finished = finished && len(page) == 0
	}
	if want := (posters-1)*each*4/5 + each; last != want {
		t.Errorf("%d messages, not %d", last, want)
	}
}

func TestTwoPeopleCompleteASharedTaskAtOnce(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	a, b, other := db.Conn(t), db.Conn(t), db.Conn(t)
	pgtest.Execute(t, other, `insert into headway.appuser (id, fullname) values (1, 'Abe'), (2, 'Bob');
		insert into headway.project (id, name) values (1, 'Website');
		insert into headway.member (project_id, user_id, role) values (1, 1, 'customer'), (1, 2, 'customer');
		insert into headway.task (id, project_id, title) values (1, 1, 'Send the logo');
		select headway.fold()`)
	done := func(want int, when string) {
		t.Helper()
		exact(t, other, when)
		pgtest.Execute(t, other, "select headway.fold()")
		exact(t, other, when+", folded")
		if got := value[int](t, other, "select done from headway.progress where user_id = 1"); got != want {
			t.Errorf("%s: done is %d, not %d", when, got, want)
		}
	}

	pgtest.Execute(t, a, "begin; select headway.complete_task(1, 1)")
	pgtest.Execute(t, b, "begin; select headway.complete_task(1, 2)")
	done(0, "nothing is committed")
	pgtest.Execute(t, b, "commit")
	done(1, "one is committed")
	pgtest.Execute(t, a, "commit")
	done(1, "both are committed")
	pgtest.Execute(t, a, "begin; delete from headway.completion where user_id = 1")
	pgtest.Execute(t, b, "begin; delete from headway.completion where user_id = 2")
	pgtest.Execute(t, a, "commit")
	done(1, "one is reopened")
	pgtest.Execute(t, b, "commit")
	done(0, "both are reopened")

	// The same person from two devices: one of them waits, and completes nothing.
	pgtest.Execute(t, a, "begin; select headway.complete_task(1, 1)")
	twice := start(t.Context(), b, "select headway.complete_task(1, 1)")
	twice.waits(t, other, b)
	pgtest.Execute(t, a, "commit")
	if err := twice.wait(t); err != nil {
		t.Error(err)
	}
	done(1, "twice by one person")
}

// TestTheFoldWaitsForNobody holds the rows that a fold would write in open transactions, and expects the other projects
// to be folded meanwhile, and the one in question afterwards.
func TestTheFoldWaitsForNobody(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		open    string
		gone    bool // the project is deleted
		refused bool // when it is committed, for what was told meanwhile
	}{
		"a project is being deleted":                 {open: "delete from headway.project where id = 1", gone: true},
		"somebody posts to the staff":                {open: "select headway.post(4, 'project_1_staff', 'A long story')"},
		"somebody posts to those it concerns":        {open: "select headway.post(1, 'user_1', 'A note'), headway.post(2, 'user_2', 'A note')"},
		"a person is locked":                         {open: "select from headway.appuser for update"},
		"a person is being deleted":                  {open: "delete from headway.appuser where id = 5", refused: true},
		"a task, a member, an assignment are locked": {open: "select from headway.task, headway.member, headway.assignment for update"},
		"the project is being archived":              {open: "update headway.project set archived_at = now() where id = 1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := pgtest.New(t)
			a, other := db.Conn(t), db.Conn(t)
			pgtest.Execute(t, other, `insert into headway.appuser (id, fullname) select n, 'Person' from generate_series(1, 5) n;
				insert into headway.project (id, name) values (1, 'Website'), (2, 'Shop');
				insert into headway.member (project_id, user_id, role) select p, u, case when u > 3 then 'staff' else 'customer' end
				from generate_series(1, 2) p, generate_series(1, 5) u where u < 5 or p = 1;
				insert into headway.task (id, project_id, title, audience, shared) values
				  (1, 1, 'One', 'everyone', true), (2, 1, 'Two', 'assigned', false), (3, 1, 'Three', 'everyone', true), (4, 2, 'Four', 'everyone', true);
				insert into headway.completion (task_id, user_id) values (3, 1);
				select headway.fold();
				insert into headway.completion (task_id, user_id) values (1, 1), (4, 1);
				select set_config('headway.actor', '5', false);
				delete from headway.completion where task_id = 3;
				insert into headway.assignment (task_id, user_id) values (2, 1), (2, 2)`)
			pgtest.Execute(t, a, "begin; "+test.open)

			pgtest.Execute(t, other, "set statement_timeout = '15s'")
			for value[int](t, other, "select headway.fold(1)") > 0 {
				exact(t, other, "folding")
			}
			if got := value[int](t, other, "select done from headway.shared_progress where project_id = 2"); got != 1 {
				t.Errorf("the other project is not folded")
			}
			if _, err := a.Exec(t.Context(), "commit"); (err != nil) != test.refused {
				t.Errorf("its commit ends with %v", err)
			}
			for value[int](t, other, "select headway.fold(1)") > 0 {
				exact(t, other, "folding afterwards")
			}
			exact(t, other, "in the end")
			if left := value[int](t, other, "select count(*) from headway.pending_fact"); left > 0 {
				t.Errorf("%d facts are left", left)
			}
			told := value[int](t, other, "select count(*) from headway.message where kind <> 'chat' and data @> '{\"project_id\": 1}' and channel ~ '^user_'")
			if want := map[bool]int{false: 3, true: 0}[test.gone]; told != want {
				t.Errorf("%d were told, not %d", told, want)
			}
		})
	}
}

func TestFoldsDoNotOverlap(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	a, b, other := db.Conn(t), db.Conn(t), db.Conn(t)
	pgtest.Execute(t, other, arrange)
	pgtest.Execute(t, a, "begin; select headway.fold(1)")
	second := start(t.Context(), b, "select headway.fold()")
	second.waits(t, other, b)
	exact(t, other, "while one fold waits for another")
	pgtest.Execute(t, a, "rollback")
	if err := second.wait(t); err != nil {
		t.Fatal(err)
	}
	exact(t, other, "in the end")
}

func TestMarkSeenFromTwoDevices(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	a, b, other := db.Conn(t), db.Conn(t), db.Conn(t)
	pgtest.Execute(t, other, `insert into headway.appuser (id, fullname) values (1, 'Abe'), (2, 'Bob');
		insert into headway.message (id, sender, channel, content) select n, 1, 'broadcast', 'Message' from generate_series(1, 6) n`)
	cursor := func() int {
		return value[int](t, other, "select read_seq from headway.subscription where channel = 'broadcast' and user_id = 2")
	}

	for _, test := range []struct {
		first, second string
		want          int
	}{
		{"select headway.mark_seen(2, '{1}')", "select headway.mark_seen(2, '{2}')", 2},
		{"select headway.mark_seen(2, '{4}')", "select headway.mark_seen(2, '{3}')", 4},
		{"select headway.mark_seen(2, '{6}')", "select headway.mark_read(2, 'broadcast', 5)", 6},
	} {
		pgtest.Execute(t, a, "begin; "+test.first)
		second := start(t.Context(), b, test.second)
		second.waits(t, other, b)
		pgtest.Execute(t, a, "commit")
		if err := second.wait(t); err != nil {
			t.Fatal(err)
		}
		if got := cursor(); got != test.want {
			t.Errorf("%s while %s: the cursor is at %d, not %d", test.second, test.first, got, test.want)
		}
		if left := value[int](t, other, "select count(*) from headway.seen"); left > 0 {
			t.Errorf("%s while %s: %d marks are left", test.second, test.first, left)
		}
	}
}

// TestWhoWaitsToPostHoldsUpNobody posts while the same person is marking read, leaves, or has their project deleted.
func TestWhoWaitsToPostHoldsUpNobody(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	one, two, other := db.Conn(t), db.Conn(t), db.Conn(t)
	for _, conn := range []*pgx.Conn{one, two, other} {
		pgtest.Execute(t, conn, "set deadlock_timeout = '10ms'; set lock_timeout = '20s'")
	}
	pgtest.Execute(t, other, `insert into headway.appuser (id, fullname) values (1, 'Abe'), (2, 'Bob'), (3, 'Charlie');
		insert into headway.project (id, name) values (1, 'Website'), (2, 'Garden');
		insert into headway.member (project_id, user_id, role) select p, u, 'customer' from generate_series(1, 2) p, generate_series(1, 3) u;
		select headway.post(1, 'project_1', 'Hello')`)

	// Another window of somebody who is answering.
	pgtest.Execute(t, one, "begin; select headway.mark_read(2, 'project_1'); select headway.mark_seen(2, '{1}')")
	pgtest.Execute(t, two, "select headway.post(2, 'project_1', 'From my telephone')")
	pgtest.Execute(t, one, "select headway.post(2, 'project_1', 'From my desk'); commit")
	if left := value[int](t, other, "select count(*) from headway.unread where user_id = 2"); left > 0 {
		t.Error("Bob has not read what he wrote")
	}

	// Somebody leaves, and that is said, while they write.
	pgtest.Execute(t, one, "begin; delete from headway.member where project_id = 1 and user_id = 2")
	late := start(t.Context(), two, "select headway.post(2, 'project_1', 'Goodbye')")
	late.waits(t, other, two)
	pgtest.Execute(t, one, "select headway.post(1, 'project_1', 'Bob has left'); commit")
	if got := code(late.wait(t)); got != "42501" {
		t.Errorf("Bob posts after he has left: %q", got)
	}

	// A project goes while Charlie's subscription to it is in use.
	pgtest.Execute(t, other, "begin; select from headway.subscription where channel = 'project_2' and user_id = 3 for key share")
	remove := start(t.Context(), one, "delete from headway.project where id = 2")
	remove.waits(t, db.Conn(t), one)
	post := start(t.Context(), two, "select headway.post(3, 'project_2', 'Who waters it?')")
	if got := code(post.wait(t)); got != "" {
		t.Errorf("Charlie waits, and is told %s", got)
	}
	pgtest.Execute(t, other, "commit")
	if err := remove.wait(t); err != nil {
		t.Errorf("the project is still there: %v", err)
	}
}

func TestWhoLeavesIsNotAddedToAChannel(t *testing.T) {
	t.Parallel()
	const leave, open = "delete from headway.member where user_id = 2", "select headway.open_channel('design_review', 1, array[1, 2])"
	for _, test := range []struct{ first, second, want string }{{leave, open, "P0002"}, {open, leave, ""}} {
		db := pgtest.New(t)
		a, b, other := db.Conn(t), db.Conn(t), db.Conn(t)
		pgtest.Execute(t, other, `insert into headway.appuser (id, fullname) values (1, 'Abe'), (2, 'Bob');
			insert into headway.project (id, name) values (1, 'Website');
			insert into headway.member (project_id, user_id, role) values (1, 1, 'staff'), (1, 2, 'staff')`)
		pgtest.Execute(t, a, "begin; "+test.first)
		second := start(t.Context(), b, test.second)
		second.waits(t, other, b)
		pgtest.Execute(t, a, "commit")
		if got := code(second.wait(t)); got != test.want {
			t.Errorf("%s while %s: %q, not %q", test.second, test.first, got, test.want)
		}
		if value[bool](t, other, "select exists (select from headway.subscription where user_id = 2 and channel ~ 'project|design')") {
			t.Errorf("%s while %s: Bob reads on", test.second, test.first)
		}
	}
}

// TestWhoLeavesInAnOlderSnapshotDoesNotReadOn leaves while a channel is opened that the snapshot does not show.
func TestWhoLeavesInAnOlderSnapshotDoesNotReadOn(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	a, other := db.Conn(t), db.Conn(t)
	pgtest.Execute(t, other, `insert into headway.appuser (id, fullname) values (1, 'Abe'), (2, 'Bob');
		insert into headway.project (id, name) values (1, 'Website');
		insert into headway.member (project_id, user_id, role) values (1, 1, 'staff'), (1, 2, 'customer')`)
	pgtest.Execute(t, a, "begin isolation level repeatable read; select from headway.member")
	pgtest.Execute(t, other, "select headway.open_channel('design_review', 1, array[1, 2])")
	if _, err := a.Exec(t.Context(), "delete from headway.member where user_id = 2"); code(err) != "40001" {
		t.Errorf("%q, not 40001", code(err))
	}
}

// TestWhoComesBackAsACustomerIsNoStaff joins in a snapshot that still shows the membership that is gone.
func TestWhoComesBackAsACustomerIsNoStaff(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	a, other := db.Conn(t), db.Conn(t)
	pgtest.Execute(t, other, `insert into headway.appuser (id, fullname) values (1, 'Abe');
		insert into headway.project (id, name) values (1, 'Website');
		insert into headway.member (project_id, user_id, role) values (1, 1, 'staff')`)
	pgtest.Execute(t, a, "begin isolation level repeatable read; select from headway.member")
	pgtest.Execute(t, other, "delete from headway.member")
	_, err := a.Exec(t.Context(), "insert into headway.member (project_id, user_id, role) values (1, 1, 'customer')")
	if err == nil {
		pgtest.Execute(t, a, "commit")
	} else if code(err) != "40001" {
		t.Fatal(err)
	}
	if value[bool](t, other, "select exists (select from headway.subscription where channel = 'project_1_staff')") {
		t.Error("a customer reads the staff channel")
	}
}

func TestTruncateIsRefusedWhereItWouldGoUnnoticed(t *testing.T) {
	t.Parallel()
	for _, isolation := range []string{"repeatable read", "serializable"} {
		db := pgtest.New(t)
		a, other := db.Conn(t), db.Conn(t)
		pgtest.Execute(t, a, "begin isolation level "+isolation+"; select from pg_catalog.pg_class limit 1")
		pgtest.Execute(t, other, arrange+"; select headway.fold(), headway.fold()")
		_, err := a.Exec(t.Context(), "truncate headway.task cascade")
		if code(err) != "0A000" {
			t.Errorf("%s: %q, not 0A000", isolation, code(err))
		}
		pgtest.Execute(t, a, "rollback")
		exact(t, other, isolation)
	}
}

// TestTriggersDoNotLookAround has everything that a caller can put in the way of a name: tables, types, functions and
// operators, before and after pg_catalog.
func TestTriggersDoNotLookAround(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"evil, pg_catalog", "pg_temp, evil, pg_catalog", "pg_catalog, evil", ""} {
		db := pgtest.New(t)
		conn, other := db.Conn(t), db.Conn(t)
		pgtest.Execute(t, conn, `create schema evil;
			create function evil.fails(text) returns text language plpgsql as $$ begin raise exception 'looked around: %', $1; end $$;
			create function evil.differs(bigint, bigint) returns boolean language sql as 'select evil.fails(''an operator'') is null';
			create operator evil.= (leftarg = bigint, rightarg = bigint, function = evil.differs);
			create operator evil.<> (leftarg = bigint, rightarg = bigint, function = evil.differs);
			create function evil.concat(text, bigint) returns text language sql as 'select evil.fails(''||'')';
			create operator evil.|| (leftarg = text, rightarg = bigint, function = evil.concat)`)
		for _, function := range []string{
			"now()", "clock_timestamp()", "pg_notify(text, text)", "pg_try_advisory_xact_lock_shared(bigint)", "pg_advisory_xact_lock(bigint)",
			"current_setting(text, boolean)", "octet_length(text)", "lower(text)", "to_json(anyelement)", "pg_notification_queue_usage()", "substr(text, integer)",
		} {
			pgtest.Execute(t, conn, "create function evil."+function+" returns text language sql as 'select evil.fails(''a function'')'")
		}
		for _, table := range []string{
			"appuser", "project", "member", "task", "assignment", "prerequisite", "completion", "pending_fact", "shared_progress",
			"personal_progress", "channel", "subscription", "message", "seen", "setting", "new_rows", "old_rows", "recount", "pending_effect",
		} {
			pgtest.Execute(t, conn, "create temp table "+table+" (mine int); create table evil."+table+" (mine int)")
		}
		for _, typeName := range []string{"text", "int8", "bool", "json", "jsonb", "timestamptz", "fact_kind"} {
			pgtest.Execute(t, conn, "create type pg_temp."+typeName+" as (mine int); create type evil."+typeName+" as (mine int)")
		}
		pgtest.Execute(t, conn, "set search_path = "+map[bool]string{true: "''", false: path}[path == ""])

		pgtest.Execute(t, conn, `
			insert into headway.appuser (id, fullname) values (1, 'Abe'), (2, 'Bob');
			insert into headway.project (id, name) values (1, 'Website'), (2, 'Shop');
			insert into headway.member (project_id, user_id, role) values (1, 1, 'customer'), (1, 2, 'staff'), (2, 2, 'customer');
			update headway.member set role = 'customer';
			insert into headway.task (id, project_id, title) values (1, 1, 'One'), (2, 1, 'Two'), (3, 2, 'Three');
			update headway.task set weight = 3;
			insert into headway.assignment (task_id, user_id) values (1, 1), (2, 2);
			update headway.assignment set user_id = 2;
			insert into headway.prerequisite (task_id, requires_id) values (2, 1);
			update headway.prerequisite set requires_id = 1;
			insert into headway.completion (task_id, user_id) values (1, 1), (2, 1), (3, 2);
			update headway.completion set completed_at = completed_at;
			insert into headway.message (sender, channel, content) values (1, 'project_1', 'Hello');
			update headway.subscription set muted = true;
			update headway.setting set value = 'reference' where name = 'notify_payload'`)
		exact(t, other, "path "+path)
		// The worker has a path of its own, a person at psql may have any.
		pgtest.Execute(t, conn, "select headway.fold()")
		exact(t, other, "path "+path+", folded")
		if left := value[int](t, other, "select count(*) from headway.pending_fact"); left > 0 {
			t.Errorf("path %q: %d facts are left", path, left)
		}
		pgtest.Execute(t, conn, `
			delete from headway.completion where task_id = 2;
			delete from headway.assignment;
			delete from headway.task where id = 2;
			delete from headway.member where user_id = 2;
			delete from headway.project where id = 2;
			truncate headway.completion;
			truncate headway.task cascade;
			truncate headway.member`)
		exact(t, other, "path "+path+", deleted")
		for _, refused := range []string{
			"update headway.message set content = 'x'", "truncate headway.message", "delete from headway.channel", "delete from headway.setting",
			"update headway.subscription set read_seq = -1",
		} {
			if _, err := conn.Exec(t.Context(), refused); err == nil || strings.Contains(err.Error(), "looked around") {
				t.Errorf("path %q: %s: %v", path, refused, err)
			}
		}
	}
}
