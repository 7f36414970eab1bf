package listen

import (
	"errors"
	"testing"
	"time"

	"headway/internal/pgtest"
)

// TestWhoDoesNotReadHoldsUpNobodyForLong listens, and then takes nothing that is notified, as a program that was
// suspended: meanwhile the server keeps everything that anybody notifies.
func TestWhoDoesNotReadHoldsUpNobodyForLong(t *testing.T) {
	t.Parallel()
	db := pgtest.Empty(t)
	listener, sender := db.Conn(t), db.Conn(t)
	if err := errors.Join(Keep(t.Context(), listener), To(t.Context(), listener, "much")); err != nil {
		t.Fatal(err)
	}
	usage := func() (used float64) {
		if err := sender.QueryRow(t.Context(), "select pg_notification_queue_usage()").Scan(&used); err != nil {
			t.Fatal(err)
		}
		return used
	}
	for range 10 {
		pgtest.Execute(t, sender, "select pg_notify('much', rpad(n::text, 7000)) from generate_series(1, 1000) n")
	}
	if usage() == 0 {
		t.Fatal("everything was taken")
	}
	pgtest.Eventually(t, time.Minute, func() bool { return usage() == 0 }, "the queue is held up")
}
