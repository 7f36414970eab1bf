package gateway

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"headway/internal/gatewaytest"
	"headway/internal/pgtest"
)

// TestTheUnionOfWhatCameIsWhatThereIs has a client lose its connection at random moments while others post, and
// compares what it was told in all with the table.
func TestTheUnionOfWhatCameIsWhatThereIs(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const messages = 300
	var posting sync.WaitGroup
	for _, sender := range []int{1, 3} {
		conn := b.db.Conn(t)
		posting.Go(func() {
			for i := range messages / 2 {
				if _, err := conn.Exec(t.Context(), "select headway.post($1, 'project_1', $2)", sender, fmt.Sprint(i)); err != nil {
					t.Error(err)
				}
			}
		})
	}

	var got []int64
	var has *positions
	for len(got) == 0 || got[len(got)-1] < messages {
		c := b.dial(t, 2, has)
		e, err := c.next()
		if err != nil {
			t.Fatal(err)
		}
		var snap snapshot
		switch e.Type {
		case "snapshot":
			if err := json.Unmarshal(e.Snapshot, &snap); err != nil {
				t.Fatal(err)
			}
			has = &positions{Channels: map[string]int64{}, Projects: map[int64]int64{}}
			for _, ch := range snap.Channels {
				has.Channels[ch.Channel] = ch.LastSeq
			}
			for _, p := range snap.Projects {
				has.Projects[p.ProjectID] = p.Version
			}
			if last := has.Channels["project_1"]; len(got) == 0 {
				for seq := int64(1); seq <= last; seq++ {
					got = append(got, seq) // in the tables before it came
				}
			}
		case "resumed":
		default:
			t.Fatalf("told first: %+v", e)
		}
		for range 1 + rand.IntN(40) {
			if len(got) > 0 && got[len(got)-1] >= messages {
				break
			}
			if e, err = c.next(); err != nil {
				t.Fatal(err)
			}
			if e.Type == "message" && e.Channel == "project_1" {
				got = append(got, e.Seq)
				has.Channels["project_1"] = e.Seq
			}
		}
		_ = c.ws.CloseNow()
	}
	posting.Wait()
	for i, seq := range got {
		if seq != int64(i+1) {
			t.Fatalf("told number %d after %v", seq, got[max(0, i-5):i])
		}
	}
}

// TestAPositionThatIsNoneIsNotResumed has Bob come with numbers that no message has.
func TestAPositionThatIsNoneIsNotResumed(t *testing.T) {
	t.Parallel()
	b := setup(t)
	pgtest.Execute(t, b.conn, "select headway.post(1, 'project_1', 'one')")
	for _, seq := range []int64{-1 << 63, -1, 2, 1<<63 - 1} {
		bob := b.dial(t, 2, &positions{Channels: map[string]int64{"broadcast": 0, "user_2": 0, "project_1": seq}})
		if e, err := bob.next(); err != nil || e.Type != "resync" {
			t.Errorf("with %d told %+v, %v", seq, e, err)
		}
		bob.want("snapshot")
	}
}

// nowhere is a transport to nobody.
type nowhere struct{}

func (nowhere) within(time.Duration)            {}
func (nowhere) write([]*event, positions) error { return nil }
func (nowhere) close(error)                     {}
func (nowhere) beat() []*event                  { return []*event{beat} }

// severed is a transport whose other end is gone.
type severed struct{ nowhere }

func (severed) write([]*event, positions) error { return io.ErrClosedPipe }

func TestWhoCannotBeToldAnythingIsLetGo(t *testing.T) {
	t.Parallel()
	c := newConn(severed{}, limits{waiting: 200, now: time.Now})
	c.begin(positions{}, [][]byte{[]byte("{}")})
	select {
	case <-c.done:
	case <-time.After(20 * time.Second):
		t.Fatal("it goes on")
	}
	if err := c.ended(); !errors.Is(err, errLost) {
		t.Error(err)
	}
}

func TestAConnectionBeatsOnceInAnInterval(t *testing.T) {
	t.Parallel()
	c := newConn(nowhere{}, limits{waiting: 200, now: time.Now})
	c.passing = true // by this test
	began := time.Now()
	for _, at := range []struct {
		after time.Duration
		beats int
	}{{0, 0}, {time.Second, 0}, {24 * time.Second, 0}, {25 * time.Second, 1}, {26 * time.Second, 1}, {50 * time.Second, 2}} {
		if c.look(began.Add(at.after), 25*time.Second); len(c.queue) != at.beats {
			t.Errorf("after %v it has beaten %d times, want %d", at.after, len(c.queue), at.beats)
		}
	}
}

