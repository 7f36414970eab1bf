package main

import (
	"errors"
	"log/slog"
	"slices"
	"strings"
	"unicode"

	"github.com/jackc/pgx/v5/pgconn"

	"headway/internal/sqlstate"
	"headway/internal/terminal"
)

// loggedError is an error that has already been logged.
type loggedError struct{ error }

// newLogger logs to stderr as text or json; without a format, as text on a terminal, otherwise as json.
func newLogger(e env, format string) *slog.Logger {
	options := &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if err, is := a.Value.Any().(error); is {
			a.Value = slog.StringValue(reason(err))
		}
		if a.Value.Kind() == slog.KindDuration {
			a.Value = slog.StringValue(a.Value.Duration().String()) // rather than nanoseconds
		}
		return a
	}}
	if !logsJSON(e, format) {
		return slog.New(slog.NewTextHandler(e.stderr, options))
	}
	return slog.New(slog.NewJSONHandler(e.stderr, options))
}

func logsJSON(e env, format string) bool {
	return format == "json" || format == "" && terminal.Of(e.stderr, e.getenv) == nil
}

// printable returns [reason] without what a terminal would interpret: the database quotes what people wrote.
func printable(err error) string {
	return strings.Map(func(r rune) rune {
		// Blanks stay: a caret points at the place in the line above it.
		if r != '\n' && r != '\t' && (unicode.IsControl(r) || unicode.Is(unicode.Cf, r)) {
			return -1
		}
		return r
	}, reason(err))
}

// reason returns the text of an error. What a standby refuses is followed by what to do. For a connection that could not
// be made, pgx reports every attempt, by address, with TLS and without, on a line of its own: repeated texts are given
// once, and that a server has no TLS only if there is nothing else to report.
func reason(err error) string {
	if sqlstate.Of(err) == sqlstate.ReadOnlySQLTransaction {
		return err.Error() + ": it is a standby, or default_transaction_read_only is on: " +
			"connect to the primary, for example with ?target_session_attrs=read-write"
	}
	if !errors.As(err, new(*pgconn.ConnectError)) {
		return err.Error()
	}
	var lines []string
	for line := range strings.SplitSeq(err.Error(), "\n") {
		if line = strings.TrimSpace(line); !slices.Contains(lines, line) {
			lines = append(lines, line)
		}
	}
	const noTLS = "tls error: server refused TLS connection"
	if len(lines) > 2 {
		lines = slices.DeleteFunc(lines, func(line string) bool { return strings.HasSuffix(line, noTLS) })
	}
	return strings.Join(lines, " ")
}
