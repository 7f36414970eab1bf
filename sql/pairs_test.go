package sql_test

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"headway/internal/pgtest"
)

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