func TestNothingIsToldTwice(t *testing.T) {
	t.Parallel()
	c := newConn(nowhere{}, limits{waiting: 1000, now: time.Now})
	c.passing = true // by this test
	c.begin(positions{Channels: map[string]int64{"project_1": 5}, Projects: map[int64]int64{1: 3}}, nil)
	for _, e := range []*event{
		{channel: "project_1", seq: 5}, {channel: "project_1", seq: 6}, {channel: "project_1", seq: 6}, {channel: "project_1", seq: 4},
		{channel: "elsewhere", seq: 1}, {project: 1, version: 3}, {project: 1, version: 4}, {project: 1, version: 4}, {project: 2, version: 9},
	} {
		e.json = []byte(fmt.Sprintf("%s%d/%d/%d", e.channel, e.seq, e.project, e.version))
		c.offer(e)
	}
	events, _, err := c.take()
	if err != nil || len(events) != 2 || string(events[0].json) != "project_16/0/0" || string(events[1].json) != "0/1/4" {
		t.Errorf("told %d events, %v", len(events), err)
	}
}

func TestServerSentEventsByTicket(t *testing.T) {
	t.Parallel()
	b := setup(t)
	status, answer := b.do(t, 2, "POST", "/api/ticket", "")
	if status != http.StatusOK {
		t.Fatal(status, answer)
	}
	var issued struct{ Ticket string }
	if err := json.Unmarshal([]byte(answer), &issued); err != nil {
		t.Fatal(err)
	}
	stream := b.listen(t, issued.Ticket, "")
	if e := stream.want("snapshot"); e.Snapshot == nil {
		t.Error("the snapshot is empty")
	}
	pgtest.Execute(t, b.conn, "select headway.post(1, 'project_1', E'one\\nline')")
	if e := stream.want("message"); e.Content != "one\nline" {
		t.Errorf("told %+v", e)
	}
	id := stream.id
	stream.close()

	if status, _ := b.do(t, 0, "GET", "/api/events?ticket="+issued.Ticket, ""); status != http.StatusUnauthorized {
		t.Errorf("a ticket is good twice: %d", status)
	}
	pgtest.Execute(t, b.conn, "select headway.post(1, 'project_1', 'two')")
	_, answer = b.do(t, 2, "POST", "/api/ticket", "")
	if err := json.Unmarshal([]byte(answer), &issued); err != nil {
		t.Fatal(err)
	}
	stream = b.listen(t, issued.Ticket, id)
	stream.want("resumed")
	if e := stream.want("message"); e.Content != "two" {
		t.Errorf("told %+v", e)
	}
	stream.close()
	stream = b.listen(t, b.ticket(t, 2)+"&position="+url.QueryEscape(id), "")
	stream.want("resumed")
	if e := stream.want("message"); e.Content != "two" {
		t.Errorf("told %+v", e)
	}
	stream.close()
	pgtest.Eventually(t, 20*time.Second, func() bool { return b.Connections() == 0 }, "streams that have ended are still counted")
	ticket := b.ticket(t, 2)
	pgtest.Execute(t, b.conn, "alter function headway.redeem_ticket rename to gone")
	if status, _ := b.do(t, 0, "GET", "/api/events?ticket="+ticket, ""); status != http.StatusServiceUnavailable {
		t.Errorf("where the database cannot say whether a ticket is good: %d", status)
	}
	pgtest.Execute(t, b.conn, "alter function headway.gone rename to redeem_ticket; update headway.ticket set issued_at = now() - interval '1 hour'")
	for _, ticket := range []string{"", "x", "00000000-0000-0000-0000-000000000000"} {
		if status, _ := b.do(t, 0, "GET", "/api/events?ticket="+ticket, ""); status != http.StatusUnauthorized {
			t.Errorf("ticket %q: %d", ticket, status)
		}
	}
}

// TestAStreamIsForAPageThatMayConnect has another page use a ticket, which it does not use up.
func TestAStreamIsForAPageThatMayConnect(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ticket := b.ticket(t, 2)
	r := httptest.NewRequest(http.MethodGet, "/api/events?ticket="+ticket, nil)
	r.Header.Set("Origin", "https://elsewhere.example.com")
	answer := httptest.NewRecorder()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if b.Handler().ServeHTTP(answer, r.WithContext(ctx)); answer.Code != http.StatusForbidden {
		t.Errorf("answered with %d", answer.Code)
	}
	b.listen(t, ticket, "").want("snapshot")
}

