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
	if stop := max(sendGrace+recordGrace, foldGrace) + queryTimeout + 3*time.Second; stop >= 25*time.Second { // the pool closes last
		t.Errorf("to stop may take %v", stop)
	}
}
