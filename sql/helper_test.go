package sql_test

import (
	"regexp"
	"testing"

	"github.com/jackc/pgx/v5"

	"headway/internal/pgtest"
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
