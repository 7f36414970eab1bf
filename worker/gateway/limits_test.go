package gateway

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"headway/internal/pgtest"
)

func TestASlowReaderIsToldToResync(t *testing.T) {
	t.Parallel()
	c := newConn(nowhere{}, limits{waiting: 200, now: time.Now})
	c.passing = true // by this test
	c.begin(Positions{Channels: map[string]int64{"project_1": 0}}, nil)
	for seq := range int64(20) {
		c.offer(&event{channel: "project_1", seq: seq + 1, json: []byte(strings.Repeat("x", 20))})
	}
	if events, _, err := c.take(); !errors.Is(err, errSlow) || events != nil {
		t.Errorf("got %d events, %v", len(events), err)
	}
	if c.size != 0 || c.queue != nil {
		t.Errorf("%d bytes still wait", c.size)
	}
}

func TestWhatComesAtOnceIsNoFaultOfTheReader(t *testing.T) {
	t.Parallel()
	c := newConn(nowhere{}, limits{waiting: 200, now: time.Now})
	c.passing = true // by this test
	c.begin(Positions{Channels: map[string]int64{"project_1": 0}}, nil)
	var events []*event
	for seq := range int64(20) {
		events = append(events, &event{channel: "project_1", seq: seq + 1, json: []byte(strings.Repeat("x", 20))})
	}
	c.offer(events...)
	if told, _, err := c.take(); err != nil || len(told) != 20 {
		t.Errorf("told %d, %v", len(told), err)
	}
}

// TestMuchAtOnceReachesWhoeverReads has many messages come in one transaction, and some that are large.
func TestMuchAtOnceReachesWhoeverReads(t *testing.T) {
	t.Parallel()
	b := setup(t, func(g *Gateway) { g.MaxWaiting = 8 << 20 }) // all of it, or it depends on how fast this machine lets Bob read
	bob := b.dial(t, 2, nil)
	bob.want("snapshot")
	pgtest.Execute(t, b.conn, `
insert into headway.message (channel, sender, content) select 'project_1', 1, repeat('x', 1000) from generate_series(1, 1200);
insert into headway.message (channel, sender, content) select 'project_1', 1, repeat('y', 400000) from generate_series(1, 6)`)
	for seq := int64(1); seq <= 1206; seq++ {
		if e := bob.want("message"); e.Seq != seq {
			t.Fatalf("told %d, want %d", e.Seq, seq)
		}
	}
	found, err := b.hub.store.messages(t.Context(), 2, "project_1", 1200, page)
	if err != nil || len(found) != 3 {
		t.Errorf("%d messages of 400 kB in a page, %v", len(found), err)
	}
	for has, want := range map[int64]string{1202: "resync", 1203: "resumed"} {
		charlie := b.dial(t, 3, &Positions{Channels: map[string]int64{"broadcast": 0, "user_3": 0, "project_1": has}})
		if e, err := charlie.next(); err != nil || e.Type != want {
			t.Errorf("after %d told %s, %v", has, e.Type, err)
		}
	}
}

// TestMoreThanMayWaitIsToldAtOnce has a page of messages come that is larger than what may wait, and then two messages that
// are each larger.
func TestMoreThanMayWaitIsToldAtOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	bob := b.dial(t, 2, nil)
	bob.want("snapshot")
	last := int64(0)
	for _, c := range []struct{ messages, bytes int }{{400, 1000}, {2, 400_000}} {
		pgtest.Execute(t, b.conn, fmt.Sprintf(
			"insert into headway.message (channel, sender, content) select 'project_1', 1, repeat('x', %d) from generate_series(1, %d)", c.bytes, c.messages))
		for range c.messages {
			if last++; bob.want("message").Seq != last {
				t.Fatalf("message %d does not come", last)
			}
		}
	}
}

func TestAReaderWhoStopsReadingIsLetGo(t *testing.T) {
	t.Parallel()
	// No ping ends it before.
	b := setup(t, func(g *Gateway) { g.MaxWaiting, g.PingInterval = 64<<10, time.Hour })
	bob := b.dial(t, 2, nil)
	bob.want("snapshot")
	pgtest.Eventually(t, 30*time.Second, func() bool {
		pgtest.Execute(t, b.conn, "select headway.post(1, 'project_1', repeat('x', 500000))")
		b.mu.Lock()
		defer b.mu.Unlock()
		return b.total == 0
	}, "the connection is kept though nobody reads")
}

func TestConnectionsAreLimited(t *testing.T) {
	t.Parallel()
	b := setup(t, func(g *Gateway) { g.MaxPerPerson, g.MaxConnections = 2, 3 })
	for range 2 {
		b.dial(t, 2, nil).want("snapshot")
	}
	if e, err := b.dial(t, 2, nil).next(); websocket.CloseStatus(err) != websocket.StatusCode(statusTooMany) {
		t.Errorf("Bob's third window is told %+v, %v", e, err)
	}
	charlie := b.dial(t, 3, nil)
	charlie.want("snapshot")
	if e, err := b.dial(t, 1, nil).next(); websocket.CloseStatus(err) != websocket.StatusCode(statusTooMany) {
		t.Errorf("the fourth connection is told %+v, %v", e, err)
	}
	_ = charlie.ws.CloseNow()
	pgtest.Eventually(t, 20*time.Second, func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return b.total == 2
	}, "a connection that is gone is still counted")
	b.dial(t, 1, nil).want("snapshot")
}
