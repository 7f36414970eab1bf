package gateway

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"sync"
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

// TestWhatHappensAfterTheSnapshotIsNotLost posts between the reading of the snapshot and its sending.
func TestWhatHappensAfterTheSnapshotIsNotLost(t *testing.T) {
	t.Parallel()
	var b *bench
	var once sync.Once
	b = setup(t, func(g *Gateway) {
		g.hub.reached = func(step string) {
			if step != "snapshot read" {
				return
			}
			once.Do(func() {
				pgtest.Execute(t, b.conn, "select headway.post(1, 'project_1', 'in between')")
				// Charlie's connection has it, so it has been handed out.
				pgtest.Eventually(t, 20*time.Second, func() bool {
					b.hub.mu.Lock()
					defer b.hub.mu.Unlock()
					return b.hub.topics["project_1"].seq == 1
				}, "the message is not handed out")
			})
		}
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
			var b *bench
			var came atomic.Bool
			b = setup(t, func(g *Gateway) {
				g.hub.reached = func(step string) {
					if step != "snapshot read" || !came.CompareAndSwap(false, true) {
						return
					}
					pgtest.Execute(t, b.conn, "select headway.post(1, 'project_1', 'one'), headway.post(1, 'project_1', 'two')")
					charlie := b.dial(t, 3, nil)
					charlie.want("snapshot")
					pgtest.Execute(t, b.conn, "select headway.post(1, 'project_1', 'three')")
					charlie.want("message")
				}
			})
			var has *positions
			if resumes {
				has = &positions{Channels: map[string]int64{"broadcast": 0, "user_2": 0, "project_1": 0}}
			}
			bob := b.dial(t, 2, has)
			e, err := bob.next()
			if err != nil || (e.Type == "resumed") != resumes {
				t.Fatalf("told %+v, %v", e, err)
			}
			seq := int64(0)
			if !resumes {
				var snap snapshot
				if err := json.Unmarshal(e.Snapshot, &snap); err != nil {
					t.Fatal(err)
				}
				seq = snap.position().Channels["project_1"]
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
	for _, has := range []*positions{nil, {Channels: map[string]int64{"broadcast": 0, "user_2": 0, "project_1": 0}}} {
		t.Run(fmt.Sprint("resumes ", has != nil), func(t *testing.T) {
			t.Parallel()
			var b *bench
			var came atomic.Bool
			b = setup(t, func(g *Gateway) {
				g.hub.reached = func(step string) {
					if step == "snapshot read" && came.CompareAndSwap(false, true) {
						pgtest.Execute(t, b.conn, "select headway.complete_task(1, 1); select headway.fold()")
						b.dial(t, 3, nil).want("snapshot")
					}
				}
			})
			e, err := b.dial(t, 2, has).next()
			if err != nil || (e.Type == "resumed") != (has != nil) {
				t.Fatalf("told %+v, %v", e, err)
			}
			var snap snapshot
			if err := json.Unmarshal(e.Snapshot, &snap); err != nil {
				t.Fatal(err)
			}
			var version int64
			if err := b.conn.QueryRow(t.Context(), "select version from headway.shared_progress where project_id = 1").Scan(&version); err != nil {
				t.Fatal(err)
			}
			if got := snap.position().Projects[1]; got != version {
				t.Errorf("told version %d, want %d", got, version)
			}
		})
	}
}