func TestAStreamThatNobodyReadsIsLetGo(t *testing.T) {
	t.Parallel()
	b := setup(t, func(g *Gateway) { g.MaxWaiting, g.PingInterval = 64<<10, time.Hour }) // no beat ends it before
	b.listen(t, b.ticket(t, 2), "").want("snapshot")
	pgtest.Eventually(t, 30*time.Second, func() bool {
		pgtest.Execute(t, b.conn, "select headway.post(1, 'project_1', repeat('x', 500000))")
		return b.Connections() == 0
	}, "the stream is kept though nobody reads")
}

// TestWhatIsSaidWhileTheGatewayReadsIsNotLost has somebody forge a version, and a task completed after the gateway has
// looked for it and before it has noted that there is none.
func TestWhatIsSaidWhileTheGatewayReadsIsNotLost(t *testing.T) {
	t.Parallel()
	var b *bench
	var armed atomic.Bool
	var read sync.WaitGroup
	b = setup(t, func(g *Gateway) {
		g.hub.reached = func(step string) {
			if step != "progress read" || !armed.CompareAndSwap(true, false) {
				return
			}
			defer read.Done()
			pgtest.Execute(t, b.conn, "select headway.complete_task(1, 1); select headway.fold()")
			pgtest.Eventually(t, 20*time.Second, func() bool {
				b.hub.mu.Lock()
				defer b.hub.mu.Unlock()
				return b.hub.topics["project_1"].saidVersion > 0
			}, "the completion is not heard")
		}
	})
	bob := b.dial(t, 2, nil)
	bob.want("snapshot")
	read.Add(1)
	armed.Store(true)
	b.hub.hear(`{"kind": "progress", "project_id": 1, "version": 9000000000000000000}`)
	read.Wait()
	if e := bob.want("progress"); e.Shared.Done != 1 {
		t.Errorf("told %+v", e)
	}
}

// TestTheLastCursorIsToldLast has Bob read on after the gateway has read how far he is and before he is told.
func TestTheLastCursorIsToldLast(t *testing.T) {
	t.Parallel()
	var b *bench
	var armed atomic.Bool
	b = setup(t, func(g *Gateway) {
		g.hub.reached = func(step string) {
			if step != "cursor read" || !armed.CompareAndSwap(true, false) {
				return
			}
			pgtest.Execute(t, b.conn, "select headway.mark_read(2, 'project_1', 2)")
			pgtest.Eventually(t, 20*time.Second, func() bool {
				b.hub.mu.Lock()
				defer b.hub.mu.Unlock()
				return b.hub.errands[errand{2, "project_1"}]
			}, "that he has read on is not heard, or is read at once")
		}
	})
	pgtest.Execute(t, b.conn, `
select headway.post(1, 'project_1', 'one'), headway.post(1, 'project_1', 'two');
select headway.mark_read(2, 'project_1', 1)`)
	bob := b.dial(t, 2, nil)
	bob.want("snapshot")
	armed.Store(true)
	b.hub.hear(`{"kind": "read", "channel": "project_1", "user_id": 2}`)
	for last := int64(0); last < 2; { // also what was notified before he came may be told
		e := bob.want("read")
		if e.ReadSeq < last || e.Unread != 2-e.ReadSeq {
			t.Fatalf("told %+v after %d were read", e, last)
		}
		last = e.ReadSeq
	}
}

// TestOnesOwnProgressIsNotOvertaken moves the part that all share after Bob's own has been read and before he is told.
func TestOnesOwnProgressIsNotOvertaken(t *testing.T) {
	t.Parallel()
	var b *bench
	var other *pgx.Conn // the completion may be heard before b.conn has the answer
	var armed atomic.Bool
	b = setup(t, func(g *Gateway) {
		g.hub.reached = func(step string) {
			if step != "own read" || !armed.CompareAndSwap(true, false) {
				return
			}
			b.hub.mu.Lock()
			version := b.hub.topics["project_1"].version
			b.hub.mu.Unlock()
			pgtest.Execute(t, other, "insert into headway.task (id, project_id, title, shared) values (99, 1, 'Roof', true); select headway.fold()")
			pgtest.Eventually(t, 20*time.Second, func() bool {
				b.hub.mu.Lock()
				defer b.hub.mu.Unlock()
				return b.hub.topics["project_1"].version > version
			}, "the new task is not handed out")
		}
	})
	bob := b.dial(t, 2, nil)
	bob.want("snapshot")
	other = b.db.Conn(t)
	armed.Store(true)
	pgtest.Execute(t, b.conn, "select headway.complete_task(2, 2); select headway.fold()")
	for { // also what the gateway found when it looked for the first time may be told
		if e := bob.want("progress"); e.Progress != nil && e.Progress.Done == 1 {
			break
		}
	}
	if armed.Load() {
		t.Error("he is told what was not read")
	}
}

