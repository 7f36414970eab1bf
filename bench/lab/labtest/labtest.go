// Package labtest opens a lab for a test.
package labtest

import (
	"testing"

	"headway/bench/lab"
	"headway/internal/postgres"
)

// Open opens a lab that is not durable, and closes it when the test ends.
func Open(t testing.TB) *lab.Lab {
	t.Helper()
	l, err := lab.Open(t.Context(), postgres.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}
