package sql_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"

	"headway/internal/pgtest"
)

// sends runs statements one after the other, whatever becomes of them, and returns the last one's error. They are sent
// as they are: poolers know no prepared statements.
func sends(t *testing.T, conn *pgx.Conn, statements ...string) (err error) {
	t.Helper()
	for _, statement := range statements {
		_, err = conn.PgConn().Exec(t.Context(), statement).ReadAll()
	}
	return err
}

// pooled are the ways for clients to share one connection to the server: one after the other in a pool of size 1, or
// through PgBouncer in transaction mode.
var pooled = map[string]func(t *testing.T, db *pgtest.DB) (a, b *pgx.Conn){
	"in a pool": func(t *testing.T, db *pgtest.DB) (a, b *pgx.Conn) {
		conn := db.Conn(t)
		return conn, conn
	},
	"through PgBouncer": func(t *testing.T, db *pgtest.DB) (a, b *pgx.Conn) {
		url := db.PgBouncer(t)
		connect := func() *pgx.Conn {
			conn, err := pgx.Connect(t.Context(), url)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { conn.Close(context.WithoutCancel(t.Context())) })
			return conn
		}
		return connect(), connect()
	},
}

// one returns the one value, as text, of the last statement.
func one(t *testing.T, conn *pgx.Conn, statements string) string {
	t.Helper()
	results, err := conn.PgConn().Exec(t.Context(), statements).ReadAll()
	if err != nil {
		t.Fatalf("%s: %v", statements, err)
	}
	return string(results[len(results)-1].Rows[0][0])
}

const (
	// asAbe begins what a gateway does for each request.
	asAbe = "begin; set local role headway_user; select set_config('headway.user_id', '1', true)"

	// asNobody forgets to say who it is for.
	asNobody = "begin; set local role headway_user"

	findsTasks = "select count(*) from headway.task"
)

// TestIdentityEndsWithItsTransaction has one client leave something behind, in every way that a transaction ends, and
// the next one on the same connection look for it.
func TestIdentityEndsWithItsTransaction(t *testing.T) {
	t.Parallel()
	for way, connect := range pooled {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			db := neighbours(t)
			a, b := connect(t, db)
			for what, statements := range map[string][]string{
				"committed":                     {asAbe, "select headway.mark_read(1, 'project_1')", "commit"},
				"rolled back":                   {asAbe, "select headway.mark_read(1, 'project_1')", "rollback"},
				"failed and committed":          {asAbe, "select 1 / 0", "commit"},
				"failed and rolled back":        {asAbe, "insert into headway.task (project_id, title) values (1, 'Mine')", "rollback"},
				"failed by itself":              {asAbe + "; select 1 / 0", "rollback"},
				"all in one":                    {asAbe + "; select count(*) from headway.task; commit"},
				"all in one, without a begin":   {"set local role headway_user; select set_config('headway.user_id', '1', true); select count(*) from headway.task"},
				"to a savepoint":                {asNobody, "savepoint s; select set_config('headway.user_id', '1', true); release s", "commit"},
				"back to a savepoint":           {asAbe, "savepoint s; select set_config('headway.user_id', '2', true); rollback to s", "commit"},
				"set without a transaction":     {"set local headway.user_id = '1'"},
				"set_config without one":        {"select set_config('headway.user_id', '1', true)"},
				"refused at commit":             {asAbe, "select headway.complete_task(99, 1)", "commit"},
				"with an identity out of range": {asNobody, "select set_config('headway.user_id', '99999999999999999999', true)", "select headway.uid()", "commit"},
			} {
				_ = sends(t, a, statements...) // some are to fail
				if same := one(t, a, "select pg_backend_pid()") == one(t, b, "select pg_backend_pid()"); !same {
					t.Fatal("the clients do not share a connection")
				}
				if found := one(t, b, asNobody+"; "+findsTasks); found != "0" {
					t.Errorf("%s: the next client finds %s tasks", what, found)
				}
				if who := one(t, b, "select coalesce(headway.uid()::text, 'nobody')"); who != "nobody" {
					t.Errorf("%s: the next client is %s", what, who)
				}
				if err := sends(t, b, "update headway.subscription set muted = true"); code(err) != "28000" {
					t.Errorf("%s: the next client changes something: %v", what, err)
				}
				pgtest.Execute(t, b, "rollback")
				if role := one(t, b, "select current_user"); role != "postgres" {
					t.Errorf("%s: the next client is still %s", what, role)
				}
			}

			// What docs/security.md warns of: for the session means for whoever comes next.
			pgtest.Execute(t, a, "begin; set local role headway_user; select set_config('headway.user_id', '1', false); commit")
			if found := one(t, b, asNobody+"; "+findsTasks); found == "0" {
				t.Error("an identity that was set for the session has gone: say so in the manual")
			}
			pgtest.Execute(t, b, "rollback")
		})
	}
}

// TestPlansAreNobodys uses what one session keeps, prepared statements and the plans of functions, as one after the
// other: each finds what they find in a session of their own.
func TestPlansAreNobodys(t *testing.T) {
	t.Parallel()
	db := neighbours(t)
	kept := db.Conn(t)
	queries := []string{
		"select string_agg(p::text, ' ' order by p) from headway.progress p", "select headway.snapshot(1)::text", "select headway.snapshot(4)::text",
		"select string_agg(t.task_id::text, ' ' order by t.task_id) from headway.outstanding_task t",
		"select string_agg(m.id::text, ' ' order by m.id) from headway.messages_since('project_1') m",
		"select string_agg(r::text, ' ' order by r) from headway.recount r", "select headway.is_complete(4, false, 2)::text",
		"select string_agg(r::text, ' ' order by r) from headway.recount_project(1) r",
		"select string_agg(c::text, ' ' order by c) from headway.completion c", "select headway.my_people()::text",
	}
	answers := func(conn *pgx.Conn, role, id string) (all []string) {
		t.Helper()
		pgtest.Execute(t, conn, fmt.Sprintf("begin; set local role %s; select set_config('headway.user_id', '%s', true)", role, id))
		defer pgtest.Execute(t, conn, "rollback")
		for _, query := range queries {
			if role == "headway_app" && query == "select headway.my_people()::text" {
				continue
			}
			var answer *string
			if err := conn.QueryRow(t.Context(), query).Scan(&answer); err != nil {
				t.Fatalf("%s, as %s %s: %v", query, role, id, err)
			}
			if answer == nil {
				answer = new(string)
			}
			all = append(all, query+": "+*answer)
		}
		return all
	}
	// Often enough for plans that are kept.
	for range 7 {
		for _, who := range [][2]string{
			{"headway_user", "1"}, {"headway_user", "4"}, {"headway_app", ""}, {"headway_user", ""}, {"headway_user", "7700000001"}, {"headway_user", "2"},
		} {
			got, want := answers(kept, who[0], who[1]), answers(db.Conn(t), who[0], who[1])
			for i := range want {
				if got[i] != want[i] {
					t.Errorf("as %s %s\n%s\nand in a session of their own\n%s", who[0], who[1], got[i], want[i])
				}
			}
		}
	}
}
