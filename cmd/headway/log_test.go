package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"headway/internal/pgtest"
)

// TestALogSaysWhatToDoWithAStandby logs what PostgreSQL answers there.
func TestALogSaysWhatToDoWithAStandby(t *testing.T) {
	t.Parallel()
	for _, format := range []string{"text", "json"} {
		var errs bytes.Buffer
		log := newLogger(env{stderr: &errs}, format)
		log.Warn("lost", slog.Any("error", fmt.Errorf("listen: %w", &pgconn.PgError{Code: "25006", Message: "cannot execute LISTEN during recovery"})))
		log.Warn("lost", slog.Any("error", fmt.Errorf("listen: %w", &pgconn.PgError{Code: "57P01", Message: "terminating connection"})))
		lines := strings.Split(errs.String(), "\n")
		if !strings.Contains(lines[0], "LISTEN during recovery") || !strings.Contains(lines[0], "connect to the primary") || strings.Contains(lines[1], "primary") {
			t.Errorf("%s: %s", format, errs.String())
		}
	}
}

func TestDurationsAreLoggedForPeople(t *testing.T) {
	t.Parallel()
	for _, format := range []string{"json", "text"} {
		var out bytes.Buffer
		newLogger(env{stderr: &out}, format).Info("retrying", slog.Duration("after", 90*time.Second))
		if !strings.Contains(out.String(), "1m30s") {
			t.Errorf("%s: %s", format, &out)
		}
	}
}

// TestAWorkerThatCannotRunSaysSoAsItLogs names a database that is not there.
func TestAWorkerThatCannotRunSaysSoAsItLogs(t *testing.T) {
	t.Parallel()
	missing, _, _ := strings.Cut(strings.Replace(pgtest.Empty(t).URL, "/test_", "/missing_", 1), "?") // with TLS and without
	for format, asJSON := range map[string]bool{"": true, "json": true, "text": false} {
		var errs bytes.Buffer
		err := run(t.Context(), env{stderr: &errs, getenv: func(name string) string {
			return map[string]string{"DATABASE_URL": missing, "HEADWAY_LOG_FORMAT": format}[name]
		}}, []string{"worker"})
		if err == nil || errors.As(err, new(*loggedError)) != asJSON {
			t.Errorf("%q: %v", format, err)
		}
		if !asJSON {
			continue
		}
		var last struct{ Level, Msg, Error string }
		for line := range strings.Lines(errs.String()) {
			if err := json.Unmarshal([]byte(line), &last); err != nil {
				t.Fatalf("%q: %v", line, err)
			}
		}
		if last.Level != "ERROR" || strings.Count(last.Error, "does not exist") != 1 || strings.Contains(last.Error, "TLS") {
			t.Errorf("%+v", last)
		}
	}
}

func TestAnErrorDoesNothingToTheTerminal(t *testing.T) {
	t.Parallel()
	err := errors.New("person 2 gets no mail: suspended (\x1b]0;title\x07\x1b[2J\u202eno\rreason)\n>    3 |   name\ttextt\n       |       \t^")
	if got, want := printable(err), "person 2 gets no mail: suspended (]0;title[2Jnoreason)\n>    3 |   name\ttextt\n       |       \t^"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
