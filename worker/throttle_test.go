package worker

import (
	"context"
	"testing"
)

// TestWorkEndsARowOfFalseAlarms: what was forged once slows nobody down for good.
func TestWorkEndsARowOfFalseAlarms(t *testing.T) {
	t.Parallel()
	over, cancel := context.WithCancel(t.Context()) // nothing waits
	cancel()
	var d doorbell
	ring := func(folded int) { d.rang = true; d.throttle(over, folded) }
	for range 20 {
		ring(0)
	}
	if d.alarms != 20 {
		t.Errorf("after twenty, there are %d", d.alarms)
	}
	d.throttle(over, 0) // it woke by itself
	if d.alarms != 20 {
		t.Errorf("to wake without a bell is an alarm, or ends them: %d", d.alarms)
	}
	ring(1)
	if d.alarms != 0 {
		t.Errorf("after work, there are %d", d.alarms)
	}
}
