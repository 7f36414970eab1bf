package sql_test

import (
	"cmp"
	"context"
	"regexp"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"headway/internal/pgtest"
	"headway/internal/sqlstate"
)

// value returns the one value that a query returns.
func value[T any](t testing.TB, conn *pgx.Conn, query string, args ...any) T {
	t.Helper()
	var v T
	if err := conn.QueryRow(t.Context(), query, args...).Scan(&v); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return v
}

// redefine changes the source of a function and fails the test where there is nothing to change.
func redefine(t testing.TB, conn *pgx.Conn, function, pattern, replacement string) {
	t.Helper()
	was := value[string](t, conn, "select pg_get_functiondef(to_regprocedure($1))", function)
	is := regexp.MustCompile(pattern).ReplaceAllString(was, replacement)
	if is == was {
		t.Fatalf("%s has nothing like %s: change this test with it\n%s", function, pattern, was)
	}
	pgtest.Execute(t, conn, is)
}

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
