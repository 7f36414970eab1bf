package sql

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/tern/v2/migrate"
)

var disableTx = regexp.MustCompile(`(?m)^---- tern: disable-tx ----$`)

// reportStatements makes a migration run as tern runs it, all of its SQL as one query, but lets a failure name the
// statement that failed, which PostgreSQL reports only for some errors. A migration outside a transaction is left
// alone: tern runs it statement by statement and knows.
func reportStatements(m *migrate.Migration) {
	if disableTx.MatchString(m.UpSQL) || disableTx.MatchString(m.DownSQL) {
		return
	}
	run := func(script string) migrate.MigrationFunc {
		return func(ctx context.Context, conn *pgx.Conn) error {
			// A limit that somebody set for all sessions would end it at the same place each time.
			if _, err := conn.Exec(ctx, Unlimited); err != nil {
				return fmt.Errorf("lift timeouts: %w", err)
			}
			completed, err := execScript(ctx, conn, script)
			if pgErr, is := errors.AsType[*pgconn.PgError](err); is {
				return &scriptError{name: m.Name, script: script, completed: completed, err: pgErr}
			}
			return err
		}
	}
	m.UpFunc, m.UpSQL = run(m.UpSQL), ""
	if m.DownSQL != "" {
		m.DownFunc, m.DownSQL = run(m.DownSQL), ""
	}
}

// execScript runs several statements as one query and returns how many of them completed.
func execScript(ctx context.Context, conn *pgx.Conn, script string) (completed int, err error) {
	results := conn.PgConn().Exec(ctx, script)
	for results.NextResult() {
		if _, err := results.ResultReader().Close(); err == nil {
			completed++
		}
	}
	return completed, results.Close()
}

// scriptError is a failure of a migration, with what is known of it.
type scriptError struct {
	name      string
	script    string
	completed int // statements before the one that failed
	err       *pgconn.PgError
}

func (e *scriptError) Error() string { return fmt.Sprintf("%s: %v", e.name, e.err) }
func (e *scriptError) Unwrap() error { return e.err }

var (
	dollarTag = regexp.MustCompile(`^\$([A-Za-z_][A-Za-z0-9_]*)?\$`)
	inName    = regexp.MustCompile(`[A-Za-z0-9_$]$`) // after which a dollar is part of a name or a parameter
)

// statementStart returns the offset of the n-th statement, from 0, of a script. It serves error messages, so all it
// knows of SQL is what separates statements and what can hide a semicolon, except for begin atomic.
func statementStart(script string, n int) int {
	begun, depth := false, 0
	for i := 0; i < len(script); {
		rest := script[i:]
		switch c := rest[0]; {
		case strings.HasPrefix(rest, "--"):
			i += through(rest, 2, "\n")
			continue
		case strings.HasPrefix(rest, "/*"):
			i += comment(rest)
			continue
		case strings.IndexByte(" \t\r\n", c) >= 0:
			i++
			continue
		case c == ';' && depth == 0:
			if begun {
				n--
			}
			begun = false
			i++
			continue
		}

		if !begun && n == 0 {
			return i
		}
		begun = true
		switch c := rest[0]; c {
		case '(':
			depth++
		case ')':
			depth--
		case '\'', '"':
			i += through(rest, 1, string(c)) // a doubled quote is treated as two adjacent strings
			continue
		case '$':
			if tag := dollarTag.FindString(rest); tag != "" && !inName.MatchString(script[:i]) {
				i += through(rest, len(tag), tag)
				continue
			}
		}
		i++
	}
	return max(0, len(strings.TrimRight(script, " \t\r\n;"))-1)
}

// through returns the length of s up to and including end, searching from an offset; all of s if there is none.
func through(s string, from int, end string) int {
	if i := strings.Index(s[from:], end); i >= 0 {
		return from + i + len(end)
	}
	return len(s)
}

// comment returns the length of the block comment that s begins with. Such comments nest.
func comment(s string) int {
	depth, i := 0, 0
	for i < len(s) {
		switch {
		case strings.HasPrefix(s[i:], "/*"):
			depth++
			i += 2
		case strings.HasPrefix(s[i:], "*/"):
			depth--
			i += 2
		default:
			i++
		}
		if depth == 0 {
			return i
		}
	}
	return i
}
