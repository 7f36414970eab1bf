package worker

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"
)

// TestWhoHasLongDoneNothingIsNotReady: it may hang, though it answers.
func TestWhoHasLongDoneNothingIsNotReady(t *testing.T) {
	t.Parallel()
	now, old := time.Now(), time.Now().Add(-2*time.Minute)
	for name, c := range map[string]struct {
		is   condition
		want []string // what is said, empty: it is ready
	}{
		"all is well":    {condition{lastFold: now, lastBeat: now}, nil},
		"at the start":   {condition{}, []string{"no fold yet", "no heartbeat yet"}},
		"it folds only":  {condition{lastFold: now, lastBeat: old}, []string{"the last heartbeat was 2m0s ago"}},
		"it beats only":  {condition{lastFold: old, lastBeat: now}, []string{"the last fold was 2m0s ago"}},
		"another schema": {condition{lastFold: now, lastBeat: now, schema: errors.New("another")}, []string{"another"}},
	} {
		got := ""
		if err := c.is.unready(time.Minute); err != nil {
			got = err.Error()
		}
		if got != strings.Join(c.want, "\n") {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// TestWhoSleepsAsLongAsItMayIsReady: a fold is as old as the interval between safety polls.
func TestWhoSleepsAsLongAsItMayIsReady(t *testing.T) {
	t.Parallel()
	w := New(Config{PollInterval: time.Hour}, slog.New(slog.DiscardHandler), "test")
	if limit := w.staleAfter(); limit < 2*time.Hour || limit > 3*time.Hour {
		t.Errorf("a fold may be %v old", limit)
	}
	w.Config.PollInterval, w.HeartbeatInterval = time.Second, time.Minute
	if limit := w.staleAfter(); limit < 2*time.Minute || limit > 3*time.Minute {
		t.Errorf("a heartbeat may be %v old", limit)
	}
}
