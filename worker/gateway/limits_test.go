package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"headway/internal/gatewaytest"
	"headway/internal/pgtest"
)

func TestASlowReaderIsToldToResync(t *testing.T) {
	t.Parallel()
	c := newConn(nowhere{}, limits{waiting: 200, now: time.Now})
	c.passing = true // by this test
	c.begin(positions{Channels: map[string]int64{"project_1": 0}}, nil)
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

// TestWhatCameBeforeTheSnapshotCountsOnce has some of it be in the snapshot.
func TestWhatCameBeforeTheSnapshotCountsOnce(t *testing.T) {
	t.Parallel()
	c := newConn(nowhere{}, limits{waiting: 200, now: time.Now})
	c.passing = true // by this test
	come := func(from, to int64) {
		for seq := from; seq <= to; seq++ {
			c.offer(&event{channel: "project_1", seq: seq, json: []byte(strings.Repeat("x", 20))})
		}
	}
	come(1, 4)
	c.restart()
	come(5, 8)
	c.begin(positions{Channels: map[string]int64{"project_1": 6}}, nil)
	if len(c.queue) != 2 || c.size != 2*c.queue[0].size() {
		t.Errorf("%d events wait with %d bytes", len(c.queue), c.size)
	}
}

func TestWhatComesAtOnceIsNoFaultOfTheReader(t *testing.T) {
	t.Parallel()
	c := newConn(nowhere{}, limits{waiting: 200, now: time.Now})
	c.passing = true // by this test
	c.begin(positions{Channels: map[string]int64{"project_1": 0}}, nil)
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
		charlie := b.dial(t, 3, &positions{Channels: map[string]int64{"broadcast": 0, "user_3": 0, "project_1": has}})
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

// TestMuchIsReadAtOneLook has more come than a page, which is full of messages and then of bytes, while nothing is
// notified.
func TestMuchIsReadAtOneLook(t *testing.T) {
	t.Parallel()
	b := setup(t, func(g *Gateway) { g.LookInterval, g.MaxWaiting = time.Hour, 8<<20 })
	bob := b.dial(t, 2, nil)
	bob.want("snapshot")
	pgtest.Execute(t, b.conn, `
select headway.set_setting('notify_payload', 'off');
insert into headway.message (channel, sender, content) select 'project_1', 1, 'Hello' from generate_series(1, 600);
insert into headway.message (channel, sender, content) select 'project_1', 1, repeat('y', 400000) from generate_series(1, 6)`)
	b.hub.look()
	for seq := int64(1); seq <= 606; seq++ {
		if e := bob.want("message"); e.Seq != seq {
			t.Fatalf("told %d, want %d", e.Seq, seq)
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

func TestAPageHasAsManyMessagesAsFit(t *testing.T) {
	t.Parallel()
	b := setup(t)
	pgtest.Execute(t, b.conn, `
insert into headway.message (channel, sender, content) select 'project_1', 1, repeat('y', 400000) from generate_series(1, 6);
select headway.post(1, 'project_1', repeat('z', 2000000))`)
	for query, want := range map[string][]int64{"?after=1": {2, 3, 4}, "?before=7": {4, 5, 6}, "?before=7&limit=2": {5, 6}, "?after=6": {7}, "": {7}, "?after=5": {6, 7}} {
		var page []struct{ Seq int64 }
		status, answer := b.do(t, 2, "GET", "/api/channels/project_1/messages"+query, "")
		if err := json.Unmarshal([]byte(answer), &page); err != nil || status != http.StatusOK {
			t.Fatalf("%s: %d, %v", query, status, err)
		}
		var got []int64
		for _, m := range page {
			got = append(got, m.Seq)
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: %d, want %d", query, got, want)
		}
	}
}

// TestOnePersonLeavesRoomForOthers has Bob send more requests than the pool has connections, all of which wait in the
// database.
func TestOnePersonLeavesRoomForOthers(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.crowd(t, 2, b.turns.most, func() {
		if status, answer := b.do(t, 1, "GET", "/api/snapshot", ""); status != http.StatusOK {
			t.Errorf("Abe: %d %s", status, answer)
		}
	})
}

// TestWhoGivesUpWaitingLeavesTheTurnsAsTheyAre has somebody stop waiting for their turn again and again.
func TestWhoGivesUpWaitingLeavesTheTurnsAsTheyAre(t *testing.T) {
	t.Parallel()
	turns := &turns{most: 1, queues: map[int64]*queue{}}
	end, err := turns.take(t.Context(), 2)
	if err != nil {
		t.Fatal(err)
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	for range 20 {
		if _, err := turns.take(over, 2); err == nil {
			t.Fatal("two are served at a time")
		}
	}
	if end(); len(turns.queues) > 0 {
		t.Errorf("%d queues are left", len(turns.queues))
	}
}

func TestAPoolOfOneConnectionServesTheGateway(t *testing.T) {
	t.Parallel()
	if room := cap(newStore(nil, 1).free); room != 1 {
		t.Errorf("there is room for %d", room)
	}
}

// TestACrowdLeavesRoomForTheWorker has more people send as many requests as they may.
func TestACrowdLeavesRoomForTheWorker(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.crowd(t, 4, cap(b.hub.store.free), func() {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if _, err := b.hub.store.pool.Exec(ctx, "select"); err != nil {
			t.Error(err)
		}
	})
}

// TestStrangersLeaveRoomForOthers has somebody without a token ask for events again and again, and one with a token for
// tickets: whoever they are, others get what they ask for.
func TestStrangersLeaveRoomForOthers(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		method, path string
		waiting      func(*bench) int
	}{
		"events":  {http.MethodGet, "/api/events?ticket=11111111-1111-1111-1111-111111111111", func(b *bench) int { return cap(b.hub.store.strangers) }},
		"tickets": {http.MethodPost, "/api/ticket", func(b *bench) int { return b.turns.most }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.wait(t, "lock headway.ticket", c.waiting(b), func(int) *http.Request {
				r := httptest.NewRequest(c.method, c.path, nil)
				r.Header.Set("Authorization", "Bearer "+gatewaytest.Token(t, 2, time.Now().Add(time.Hour)))
				return r
			}, func() {
				if status, answer := b.do(t, 1, "GET", "/api/snapshot", ""); status != http.StatusOK {
					t.Errorf("Abe: %d %s", status, answer)
				}
			})
		})
	}
}

// crowd has the people with ids from 2 to last send requests that wait in the database, and calls do once as many as are
// expected do so.
func (b *bench) crowd(t *testing.T, last, waiting int, do func()) {
	t.Helper()
	b.wait(t, "select from headway.subscription for update", waiting, func(i int) *http.Request {
		r := httptest.NewRequest(http.MethodPost, "/api/channels/broadcast/read", nil)
		r.Header.Set("Authorization", "Bearer "+gatewaytest.Token(t, int64(2+i%(last-1)), time.Now().Add(time.Hour)))
		return r
	}, do)
}

// wait sends requests that wait in the database for somebody's lock, many more than the pool has connections, and calls do
// once as many as are expected do so.
func (b *bench) wait(t *testing.T, lock string, waiting int, request func(i int) *http.Request, do func()) {
	t.Helper()
	pgtest.Execute(t, b.conn, "begin; "+lock)
	watcher := b.db.Conn(t)
	var asking sync.WaitGroup
	defer asking.Wait()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	for i := range 9 * int(b.hub.store.pool.Config().MaxConns) {
		r := request(i).WithContext(ctx)
		asking.Go(func() { b.Handler().ServeHTTP(httptest.NewRecorder(), r) })
	}
	pgtest.Eventually(t, 20*time.Second, func() bool {
		var n int
		err := watcher.QueryRow(t.Context(), "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'").Scan(&n)
		return err == nil && n == waiting
	}, "there are not %d requests that wait in the database", waiting)
	do()
	pgtest.Execute(t, b.conn, "rollback")
	asking.Wait()
	b.turns.mu.Lock()
	defer b.turns.mu.Unlock()
	if len(b.turns.queues) > 0 {
		t.Errorf("%d people are remembered", len(b.turns.queues))
	}
}

func TestSoManyMessagesAreMarkedAtATime(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ids := func(n int) string { return `{"message_ids": [` + strings.Repeat("1, ", n-1) + "1]}" }
	if status, answer := b.do(t, 2, "POST", "/api/seen", ids(maxIDs)); status != http.StatusOK {
		t.Errorf("%d %s", status, answer)
	}
	if status, answer := b.do(t, 2, "POST", "/api/seen", ids(maxIDs+1)); status != http.StatusUnprocessableEntity || !strings.Contains(answer, "10001") {
		t.Errorf("%d %s", status, answer)
	}
}

// TestNobodyKeepsAnAnswer has the time to take an answer begin before it is written, and end with it.
func TestNobodyKeepsAnAnswer(t *testing.T) {
	t.Parallel()
	b := setup(t)
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/api/snapshot", nil)
	r.Header.Set("Authorization", "Bearer "+gatewaytest.Token(t, 2, time.Now().Add(time.Hour)))
	w := &timed{ResponseRecorder: httptest.NewRecorder()}
	before := time.Now()
	b.Handler().ServeHTTP(w, r)
	if w.Code != http.StatusOK || w.written.Before(before) || w.written.After(time.Now().Add(b.PingInterval)) {
		t.Errorf("%d, to be taken by %v", w.Code, w.written)
	}
	if !w.deadline.IsZero() {
		t.Error("the next answer over this connection is to be taken by then, too")
	}
}

// timed notes the deadline of the first write.
type timed struct {
	*httptest.ResponseRecorder
	deadline, written time.Time
}

func (w *timed) SetWriteDeadline(t time.Time) error {
	w.deadline = t
	return nil
}

func (w *timed) Write(p []byte) (int, error) {
	w.written = w.deadline
	return w.ResponseRecorder.Write(p)
}
