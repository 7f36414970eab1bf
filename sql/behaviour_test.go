package sql_test

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"headway/internal/pgtest"
)

// TestBehaviour runs every file of tests/, each as in a database of its own. A file begins a transaction, arranges,
// asserts and rolls back; what it expects to fail, it catches. With an assert it proves something, without one it is an
// error. It may use what testdata/helpers.sql defines.
func TestBehaviour(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("tests/*.sql")
	if err != nil || len(files) == 0 {
		t.Fatalf("tests/*.sql: %d files, %v", len(files), err)
	}
	helpers, err := os.ReadFile("testdata/helpers.sql")
	if err != nil {
		t.Fatal(err)
	}
	conns := make(chan *pgx.Conn, 2) // used again: what costs is to plan everything anew
	for range cap(conns) {
		conn := pgtest.New(t).Conn(t)
		pgtest.Execute(t, conn, string(helpers))
		conns <- conn
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".sql"), func(t *testing.T) {
			t.Parallel()
			script, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if err := proves(string(script)); err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			conn := <-conns
			defer func() { conns <- conn }()
			defer pgtest.Execute(t, conn, sqlAsItWas)
			if _, err := conn.PgConn().Exec(t.Context(), string(script)).ReadAll(); err != nil {
				var pgErr *pgconn.PgError
				if errors.As(err, &pgErr) && pgErr.Where != "" {
					t.Fatalf("%s: %v\n%s", file, err, pgErr.Where)
				}
				t.Fatalf("%s: %v", file, err)
			}
			if status := conn.PgConn().TxStatus(); status != 'I' {
				t.Errorf("%s leaves its transaction open", file)
			}
		})
	}
}

// sqlAsItWas ends the transaction of a file that failed, and begins the sequences again, as they are not rolled back.
const sqlAsItWas = "rollback; select setval(seqrelid::regclass, seqstart, false) from pg_sequence"

var (
	comments  = regexp.MustCompile(`(?m)--.*$`)
	assertion = regexp.MustCompile(`(?m)^\s*assert\b`)
)

// proves returns an error for a script that could not fail, or that could leave something behind.
func proves(script string) error {
	code := strings.TrimSpace(comments.ReplaceAllString(script, ""))
	switch {
	case !strings.HasPrefix(script, "-- "):
		return errors.New("the first line says what it is about")
	case !strings.HasPrefix(code, "begin;"):
		return errors.New("it does not begin with begin")
	case !strings.HasSuffix(code, "\nrollback;"):
		return errors.New("it does not end with rollback")
	case !assertion.MatchString(code):
		return errors.New("it has no assert")
	}
	return nil
}

func TestAFileThatProvesNothingIsRefused(t *testing.T) {
	t.Parallel()
	for script, want := range map[string]string{
		"-- It.\nbegin;\ndo $$ begin\n  assert true;\nend $$;\nrollback;\n": "",
		"-- It.\nbegin;\nselect 1;\nrollback;\n":                            "it has no assert",
		"-- It.\nbegin;\n-- assert true\nselect 1;\nrollback;\n":            "it has no assert",
		"-- It.\nbegin;\nassert true;\ncommit;\n":                           "it does not end with rollback",
		"-- It.\nselect 1;\nassert true;\nrollback;\n":                      "it does not begin with begin",
		"begin;\nassert true;\nrollback;\n":                                 "the first line says what it is about",
	} {
		got := ""
		if err := proves(script); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%q: %q, not %q", script, got, want)
		}
	}
}

func TestAFailedAssertFailsTheFile(t *testing.T) {
	t.Parallel()
	conn := pgtest.New(t).Conn(t)
	_, err := conn.PgConn().Exec(t.Context(), "begin; do $$ begin assert false, 'no'; end $$; rollback;").ReadAll()
	if code(err) != "P0004" {
		t.Errorf("a failed assert: %v", err)
	}
}
