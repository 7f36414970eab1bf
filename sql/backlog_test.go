package sql_test

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"headway/internal/pgtest"
)

// TestABacklogCostsTheSameHoweverLongItIs reads how much is unread, and moves the cursor a little, where a person is
// behind by some messages and where they are behind by very many, and compares how many blocks that takes: whatever the
// planner expects, whoever asks.
func TestABacklogCostsTheSameHoweverLongItIs(t *testing.T) {
	t.Parallel()
	conn := unattended(t).Conn(t)
	// Abe has written everything, so that of messages by others the planner expects none.
	pgtest.Execute(t, conn, `
		insert into headway.appuser (id, fullname) values (1, 'Abe'), (2, 'Bob');
		insert into headway.project (id, name) select p, 'Garden' from generate_series(1, 50) p;
		insert into headway.member (project_id, user_id, role)
		select p.id, 1, 'staff' from headway.project p union all select p.id, 2, 'customer' from headway.project p where p.id <= 2;
		select headway.fold()`)
	// As the triggers would leave it.
	write := func(channel, from, through string) {
		pgtest.Execute(t, conn, fmt.Sprintf(`
			set session_replication_role = replica;
			insert into headway.message (sender, channel, content, seq)
			select 1, c.name, 'Message ' || n, n from headway.channel c, generate_series(%s, %s) n where c.name %s;
			update headway.channel set last_seq = %[2]s where name %[3]s;
			reset session_replication_role`, from, through, channel))
	}
	write(`~ '^project_\d+$'`, "1", "20")
	pgtest.Execute(t, conn, "analyze")
	write("= 'project_1'", "21", "3000")
	write("= 'project_2'", "21", "120000")

	for _, statistics := range []string{"of before", "fresh"} {
		if statistics == "fresh" {
			pgtest.Execute(t, conn, "vacuum analyze")
		}
		for _, role := range []string{"none", "headway_user"} {
			for _, plans := range []string{"force_custom_plan", "force_generic_plan"} {
				t.Run(fmt.Sprintf("statistics %s, role %s, %s", statistics, role, plans), func(t *testing.T) {
					for name, query := range map[string]string{
						"unread":    "select u.messages from headway.unread u where u.user_id = 2 and u.channel = $1",
						"mark_read": "select headway.mark_read(2, $1, 10)",
					} {
						some := blocks(t, conn, role, plans, query, "project_1")
						many := blocks(t, conn, role, plans, query, "project_2")
						if some == 0 || many > 2*some {
							t.Errorf("%s reads %.0f blocks of a short backlog and %.0f of a long one", name, some, many)
						}
					}
				})
			}
		}
	}
}

// blocks returns how many blocks a query with one argument touches, asked by person 2, and takes back what it did.
func blocks(t *testing.T, conn *pgx.Conn, role, plans, query, argument string) (n float64) {
	t.Helper()
	pgtest.Execute(t, conn, fmt.Sprintf(`
		begin;
		set local plan_cache_mode = %s;
		set local role %s;
		select set_config('headway.user_id', '2', true);
		prepare asked (text) as %s;
		execute asked ('%s')`, plans, role, query, argument))
	defer pgtest.Execute(t, conn, "deallocate asked; rollback")
	n = math.Inf(1)
	for range 3 { // one may have to read the catalog again, of a table that was vacuumed meanwhile
		n = min(n, pages(t, conn, fmt.Sprintf("execute asked ('%s')", argument)))
	}
	return n
}

