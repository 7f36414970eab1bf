package worker

import (
	"context"
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

// TestALongFoldIsNoReasonNotToBeReady: it takes as long as it takes, unless the one before failed.
func TestALongFoldIsNoReasonNotToBeReady(t *testing.T) {
	t.Parallel()
	w := New(Config{}, slog.New(slog.DiscardHandler), "test")
	w.status.update(func(c *condition) { c.lastBeat = time.Now() })
	for i, c := range []struct {
		err               error
		readyIn, readyNow bool
	}{{errors.New("no"), true, false}, {errors.New("no"), false, false}, {nil, false, true}, {errors.New("no"), true, false}} {
		_, _ = w.fold(t.Context(), func(context.Context, int) (int, error) {
			if ready := w.status.read().unready(time.Minute) == nil; ready != c.readyIn {
				t.Errorf("fold %d, in it: ready is %v", i, ready)
			}
			return 0, c.err
		})
		w.status.update(func(now *condition) { // time passes
			if now.lastFold = time.Now().Add(-time.Hour); c.err == nil {
				now.lastFold = time.Now()
			}
		})
		if ready := w.status.read().unready(time.Minute) == nil; ready != c.readyNow {
			t.Errorf("fold %d, after it: ready is %v", i, ready)
		}
		w.status.update(func(now *condition) { now.lastFold = time.Now().Add(-time.Hour) })
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
