package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"headway/internal/pgtest"
)

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