// TestManyRowsAtOnceCostNoMoreEach changes ten thousand rows in one statement, in a session that has changed one before, by
// whose plan each would be compared with each: that takes dozens of times as long as to insert them.
func TestManyRowsAtOnceCostNoMoreEach(t *testing.T) {
	t.Parallel()
	conn := unattended(t).Conn(t)
	pgtest.Execute(t, conn, `insert into headway.appuser (id, fullname) select n, 'Person' from generate_series(1, 10000) n;
		insert into headway.project (id, name) values (1, 'Project');
		insert into headway.member (project_id, user_id, role) select 1, n, 'customer' from generate_series(1, 10000) n`)
	took := func(statement string) time.Duration {
		began := time.Now()
		pgtest.Execute(t, conn, statement)
		return time.Since(began)
	}
	inserted := took("insert into headway.task (id, project_id, title, shared) select n, 1, 'Task', false from generate_series(1, 10000) n")
	pgtest.Execute(t, conn, `insert into headway.completion (task_id, user_id) select n, n from generate_series(1, 10000) n;
		insert into headway.assignment (task_id, user_id) select 1, n from generate_series(1, 10000) n;
		select headway.fold(100000)`)
	for one, many := range map[string]string{
		"update headway.task set weight = 2 where id = 1":                      "update headway.task set weight = weight + 1",
		"update headway.task set title = 'One' where id = 1":                   "update headway.task set title = 'Task'",
		"update headway.completion set completed_at = now() where task_id = 1": "update headway.completion set completed_at = now()",
		// The second time, what the first one has to tell is waiting.
		"update headway.task set audience = 'assigned' where id = 1": "update headway.task set audience = 'everyone' where id = 1; update headway.task set audience = 'assigned' where id = 1",
	} {
		pgtest.Execute(t, conn, one)
		if updated := took(many); updated > 10*inserted {
			t.Errorf("%s takes %v, to insert ten thousand tasks %v", many, updated, inserted)
		}
	}
	pgtest.Execute(t, conn, "select headway.fold(100000)")
	if n := value[int](t, conn, "select count(*) from headway.message where kind = 'task_assigned'"); n != 10_000 {
		t.Errorf("%d assignments were told", n)
	}

	// By all of a project at once, a shared task is completed once, and in whichever order. Folding that takes a quarter of
	// the time of inserting it; a dozen times as long where each fact is compared with each completion.
	pgtest.Execute(t, conn, `insert into headway.appuser (id, fullname) select n, 'Person' from generate_series(10001, 20000) n;
		insert into headway.member (project_id, user_id, role) select 1, n, 'customer' from generate_series(10001, 20000) n;
		insert into headway.task (id, project_id, title, shared) values (20001, 1, 'Shared', true), (20002, 1, 'Shared', true);
		select headway.fold(100000)`)
	for _, completions := range []string{
		"insert into headway.completion (task_id, user_id) select 20001, n from generate_series(1, 20000) n",
		"insert into headway.completion (task_id, user_id) select 20002, n from generate_series(20000, 1, -1) n",
	} {
		completed := took(completions)
		if folded := took("select headway.fold(100000)"); folded > 4*completed {
			t.Errorf("what takes %v to insert takes %v to fold: %s", completed, folded, completions)
		}
	}
	if n := value[int](t, conn, "select count(*) from headway.message where kind = 'task_completed' and task_id > 20000"); n != 2 {
		t.Errorf("%d completions of two shared tasks were told", n)
	}
}

// TestBusyProjectsAreSteppedOver folds while somebody else holds two thousand projects, each with some facts in the queue.
func TestBusyProjectsAreSteppedOver(t *testing.T) {
	t.Parallel()
	db := unattended(t)
	conn, other := db.Conn(t), db.Conn(t)
	pgtest.Execute(t, conn, "insert into headway.project (id, name) select n, 'Project' from generate_series(1, 2001) n")
	took := func(statement string) time.Duration {
		began := time.Now()
		pgtest.Execute(t, conn, statement)
		return time.Since(began)
	}
	queued := took("insert into headway.pending_fact (kind, project_id, task_id) select 'task_added', p, p from generate_series(1, 2001) p, generate_series(1, 30) order by p")
	pgtest.Execute(t, other, "begin; select from headway.shared_progress where project_id <= 2000 for update")
	folded := took("select headway.fold()")
	t.Logf("%v to write, %v to fold", queued, folded)
	if folded > 8*queued {
		t.Errorf("past the facts of two thousand busy projects, which took %v to write, it takes %v to fold others", queued, folded)
	}
	pgtest.Execute(t, other, "rollback")
	if n := value[int](t, conn, "select count(*) from headway.pending_fact where project_id = 2001"); n != 0 {
		t.Errorf("%d facts are left of a project that is not busy", n)
	}
}

// TestCheckingIsNotCompiled asks whether headway.verify() may be compiled: for a plan that large, it takes seconds.
func TestCheckingIsNotCompiled(t *testing.T) {
	t.Parallel()
	if !value[bool](t, pgtest.New(t).Conn(t), "select coalesce(p.proconfig, '{}') @> '{jit=off}' from pg_catalog.pg_proc p where p.oid = 'headway.verify()'::regprocedure") {
		t.Error("it may")
	}
}