// TestOnesOwnProgressIsToldThoughTheVersionIsKnown has the gateway read Charlie's version before it hears of it, for Bob's.
func TestOnesOwnProgressIsToldThoughTheVersionIsKnown(t *testing.T) {
	t.Parallel()
	for name, find := range map[string]func(h *hub, version int64){
		"heard": func(h *hub, version int64) {
			h.hear(fmt.Sprintf(`{"kind": "progress", "project_id": 1, "version": %d, "customers": [{"user_id": 3}]}`, version))
		},
		"heard without names": func(h *hub, version int64) {
			h.hear(fmt.Sprintf(`{"kind": "progress", "project_id": 1, "version": %d, "truncated": true}`, version))
		},
		"looked for": func(h *hub, _ int64) { h.look() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, func(g *Gateway) { g.LookInterval = time.Hour })
			b.hasLooked(t)
			charlie := b.dial(t, 3, nil)
			charlie.want("snapshot")
			pgtest.Execute(t, b.conn, `
select headway.set_setting('notify_payload', 'off');
select headway.complete_task(2, 2); select headway.fold();
select headway.complete_task(2, 3); select headway.fold();`)
			var version int64
			if err := b.conn.QueryRow(t.Context(), "select version from headway.shared_progress where project_id = 1").Scan(&version); err != nil {
				t.Fatal(err)
			}
			b.hub.hear(fmt.Sprintf(`{"kind": "progress", "project_id": 1, "version": %d, "customers": [{"user_id": 2}]}`, version-1))
			if e := charlie.want("progress"); e.Version != version || e.Progress != nil {
				t.Fatalf("told %+v", e)
			}
			find(b.hub, version)
			if e := charlie.want("progress"); e.Progress == nil || e.Progress.Done != 1 {
				t.Errorf("told %+v", e)
			}
		})
	}
}

// TestWhatTheSnapshotHasIsNotToldAgain has the gateway ask what Bob is subscribed to while he connects.
func TestWhatTheSnapshotHasIsNotToldAgain(t *testing.T) {
	t.Parallel()
	c := newConn(nowhere{}, limits{waiting: 1000, now: time.Now})
	for _, e := range []*event{
		{member: joins, channel: "broadcast", json: []byte("in the snapshot")},
		{member: joins, channel: "project_2", seq: 3, project: 2, version: 4, json: []byte("joined")},
		{channel: "project_2", seq: 3, json: []byte("before")},
		{channel: "project_2", seq: 4, json: []byte("after")},
		{member: leaves, channel: "project_3", project: 3, json: []byte("not in the snapshot")},
		{member: leaves, channel: "project_1", project: 1, json: []byte("left")},
		{channel: "project_1", seq: 9, json: []byte("no longer")},
		{project: 1, version: 9, json: []byte("no longer")},
	} {
		c.offer(e)
	}
	c.passing = true // by this test
	c.begin(positions{Channels: map[string]int64{"broadcast": 5, "project_1": 5}, Projects: map[int64]int64{1: 3}}, nil)
	events, _, err := c.take()
	var told []string
	for _, e := range events {
		told = append(told, string(e.json))
	}
	if want := "joined after left"; err != nil || strings.Join(told, " ") != want {
		t.Errorf("told %q, %v, want %s", told, err, want)
	}
}

