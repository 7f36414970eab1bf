package gateway

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"headway/internal/pgtest"
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

// setupMeanwhile makes a gateway with which something happens once, after a snapshot was read and before it is sent.
func setupMeanwhile(t *testing.T, happens func(b *bench)) *bench {
	t.Helper()
	var b *bench
	var happened atomic.Bool
	b = setup(t, func(g *Gateway) {
		g.hub.reached = func(step string) {
			if step == "snapshot read" && happened.CompareAndSwap(false, true) {
				happens(b)
			}
		}
	})
	return b
}

// enter has Bob come, to resume from the beginning or anew, and returns what the snapshot has that he is told.
func (b *bench) enter(t *testing.T, resumes bool) (*client, positions) {
	t.Helper()
	var has *positions
	if resumes {
		has = &positions{Channels: map[string]int64{"broadcast": 0, "user_2": 0, "project_1": 0}}
	}
	bob := b.dial(t, 2, has)
	e, err := bob.next()
	if err != nil || (e.Type == "resumed") != resumes {
		t.Fatalf("told %+v, %v", e, err)
	}
	var snap snapshot
	if err := json.Unmarshal(e.Snapshot, &snap); err != nil {
		t.Fatal(err)
	}
	return bob, snap.position()
}

// TestWhatHappensAfterTheSnapshotIsNotLost posts between the reading of the snapshot and its sending.
func TestWhatHappensAfterTheSnapshotIsNotLost(t *testing.T) {
	t.Parallel()
	b := setupMeanwhile(t, func(b *bench) {
		pgtest.Execute(t, b.conn, "select headway.post(1, 'project_1', 'in between')")
		// Charlie's connection has it, so it has been handed out.
		pgtest.Eventually(t, 20*time.Second, func() bool {
			b.hub.mu.Lock()
			defer b.hub.mu.Unlock()
			return b.hub.topics["project_1"].seq == 1
		}, "the message is not handed out")
	})
	b.hub.mu.Lock()
	b.hub.topics["project_1"] = newTopic("project_1")
	b.hub.topics["project_1"].seq = 0
	b.hub.mu.Unlock()
	bob := b.dial(t, 2, nil)
	bob.want("snapshot")
	if e := bob.want("message"); e.Content != "in between" {
		t.Errorf("told %+v", e)
	}
}

// TestWhoComesWhileAChannelBeginsMissesNothing has Charlie come after Bob's snapshot was read, with a newer one, and before
// Bob is entered with his.
func TestWhoComesWhileAChannelBeginsMissesNothing(t *testing.T) {
	t.Parallel()
	for _, resumes := range []bool{false, true} {
		t.Run(fmt.Sprint("resumes ", resumes), func(t *testing.T) {
			t.Parallel()
			b := setupMeanwhile(t, func(b *bench) {
				pgtest.Execute(t, b.conn, "select headway.post(1, 'project_1', 'one'), headway.post(1, 'project_1', 'two')")
				charlie := b.dial(t, 3, nil)
				charlie.want("snapshot")
				pgtest.Execute(t, b.conn, "select headway.post(1, 'project_1', 'three')")
				charlie.want("message")
			})
			bob, position := b.enter(t, resumes)
			seq := int64(0)
			if !resumes { // otherwise the messages follow
				seq = position.Channels["project_1"]
			}
			pgtest.Execute(t, b.conn, "select headway.post(1, 'project_1', 'four')")
			for ; seq < 4; seq++ {
				if e := bob.want("message"); e.Seq != seq+1 {
					t.Fatalf("told %+v after %d", e, seq)
				}
			}
		})
	}
}

// TestWhoComesWhileAProjectBeginsMissesNothing has a task completed, and Charlie come, after Bob's snapshot was read and
// before Bob is entered with it.
func TestWhoComesWhileAProjectBeginsMissesNothing(t *testing.T) {
	t.Parallel()
	for _, resumes := range []bool{false, true} {
		t.Run(fmt.Sprint("resumes ", resumes), func(t *testing.T) {
			t.Parallel()
			b := setupMeanwhile(t, func(b *bench) {
				pgtest.Execute(t, b.conn, "select headway.complete_task(1, 1); select headway.fold()")
				b.dial(t, 3, nil).want("snapshot")
			})
			_, position := b.enter(t, resumes)
			var version int64
			if err := b.conn.QueryRow(t.Context(), "select version from headway.shared_progress where project_id = 1").Scan(&version); err != nil {
				t.Fatal(err)
			}
			if got := position.Projects[1]; got != version {
				t.Errorf("told version %d, want %d", got, version)
			}
		})
	}
}
