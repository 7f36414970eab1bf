package sql_test

import (
	"fmt"
	"regexp"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"headway/internal/pgtest"
)

// leaks tell whatever they are given. They cost nothing, so that the planner has them look first; two of them are
// operators that the planner asks for statistics about.
const leaks = `
create function public.leak(text) returns boolean language plpgsql cost 0.0000001 as $$
begin
  raise notice '%', $1;
  return true;
end
$$;
create function public.leak(text, text) returns boolean language plpgsql immutable cost 0.0000001 as $$
begin
  raise notice '%', $1;
  return true;
end
$$;
create operator public.=== (leftarg = text, rightarg = text, function = public.leak, restrict = eqsel, join = eqjoinsel);
create operator public.<<< (leftarg = text, rightarg = text, function = public.leak, restrict = scalarltsel, join = scalarltjoinsel);
grant usage on schema public to public;
analyze`

// leaked collects what leaks tell on a connection.
type leaked struct {
	conn    *pgx.Conn
	notices []string
}

func listenForLeaks(t *testing.T, db *pgtest.DB) *leaked {
	t.Helper()
	l := &leaked{}
	l.conn = db.Conn(t, func(config *pgx.ConnConfig) {
		config.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) { l.notices = append(l.notices, n.Message) }
	})
	return l
}

// to runs a query as an end user, and returns what was told, each once.
func (l *leaked) to(t *testing.T, id *int64, query string) []string {
	t.Helper()
	l.notices = nil
	err := pgx.BeginFunc(t.Context(), l.conn, func(tx pgx.Tx) error {
		return as(t.Context(), tx, id, func() error {
			_, err := tx.Exec(t.Context(), query)
			return err
		})
	})
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	slices.Sort(l.notices)
	return slices.Compact(l.notices)
}

// TestLeakyFunctionsSeeNoMore has end users put functions that tell what they see into the where of every relation. In a
// table they see what its reader sees; in a view perhaps more than that, but nothing that is hidden in its tables.
func TestLeakyFunctionsSeeNoMore(t *testing.T) {
	t.Parallel()
	db := neighbours(t)
	conn := db.Conn(t)
	pgtest.Execute(t, conn, leaks)
	relations, err := readable(t.Context(), conn)
	if err != nil {
		t.Fatal(err)
	}
	views := column(t, conn, "select c.relname::text from pg_class c where c.relnamespace = 'headway'::regnamespace and c.relkind = 'v'")
	abe, dora := int64(1), int64(4)
	hidden := map[*int64]*regexp.Regexp{
		&abe:  regexp.MustCompile(`(?i)77000|hidden|slow|to self|quiet`),
		&dora: regexp.MustCompile(`(?i)77000|hidden|to self|quiet`),
		nil:   regexp.MustCompile(`.`),
	}
	l := listenForLeaks(t, db)
	for _, plan := range []string{"", "set enable_seqscan = off", "set enable_indexscan = off; set enable_bitmapscan = off", "set enable_hashjoin = off"} {
		pgtest.Execute(t, l.conn, "reset all; set search_path = ''; "+plan)
		for _, r := range relations {
			for id, forbidden := range hidden {
				told := l.to(t, id, fmt.Sprintf("select from headway.%s r where public.leak(%s)", r.name, r.row))
				if !slices.Contains(views, r.name) {
					want, err := theirsOf(t, conn, r, id)
					if err != nil {
						t.Fatal(err)
					}
					if !slices.Equal(told, slices.Compact(want)) {
						t.Errorf("%s, %q: %s is told %q, not %q", r.name, plan, named(id), without(told, want), without(want, told))
					}
				}
				for _, operator := range []string{"===", "<<<"} {
					told = append(told, l.to(t, id, fmt.Sprintf("select from headway.%s r where %s operator(public.%s) 'x'", r.name, r.row, operator))...)
				}
				for _, line := range told {
					if forbidden.MatchString(line) {
						t.Errorf("%s, %q: %s is told %s", r.name, plan, named(id), line)
					}
				}
			}
		}
	}
}

// theirsOf returns what somebody is to find in a relation.
func theirsOf(t *testing.T, conn *pgx.Conn, r relation, id *int64) (rows []string, err error) {
	t.Helper()
	err = pgx.BeginFunc(t.Context(), conn, func(tx pgx.Tx) error {
		rows, err = texts(t.Context(), tx, fmt.Sprintf("select %s from (%s) r", r.row, theirs()[r.name]), id)
		return err
	})
	return rows, err
}

// TestStatisticsTellEndUsersNothing has the planner, and end users themselves, ask for the values that it keeps.
func TestStatisticsTellEndUsersNothing(t *testing.T) {
	t.Parallel()
	db := neighbours(t)
	conn := db.Conn(t)
	pgtest.Execute(t, conn, leaks)
	l, abe := listenForLeaks(t, db), int64(1)
	queries := []string{
		"explain select from headway.task t where t.title operator(public.===) 'x'",
		"explain select from headway.task t where t.title operator(public.<<<) 'x'",
		"explain select from headway.message m where m.content operator(public.<<<) 'x'",
		"explain select from headway.task t join headway.message m on m.content operator(public.<<<) t.title",
		"explain select from headway.outstanding_task t where t.title operator(public.<<<) 'x'",
	}
	pgtest.Execute(t, l.conn, queries[1])
	if len(l.notices) == 0 {
		t.Fatal("the planner asks nothing, of nobody")
	}
	for _, query := range queries {
		if told := l.to(t, &abe, query); len(told) > 0 {
			t.Errorf("%s tells %q", query, told)
		}
	}
	for _, query := range []string{
		"select public.leak(s::text) from pg_catalog.pg_stats s where s.schemaname = 'headway'",
		"select public.leak(s::text) from pg_catalog.pg_stats_ext s where s.schemaname = 'headway'",
	} {
		if told := l.to(t, &abe, query); len(told) > 0 {
			t.Errorf("%s tells %q", query, told)
		}
	}
	for _, query := range []string{"select from pg_catalog.pg_statistic", "select from pg_catalog.pg_authid"} {
		err := pgx.BeginFunc(t.Context(), conn, func(tx pgx.Tx) error {
			return as(t.Context(), tx, &abe, func() error {
				_, err := tx.Exec(t.Context(), query)
				return err
			})
		})
		if code(err) != "42501" {
			t.Errorf("%s: %v", query, err)
		}
	}
}

// TestALeakWouldBeHeard has the leaks pass for safe, as only a superuser can make them, and hears them tell all.
func TestALeakWouldBeHeard(t *testing.T) {
	t.Parallel()
	db := neighbours(t)
	conn := db.Conn(t)
	pgtest.Execute(t, conn, leaks+"; alter function public.leak(text) leakproof; alter function public.leak(text, text) leakproof")
	l, abe := listenForLeaks(t, db), int64(1)
	pgtest.Execute(t, l.conn, "set enable_indexscan = off; set enable_bitmapscan = off")
	for _, query := range []string{
		"select from headway.task t where public.leak(t.title)",
		"explain select from headway.task t where t.title operator(public.<<<) 'x'",
	} {
		if told := l.to(t, &abe, query); !slices.Contains(told, "hidden_party") {
			t.Errorf("%s tells only %q", query, told)
		}
	}
}
