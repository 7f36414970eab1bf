package worker

import (
	"testing"
	"time"

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
