package sql_test

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"

	"headway/internal/pgtest"
)

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

	// Another window of somebody who is answering, and has read nothing and then everything.
	for range 2 {
		pgtest.Execute(t, one, "begin; select headway.mark_read(2, 'project_1'); select headway.mark_seen(2, '{1}')")
		pgtest.Execute(t, two, "select headway.post(2, 'project_1', 'From my telephone')")
		pgtest.Execute(t, one, "select headway.post(2, 'project_1', 'From my desk'); commit")
		pgtest.Execute(t, other, "select headway.mark_read(2, 'project_1')")
	}
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

// TestRepairSubscribesNobodyWhoIsLeaving repairs while a person of the staff leaves or becomes a customer, with their
// subscriptions still there and with none.
func TestRepairSubscribesNobodyWhoIsLeaving(t *testing.T) {
	t.Parallel()
	for _, leave := range []string{"update headway.member set role = 'customer' where user_id = 2", "delete from headway.member where user_id = 2"} {
		for _, before := range []string{"select", "delete from headway.subscription where user_id = 2"} {
			db := pgtest.New(t)
			a, b, other := db.Conn(t), db.Conn(t), db.Conn(t)
			pgtest.Execute(t, other, `insert into headway.appuser (id, fullname) values (1, 'Abe'), (2, 'Bob');
				insert into headway.project (id, name) values (1, 'Website');
				insert into headway.member (project_id, user_id, role) values (1, 1, 'staff'), (1, 2, 'staff')`)
			pgtest.Execute(t, other, before)
			pgtest.Execute(t, a, "begin; "+leave)
			repair := start(t.Context(), b, "select headway.repair()")
			repair.settles(t, other, b)
			pgtest.Execute(t, a, "commit")
			if err := repair.wait(t); err != nil {
				t.Error(err)
			}
			wrong := value[[]string](t, other, `
				select array(
				  select s.channel from headway.subscription s
				  where s.user_id = 2 and s.channel ~ '^project' and not exists (
				    select from headway.member m where m.user_id = 2 and (m.role = 'staff' or s.channel = 'project_1')
				  )
				)`)
			if len(wrong) > 0 {
				t.Errorf("after %s, %s: Bob reads %v", before, leave, wrong)
			}
		}
	}
}

// TestAChannelCatchesUpWithWhatIsPostedMeanwhile repairs one that is behind its messages while somebody posts to it.
func TestAChannelCatchesUpWithWhatIsPostedMeanwhile(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	a, b, other := db.Conn(t), db.Conn(t), db.Conn(t)
	pgtest.Execute(t, other, `insert into headway.appuser (id, fullname) values (1, 'Abe');
		select headway.post(1, 'broadcast', 'One'), headway.post(1, 'broadcast', 'Two');
		set session_replication_role = replica; update headway.channel set last_seq = 0 where name = 'broadcast'; reset session_replication_role`)
	pgtest.Execute(t, a, "begin; select headway.post(1, 'broadcast', 'Three')")
	repair := start(t.Context(), b, "select headway.repair()")
	repair.waits(t, other, b)
	pgtest.Execute(t, a, "commit")
	if err := repair.wait(t); err != nil {
		t.Error(err)
	}
	if last := value[int](t, other, "select last_seq from headway.channel where name = 'broadcast'"); last != 3 {
		t.Errorf("the last one is %d", last)
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
