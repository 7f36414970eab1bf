package worker

import (
	"log/slog"
	"testing"
	"time"

	"headway/internal/pgtest"
	"headway/worker/smtp"
)

// TestAMailTakesNoLongerThanItsLease: meanwhile nobody else sends it.
func TestAMailTakesNoLongerThanItsLease(t *testing.T) {
	t.Parallel()
	if total := smtp.NewPool(smtp.Server{}, 1).Timeouts.Total; total >= sendLease {
		t.Errorf("it may take %v, and the lease ends after %v", total, sendLease)
	}
}

// TestAWorkerStopsWithin25Seconds: after 30 many supervisors kill.
func TestAWorkerStopsWithin25Seconds(t *testing.T) {
	t.Parallel()
	const closePool = 3 * time.Second // it comes last
	if stop := max(sendGrace+recordGrace, foldGrace) + queryTimeout + closePool; stop >= 25*time.Second {
		t.Errorf("it may take %v", stop)
	}
}

// TestAServerNoticesWithin15SecondsThatALeaderIsGone: as long as it does not, nobody else can lead.
func TestAServerNoticesWithin15SecondsThatALeaderIsGone(t *testing.T) {
	t.Parallel()
	w := New(Config{DatabaseURL: pgtest.New(t).WorkerURL()}, slog.New(slog.DiscardHandler), "test")
	s, err := w.open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	var quiet, sending time.Duration // whether it hears nothing, or has something to send
	err = s.settle(t.Context())
	if err == nil {
		err = s.ask(t.Context(), `
select make_interval(secs => i.setting::int + n.setting::int * c.setting::int), make_interval(secs => u.setting::int / 1000)
from pg_settings i, pg_settings n, pg_settings c, pg_settings u
where i.name = 'tcp_keepalives_idle' and n.name = 'tcp_keepalives_interval' and c.name = 'tcp_keepalives_count' and u.name = 'tcp_user_timeout'`,
			&quiet, &sending)
	}
	if err != nil || max(quiet, sending) > 15*time.Second || min(quiet, sending) == 0 {
		t.Errorf("it may take %v and %v, %v", quiet, sending, err)
	}
}