// TestAStreamBeginsWhereTheClientIs: what it was told last counts more than what its address says, which stays as it was when
// it connects again; and what is no position is none.
func TestAStreamBeginsWhereTheClientIs(t *testing.T) {
	t.Parallel()
	b := setup(t)
	pgtest.Execute(t, b.conn, "select headway.post(1, 'project_1', 'one'), headway.post(1, 'project_1', 'two')")
	at := func(seq int) string {
		return fmt.Sprintf(`{"channels": {"broadcast": 0, "user_2": 0, "project_1": %d}, "projects": {"1": 1}}`, seq)
	}
	for _, c := range []struct {
		lastID, position string
		want             string
		told             int64 // first of the messages, 0: none
	}{
		{at(1), at(0), "resumed", 2},
		{"", at(0), "resumed", 1},
		{at(1), "", "resumed", 2},
		{at(3), "", "resync", 0},
		{"x", "", "snapshot", 0},
		{"", "{", "snapshot", 0},
		{"", "", "snapshot", 0},
	} {
		stream := b.listen(t, b.ticket(t, 2)+"&position="+url.QueryEscape(c.position), c.lastID)
		e := stream.want("")
		if e.Type != c.want {
			t.Errorf("with %s and %s told %s first, want %s", c.lastID, c.position, e.Type, c.want)
		} else if c.told != 0 {
			if e := stream.want("message"); e.Seq != c.told {
				t.Errorf("with %s and %s told %+v", c.lastID, c.position, e)
			}
		}
		stream.close()
	}
}

// TestWhoReadsAStreamTooSlowlyComesBackWithoutAPosition has the stream end with an id that is none.
func TestWhoReadsAStreamTooSlowlyComesBackWithoutAPosition(t *testing.T) {
	t.Parallel()
	for reason, want := range map[error]string{errSlow: "id\ndata: {\"type\":\"resync\"}\n\n", errExpired: "", errStopped: ""} {
		answer := httptest.NewRecorder()
		(&stream{w: answer}).close(reason)
		if got := answer.Body.String(); got != want {
			t.Errorf("%v ends with %q, want %q", reason, got, want)
		}
	}
}

// TestABeatBeforeTheSnapshotIsNoPosition has a stream beat while its client waits to be brought up to date.
func TestABeatBeforeTheSnapshotIsNoPosition(t *testing.T) {
	t.Parallel()
	enter := make(chan struct{})
	b := setup(t, func(g *Gateway) {
		g.PingInterval = 5 * time.Second
		g.hub.reached = func(step string) {
			if step == "snapshot read" {
				<-enter
			}
		}
	})
	letIn := sync.OnceFunc(func() { close(enter) })
	t.Cleanup(letIn) // or the gateway would not stop
	const has = `{"channels": {"broadcast": 0, "user_2": 0, "project_1": 0}, "projects": {"1": 1}}`
	stream := b.listen(t, b.ticket(t, 2), has)
	stream.want("beat")
	if stream.id != "" {
		t.Errorf("the client is told that it has %s", stream.id)
	}
	letIn()
	stream.want("resumed")
}

// TestATicketIsNoLongerGoodThanItsToken exchanges one before the token expires and uses it after that.
func TestATicketIsNoLongerGoodThanItsToken(t *testing.T) {
	t.Parallel()
	var c gatewaytest.Clock
	b := setup(t, func(g *Gateway) { g.Now = c.Now })
	ticket := b.ticket(t, 2)
	c.Forward(2 * time.Hour)
	if status, answer := b.do(t, 0, "GET", "/api/events?ticket="+ticket, ""); status != http.StatusUnauthorized {
		t.Errorf("answered with %d %s", status, answer)
	}
}

// source is a stream of Server-Sent Events.
type source struct {
	t     *testing.T
	lines *bufio.Scanner
	id    string
	close func()
}

func (b *bench) listen(t *testing.T, ticket, lastID string) *source {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, b.server.URL+"/api/events?ticket="+ticket, nil)
	if err != nil {
		t.Fatal(err)
	}
	if lastID != "" {
		r.Header.Set("Last-Event-ID", lastID)
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = response.Body.Close() })
	if response.StatusCode != http.StatusOK || response.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("%s, %s", response.Status, response.Header.Get("Content-Type"))
	}
	if got := response.Header.Get("Cache-Control"); got != "no-store, no-transform" {
		t.Errorf("Cache-Control is %q: a proxy may keep events to compress them", got)
	}
	lines := bufio.NewScanner(response.Body)
	lines.Buffer(nil, 1<<20)
	return &source{t: t, lines: lines, close: cancel}
}

// want reads until an event of a type comes, or without one, any.
func (s *source) want(kind string) told {
	s.t.Helper()
	for s.lines.Scan() {
		field, value, _ := strings.Cut(s.lines.Text(), ": ")
		switch field {
		case "id":
			s.id = value
		case "data":
			var e told
			if err := json.Unmarshal([]byte(value), &e); err != nil {
				s.t.Fatal(err)
			}
			if e.Type == kind || kind == "" {
				return e
			}
		}
	}
	s.t.Fatalf("the stream ends before %s: %v", kind, s.lines.Err())
	return told{}
}
