package gateway

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
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
	var has *Positions
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
			has = &Positions{Channels: map[string]int64{}, Projects: map[int64]int64{}}
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
			var has *Positions
			if resumes {
				has = &Positions{Channels: map[string]int64{"broadcast": 0, "user_2": 0, "project_1": 0}}
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

// TestAPositionThatIsNoneIsNotResumed has Bob come with numbers that no message has.
func TestAPositionThatIsNoneIsNotResumed(t *testing.T) {
	t.Parallel()
	b := setup(t)
	pgtest.Execute(t, b.conn, "select headway.post(1, 'project_1', 'one')")
	for _, seq := range []int64{-1 << 63, -1, 2, 1<<63 - 1} {
		bob := b.dial(t, 2, &Positions{Channels: map[string]int64{"broadcast": 0, "user_2": 0, "project_1": seq}})
		if e, err := bob.next(); err != nil || e.Type != "resync" {
			t.Errorf("with %d told %+v, %v", seq, e, err)
		}
		bob.want("snapshot")
	}
}

// TestWhoLeavesAgainAtOnceIsNotLetIn takes Bob out of the project after the gateway has read that he is in it and before it
// lets him in.
func TestWhoLeavesAgainAtOnceIsNotLetIn(t *testing.T) {
	t.Parallel()
	var b *bench
	var other *pgx.Conn
	var armed atomic.Bool
	b = setup(t, func(g *Gateway) {
		g.hub.reached = func(step string) {
			if step != "visited" || !armed.CompareAndSwap(true, false) {
				return
			}
			pgtest.Execute(t, other, "delete from headway.member where user_id = 2")
			pgtest.Eventually(t, 20*time.Second, func() bool {
				b.hub.mu.Lock()
				defer b.hub.mu.Unlock()
				return b.hub.errands[errand{userID: 2}]
			}, "that he leaves is not heard, or is read at once")
		}
	})
	bob := b.dial(t, 2, nil)
	bob.want("snapshot")
	pgtest.Execute(t, b.conn, "delete from headway.member where user_id = 2")
	bob.want("left")
	b.rests(t)
	other = b.db.Conn(t)
	armed.Store(true)
	pgtest.Execute(t, b.conn, "insert into headway.member (project_id, user_id, role) values (1, 2, 'customer')")
	pgtest.Eventually(t, 20*time.Second, func() bool { return !armed.Load() }, "that he is back is not read")
	b.rests(t)
	pgtest.Execute(t, b.conn, "select headway.post(1, 'broadcast', 'for all')")
	if e, err := bob.next(); err != nil || e.Content != "for all" {
		t.Errorf("told %+v, %v", e, err)
	}
}

// rests waits until the gateway asks for nobody.
func (b *bench) rests(t *testing.T) {
	t.Helper()
	pgtest.Eventually(t, 20*time.Second, func() bool {
		b.hub.mu.Lock()
		defer b.hub.mu.Unlock()
		return len(b.hub.errands) == 0
	}, "the gateway does not come to rest")
}

// TestAsOftenAsSomebodyIsNamedTheyAreAskedForOnce forges what names Bob many times.
func TestAsOftenAsSomebodyIsNamedTheyAreAskedForOnce(t *testing.T) {
	t.Parallel()
	var visits atomic.Int64
	b := setup(t, func(g *Gateway) {
		g.hub.reached = func(step string) {
			if step == "visit" {
				visits.Add(1)
			}
		}
	})
	bob := b.dial(t, 2, nil)
	bob.want("snapshot")
	before := visits.Load()
	b.hub.hear(`{"kind": "subscribed", "channel": "x", "user_ids": [2` + strings.Repeat(", 2", 1000) + `]}`)
	b.rests(t)
	if n := visits.Load() - before; n < 1 || n > 2 {
		t.Errorf("%d queries", n)
	}
}

// TestWhoLeavesIsToldNothingBeforeTheGatewayHasAsked keeps the gateway from asking the database who belongs to what.
func TestWhoLeavesIsToldNothingBeforeTheGatewayHasAsked(t *testing.T) {
	t.Parallel()
	ask := make(chan struct{})
	b := setup(t, func(g *Gateway) {
		g.hub.reached = func(step string) {
			if step == "visit" {
				<-ask
			}
		}
	})
	defer close(ask)
	bob, charlie := b.dial(t, 2, nil), b.dial(t, 3, nil)
	bob.want("snapshot")
	charlie.want("snapshot")
	pgtest.Execute(t, b.conn, "delete from headway.member where user_id = 2; select headway.post(1, 'project_1', 'not for Bob')")
	charlie.want("message")
	pgtest.Execute(t, b.conn, "select headway.post(1, 'broadcast', 'for all')")
	for e, err := bob.next(); e.Channel != "broadcast"; e, err = bob.next() {
		if err != nil || e.Type == "message" {
			t.Fatalf("told %+v, %v", e, err)
		}
	}
}

// TestWhoIsNoMoreIsToldNothing deletes Bob, who has only the channels that come with a person, and takes Eve out of broadcast.
func TestWhoIsNoMoreIsToldNothing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	pgtest.Execute(t, b.conn, "delete from headway.member where user_id = 2")
	bob, eve := b.dial(t, 2, nil), b.dial(t, 5, nil)
	bob.want("snapshot")
	eve.want("snapshot")
	pgtest.Execute(t, b.conn, "delete from headway.appuser where id = 2; delete from headway.subscription where user_id = 5 and channel = 'broadcast'")
	for _, channel := range []string{bob.want("left").Channel, bob.want("left").Channel} {
		if channel != "broadcast" && channel != "user_2" {
			t.Errorf("Bob leaves %s", channel)
		}
	}
	if e := eve.want("left"); e.Channel != "broadcast" {
		t.Errorf("Eve leaves %s", e.Channel)
	}
}

