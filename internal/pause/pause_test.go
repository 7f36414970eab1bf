package pause

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestABackoffDoublesUpToItsMaximum(t *testing.T) {
	b := Backoff{First: 100 * time.Millisecond, Max: 5 * time.Second}
	for round := range 2 { // the second one after a success
		for i, want := range []time.Duration{100, 200, 400, 800, 1600, 3200, 5000, 5000} {
			want *= time.Millisecond
			if got := b.Next(); got < want/2 || got >= want*3/2 {
				t.Errorf("round %d, attempt %d: %v, not about %v", round, i, got, want)
			}
		}
		b.Reset()
	}
}

func TestJitterIsNeverInStep(t *testing.T) {
	different := map[time.Duration]bool{}
	for range 100 {
		different[Jitter(time.Second)] = true
	}
	if len(different) < 50 {
		t.Errorf("%d different pauses of 100", len(different))
	}
	for _, d := range []time.Duration{0, -time.Second} { // what is left of a time that is over
		if got := Jitter(d); got > 0 {
			t.Errorf("%v becomes %v", d, got)
		}
	}
}

func TestAPauseEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		began := time.Now()
		if !For(ctx, time.Second) || time.Since(began) != time.Second {
			t.Errorf("a second takes %v", time.Since(began))
		}
		if For(ctx, time.Hour) || time.Since(began) != time.Minute {
			t.Errorf("the context is done after %v", time.Since(began))
		}
		if For(ctx, 0) {
			t.Error("a context that is done allows another attempt")
		}
	})
}
