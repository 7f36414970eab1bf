package gateway

import (
	"slices"
	"strconv"
	"testing"
	"time"
)

// TestWhoeverHasManyChannelsHoldsNobodyUp has it compared what somebody is in with what they are subscribed to, which the
// others wait for. It takes far less than to search all of these for each of those.
func TestWhoeverHasManyChannelsHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	h := newHub(newStore(nil, 2))
	c := newConn(nil, limits{})
	h.people[2] = map[*conn]struct{}{c: {}}
	subscribed := make([]subscription, 20_000)
	for i := range subscribed {
		subscribed[i] = subscription{Channel: "room_" + strconv.Itoa(i)}
		h.join(c, subscribed[i].Channel)
	}
	h.mu.Lock()
	defer h.mu.Unlock()

	began := time.Now()
	h.compare(2, nil, subscribed, false)
	compared := time.Since(began)
	if len(c.topics) != len(subscribed) {
		t.Errorf("in %d of %d channels", len(c.topics), len(subscribed))
	}
	began = time.Now()
	for joined := range c.topics {
		if !slices.ContainsFunc(subscribed, func(s subscription) bool { return s.Channel == joined.channel }) {
			t.Error(joined.channel)
		}
	}
	searched := time.Since(began)
	t.Logf("%v, and %v for searching", compared, searched)
	if compared > searched/4 {
		t.Errorf("%v, and %v for searching", compared, searched)
	}
}