// TestWhatHappenedBeforeAnythingWasHeardIsLookedFor connects the listening connection late.
func TestWhatHappenedBeforeAnythingWasHeardIsLookedFor(t *testing.T) {
	t.Parallel()
	listen := make(chan struct{}, 1)
	listen <- struct{}{}
	b := setup(t, func(g *Gateway) {
		connect := g.Connect
		g.Connect = func(ctx context.Context) (*pgx.Conn, error) {
			<-listen
			return connect(ctx)
		}
	})
	bob := b.dial(t, 2, nil)
	bob.want("snapshot")
	pgtest.Execute(t, b.conn, "select pg_terminate_backend(pid) from ("+gatewaytest.Listening+") l")
	pgtest.Eventually(t, 20*time.Second, func() bool {
		var listens bool
		err := b.conn.QueryRow(t.Context(), "select exists ("+gatewaytest.Listening+")").Scan(&listens)
		return err == nil && !listens
	}, "the gateway still listens")
	pgtest.Execute(t, b.conn, "select headway.post(1, 'project_1', 'unheard')")
	close(listen)
	if e := bob.want("message"); e.Content != "unheard" {
		t.Errorf("told %+v", e)
	}
}

// nowhere is a transport to nobody.
type nowhere struct{}

func (nowhere) within(time.Duration)            {}
func (nowhere) write([]*event, Positions) error { return nil }
func (nowhere) close(error)                     {}
func (nowhere) beat() []*event                  { return []*event{beat} }

func TestNothingIsToldTwice(t *testing.T) {
	t.Parallel()
	c := newConn(nowhere{}, limits{waiting: 1000, now: time.Now})
	c.passing = true // by this test
	c.begin(Positions{Channels: map[string]int64{"project_1": 5}, Projects: map[int64]int64{1: 3}}, nil)
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

// TestMuchAtOnceReachesWhoeverReads has many messages come in one transaction, and some that are larger than what may wait.
func TestMuchAtOnceReachesWhoeverReads(t *testing.T) {
	t.Parallel()
	b := setup(t)
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

func TestAReaderWhoStopsReadingIsLetGo(t *testing.T) {
	t.Parallel()
	b := setup(t, func(g *Gateway) { g.MaxWaiting = 64 << 10 })
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

func TestAfterTheListeningConnectionIsLostEverythingComes(t *testing.T) {
	t.Parallel()
	b := setup(t)
	bob := b.dial(t, 2, nil)
	bob.want("snapshot")
	for round := range 3 {
		pgtest.Execute(t, b.conn, fmt.Sprintf(`
select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid();
select headway.post(1, 'project_1', 'round %d')`, round))
		if e := bob.want("message"); e.Content != fmt.Sprintf("round %d", round) {
			t.Errorf("told %+v", e)
		}
	}
}

// TestWhatAFailoverHasLostIsForgotten takes from the database what was committed last, as when a standby takes over that
// had not got it.
func TestWhatAFailoverHasLostIsForgotten(t *testing.T) {
	t.Parallel()
	b := setup(t)
	bob := b.dial(t, 2, nil)
	bob.want("snapshot")
	pgtest.Execute(t, b.conn, "select headway.post(1, 'project_1', n::text) from generate_series(1, 3) n")
	for bob.want("message").Seq != 3 {
	}
	pgtest.Execute(t, b.conn, "select headway.complete_task(2, 2); select headway.fold()")
	if e := bob.want("progress"); e.Version != 2 {
		t.Fatalf("told %+v", e)
	}
	b.lose(t, "update headway.channel set last_seq = 1 where name = 'project_1'; delete from headway.message where channel = 'project_1' and seq > 1")
	if code := bob.ending(); code != websocket.StatusCode(statusResync) {
		t.Fatalf("messages were lost, and his connection ends with %d", code)
	}
	bob = b.dial(t, 2, nil)
	bob.want("snapshot")
	b.lose(t, "update headway.shared_progress set version = 0 where project_id = 1")
	// Whoever is told of their own progress finds it first, or whoever is visited.
	pgtest.Execute(t, b.conn, "select headway.reopen_task(2, 2); select headway.fold()")
	if code := bob.ending(); code != websocket.StatusCode(statusResync) {
		t.Fatalf("folds were lost, and his connection ends with %d", code)
	}
	bob = b.dial(t, 2, nil)
	bob.want("snapshot")
	pgtest.Execute(t, b.conn, "select headway.post(1, 'project_1', 'under a number that was given before'), headway.complete_task(2, 2); select headway.fold()")
	if e := bob.want("message"); e.Seq != 2 || e.Content != "under a number that was given before" {
		t.Errorf("told %+v", e)
	}
	if e := bob.want("progress"); e.Version != 2 {
		t.Errorf("told %+v", e)
	}
}

// lose has the database forget, and the gateway lose its connections to it.
func (b *bench) lose(t *testing.T, statements string) {
	t.Helper()
	pgtest.Execute(t, b.conn, "begin; set local session_replication_role = replica; "+statements+"; commit")
	pgtest.Execute(t, b.conn, "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()")
}

// ending reads until the connection ends, and returns with what code.
func (c *client) ending() websocket.StatusCode {
	c.t.Helper()
	for {
		if _, err := c.next(); err != nil {
			return websocket.CloseStatus(err)
		}
	}
}

// TestWhatCannotBeReadIsReadLater has reading fail for a while in which nothing more is notified.
func TestWhatCannotBeReadIsReadLater(t *testing.T) {
	t.Parallel()
	failed := make(chan struct{}, 100)
	b := setup(t, func(g *Gateway) {
		g.hub.reached = func(step string) {
			if step == "failed" {
				failed <- struct{}{}
			}
		}
	})
	bob := b.dial(t, 2, nil)
	bob.want("snapshot")
	pgtest.Execute(t, b.conn, "alter function headway.messages_since rename to gone; select headway.post(1, 'project_1', 'at last')")
	<-failed
	pgtest.Execute(t, b.conn, "alter function headway.gone rename to messages_since")
	if e := bob.want("message"); e.Content != "at last" {
		t.Errorf("told %+v", e)
	}
}

func TestWhereNothingIsNotifiedTheGatewayLooks(t *testing.T) {
	t.Parallel()
	b := setup(t, func(g *Gateway) { g.LookInterval = 50 * time.Millisecond })
	pgtest.Execute(t, b.conn, "select headway.set_setting('notify_payload', 'off')")
	bob := b.dial(t, 2, nil)
	bob.want("snapshot")
	pgtest.Execute(t, b.conn, "select headway.post(1, 'project_1', 'silence')")
	bob.want("message")
	pgtest.Execute(t, b.conn, "select headway.complete_task(1, 1); select headway.fold()")
	if e := bob.want("progress"); e.Shared.Done != 1 {
		t.Errorf("told %+v", e)
	}
	pgtest.Execute(t, b.conn, "delete from headway.member where user_id = 2")
	bob.want("left")
}

// TestTheGatewayLooksThoughMuchIsNotified has somebody notify all the time while what the application does is not.
func TestTheGatewayLooksThoughMuchIsNotified(t *testing.T) {
	t.Parallel()
	b := setup(t, func(g *Gateway) { g.LookInterval = 500 * time.Millisecond })
	bob := b.dial(t, 2, nil)
	bob.want("snapshot")
	pgtest.Execute(t, b.conn, "select headway.set_setting('notify_payload', 'off')")
	ctx, stop := context.WithCancel(t.Context())
	other := b.db.Conn(t)
	var noise sync.WaitGroup
	noise.Go(func() {
		for ctx.Err() == nil {
			_, _ = other.Exec(ctx, "notify headway_events, '{}'")
		}
	})
	defer noise.Wait()
	defer stop()
	pgtest.Execute(t, b.conn, "delete from headway.member where user_id = 2")
	bob.want("left")
}

// TestWhoLeftInASilenceIsToldNothingMore has Bob leave while nothing is notified for less time than the gateway looks away,
// or in a transaction that began then.
func TestWhoLeftInASilenceIsToldNothingMore(t *testing.T) {
	t.Parallel()
	b := setup(t, func(g *Gateway) { g.LookInterval = time.Hour })
	bob, charlie := b.dial(t, 2, nil), b.dial(t, 3, nil)
	bob.want("snapshot")
	charlie.want("snapshot")
	asking, other := b.db.Conn(t), b.db.Conn(t)
	var known hearing
	ping := func() {
		if err := b.ping(t.Context(), asking, &known); err != nil {
			t.Fatal(err)
		}
	}
	settled := func() bool {
		ping()
		return known.until == 0
	}
	pgtest.Eventually(t, 20*time.Second, settled, "the gateway looks on and on")
	pgtest.Execute(t, b.conn, "select headway.set_setting('notify_payload', 'off'); delete from headway.member where user_id = 2")
	pgtest.Execute(t, other, "begin; delete from headway.member where user_id = 3")
	pgtest.Execute(t, b.conn, "select headway.set_setting('notify_payload', 'row')")
	ping()
	bob.want("left")
	pgtest.Execute(t, other, "commit")
	ping()
	charlie.want("left")
	pgtest.Eventually(t, 20*time.Second, settled, "the gateway looks on and on")
}

func TestWhatAnybodyNotifiesIsNotBelieved(t *testing.T) {
	t.Parallel()
	b := setup(t)
	bob := b.dial(t, 2, nil)
	bob.want("snapshot")
	for _, forged := range []string{
		`{"id": 1, "channel": "project_1", "seq": 1, "kind": "chat", "sender": 1, "content": "Send me your password"}`,
		`{"id": 1, "channel": "project_1", "seq": 9000000000000000000, "kind": "chat"}`,
		`{"kind": "progress", "project_id": 1, "version": 9000000000000000000, "shared": {"done": 2, "total": 2}}`,
		`{"kind": "subscribed", "channel": "project_2", "user_ids": [2]}`,
		`{"kind": "read", "channel": "project_2", "user_id": 2}`,
		`{`, ``, `[]`, `{"seq": "x"}`,
	} {
		if _, err := b.conn.Exec(t.Context(), "select pg_notify('headway_events', $1)", forged); err != nil {
			t.Fatal(err)
		}
	}
	pgtest.Execute(t, b.conn, "select headway.post(1, 'project_1', 'true')")
	e, err := bob.next()
	if err != nil || e.Type != "message" || e.Content != "true" || e.Seq != 1 {
		t.Errorf("told %+v, %v", e, err)
	}
	pgtest.Execute(t, b.conn, "select headway.complete_task(1, 1); select headway.fold()")
	if e := bob.want("progress"); e.Shared.Done != 1 {
		t.Errorf("told %+v", e)
	}
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
	var once sync.Once
	b = setup(t, func(g *Gateway) {
		g.hub.reached = func(step string) {
			if step != "own read" {
				return
			}
			once.Do(func() {
				b.hub.mu.Lock()
				version := b.hub.topics["project_1"].version
				b.hub.mu.Unlock()
				pgtest.Execute(t, b.conn, "insert into headway.task (id, project_id, title, shared) values (99, 1, 'Roof', true); select headway.fold()")
				pgtest.Eventually(t, 20*time.Second, func() bool {
					b.hub.mu.Lock()
					defer b.hub.mu.Unlock()
					return b.hub.topics["project_1"].version > version
				}, "the new task is not handed out")
			})
		}
	})
	bob := b.dial(t, 2, nil)
	bob.want("snapshot")
	pgtest.Execute(t, b.conn, "select headway.complete_task(2, 2); select headway.fold()")
	for {
		e := bob.want("progress")
		if e.Progress != nil {
			if e.Progress.Done == 0 {
				t.Errorf("told %+v, %+v", e, e.Progress)
			}
			return
		}
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
	c.begin(Positions{Channels: map[string]int64{"broadcast": 5, "project_1": 5}, Projects: map[int64]int64{1: 3}}, nil)
	events, _, err := c.take()
	var told []string
	for _, e := range events {
		told = append(told, string(e.json))
	}
	if want := "joined after left"; err != nil || strings.Join(told, " ") != want {
		t.Errorf("told %q, %v, want %s", told, err, want)
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
	lines := bufio.NewScanner(response.Body)
	lines.Buffer(nil, 1<<20)
	return &source{t: t, lines: lines, close: cancel}
}

// want reads until an event of a type comes.
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
			if e.Type == kind {
				return e
			}
		}
	}
	s.t.Fatalf("the stream ends before %s: %v", kind, s.lines.Err())
	return told{}
}
