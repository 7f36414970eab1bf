package gateway

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"headway/internal/pgtest"
)

// TestWhoLeavesAgainAtOnceIsNotLetIn takes Bob out of the project after the gateway has read that he is in it and before it
// lets him in.
func TestWhoLeavesAgainAtOnceIsNotLetIn(t *testing.T) {
	t.Parallel()
	var b *bench
	var other *pgx.Conn
	var armed atomic.Bool
	b = setup(t, func(g *Gateway) {
		g.LookInterval = time.Hour
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
	b.hasLooked(t)
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

// TestWhoLeavesWhileTheyEnterMayComeBack takes Bob out of the project after the gateway has read that he is in it and before it
// has noted that, and back in later, or before he has entered.
func TestWhoLeavesWhileTheyEnterMayComeBack(t *testing.T) {
	t.Parallel()
	for name, has := range map[string]*positions{
		"anew":    nil,
		"at once": nil,
		"resumed": {Channels: map[string]int64{"broadcast": 0, "user_2": 0}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var b *bench
			var other *pgx.Conn
			var armed, visited, back atomic.Bool
			const comeBack = "insert into headway.member (project_id, user_id, role) values (1, 2, 'customer')"
			b = setup(t, func(g *Gateway) {
				g.LookInterval = time.Hour
				g.hub.reached = func(step string) {
					switch {
					case step == "visited":
						visited.Store(true)
					case step == "subscriptions read" && armed.CompareAndSwap(true, false):
						pgtest.Execute(t, other, "delete from headway.member where user_id = 2")
						pgtest.Eventually(t, 20*time.Second, visited.Load, "that he leaves is not heard")
						b.rests(t)
						back.Store(name == "at once")
					case step == "snapshot read" && back.CompareAndSwap(true, false):
						visited.Store(false)
						pgtest.Execute(t, other, comeBack)
						pgtest.Eventually(t, 20*time.Second, visited.Load, "that he is back is not heard")
						b.rests(t)
					}
				}
			})
			b.hasLooked(t)
			b.rests(t)
			other = b.db.Conn(t)
			armed.Store(true)
			bob := b.dial(t, 2, has)
			if e, err := bob.next(); err != nil || (e.Type == "resumed") != (has != nil) {
				t.Fatalf("told %+v, %v", e, err)
			}
			if name != "at once" {
				b.rests(t)
				pgtest.Execute(t, b.conn, comeBack)
			}
			if e := bob.want("joined"); e.Channel != "project_1" {
				t.Errorf("told %+v", e)
			}
			pgtest.Execute(t, b.conn, "select headway.post(1, 'project_1', 'welcome back')")
			if e := bob.want("message"); e.Content != "welcome back" {
				t.Errorf("told %+v", e)
			}
		})
	}
}

// TestWhatIsSaidWhileSomebodyIsLetInReachesThem has it be said after the gateway has read that Bob is in the project, where
// nobody else listens, and before it lets him in.
func TestWhatIsSaidWhileSomebodyIsLetInReachesThem(t *testing.T) {
	t.Parallel()
	var b *bench
	var eve *client
	var other *pgx.Conn
	var armed atomic.Bool
	b = setup(t, func(g *Gateway) {
		g.LookInterval = time.Hour
		g.hub.reached = func(step string) {
			if step == "visited" && armed.CompareAndSwap(true, false) {
				pgtest.Execute(t, other, "select headway.post(1, 'project_1', 'meanwhile'); select headway.post(1, 'broadcast', 'after it')")
				eve.want("message") // so the gateway has heard of both
			}
		}
	})
	pgtest.Execute(t, b.conn, "delete from headway.member where user_id = 2")
	b.hasLooked(t)
	bob := b.dial(t, 2, nil)
	bob.want("snapshot")
	eve = b.dial(t, 5, nil)
	eve.want("snapshot")
	b.rests(t)
	other = b.db.Conn(t)
	armed.Store(true)
	pgtest.Execute(t, b.conn, "insert into headway.member (project_id, user_id, role) values (1, 2, 'customer')")
	bob.want("joined")
	for bob.want("message").Content != "meanwhile" {
	}
}

// hasLooked waits until the gateway has looked for the first time, by when it listens, and has tested whether it hears. One
// that looks once an hour then looks no more.
func (b *bench) hasLooked(t *testing.T) {
	t.Helper()
	pgtest.Eventually(t, time.Minute, b.Hears, "the gateway does not hear")
}

// rests waits until the gateway asks for nobody, and reads nothing.
func (b *bench) rests(t *testing.T) {
	t.Helper()
	pgtest.Eventually(t, 20*time.Second, func() bool {
		b.hub.mu.Lock()
		defer b.hub.mu.Unlock()
		for _, topic := range b.hub.topics {
			if topic.reading {
				return false
			}
		}
		return len(b.hub.errands) == 0
	}, "the gateway does not come to rest")
}

// TestAsOftenAsSomebodyIsNamedTheyAreAskedForOnce forges what names Bob many times.
func TestAsOftenAsSomebodyIsNamedTheyAreAskedForOnce(t *testing.T) {
	t.Parallel()
	var visits atomic.Int64
	b := setup(t, func(g *Gateway) {
		g.LookInterval = time.Hour
		g.hub.reached = func(step string) {
			if step == "visit" {
				visits.Add(1)
			}
		}
	})
	b.hasLooked(t)
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

// TestOnesOwnProgressIsNotForgottenWithWhoLeaves has everybody but Charlie leave after the gateway has chosen as whom to read
// what is new, which is Charlie's own part.
func TestOnesOwnProgressIsNotForgottenWithWhoLeaves(t *testing.T) {
	t.Parallel()
	const sqlLeave = "delete from headway.member where user_id > 100"
	var other *pgx.Conn
	var armed atomic.Bool
	b := setup(t, func(g *Gateway) {
		g.LookInterval = time.Hour
		g.hub.reached = func(step string) {
			if step == "handing out" && armed.CompareAndSwap(true, false) {
				pgtest.Execute(t, other, sqlLeave)
			}
		}
	})
	pgtest.Execute(t, b.conn, `
insert into headway.appuser (id, fullname) select n, 'Person ' || n from generate_series(101, 140) n;
insert into headway.member (project_id, user_id, role) select 1, n, 'customer' from generate_series(101, 140) n`)
	pgtest.Execute(t, b.conn, "select headway.fold()")
	b.hasLooked(t)
	charlie := b.dial(t, 3, nil)
	charlie.want("snapshot")
	for id := int64(101); id <= 140; id++ {
		b.dial(t, id, nil).want("snapshot")
	}
	b.rests(t)
	other = b.db.Conn(t)
	armed.Store(true)
	pgtest.Execute(t, b.conn, "select headway.complete_task(2, 3); select headway.fold()")
	pgtest.Eventually(t, 20*time.Second, func() bool { return !armed.Load() }, "nothing is read")
	for e := charlie.want("progress"); e.Progress == nil || e.Progress.Done != 1; {
		e = charlie.want("progress")
	}
}

// TestWhoHasLeftIsNotOwedTheirProgress takes Bob out of the project, without a word, after the gateway has heard that his own
// part has changed and before it reads that part.
func TestWhoHasLeftIsNotOwedTheirProgress(t *testing.T) {
	t.Parallel()
	var other *pgx.Conn
	var armed, failed atomic.Bool
	read := make(chan struct{}, 10)
	b := setup(t, func(g *Gateway) {
		g.LookInterval = time.Hour
		g.hub.reached = func(step string) {
			switch {
			case step == "progress read" && armed.CompareAndSwap(true, false):
				pgtest.Execute(t, other, "select headway.set_setting('notify_payload', 'off'); delete from headway.member where user_id = 2")
			case step == "own read":
				read <- struct{}{}
			case step == "failed":
				failed.Store(true)
			}
		}
	})
	b.hasLooked(t)
	b.dial(t, 2, nil).want("snapshot")
	b.rests(t)
	other = b.db.Conn(t)
	armed.Store(true)
	pgtest.Execute(t, b.conn, "select headway.complete_task(2, 2); select headway.fold()")
	<-read
	b.rests(t)
	b.hub.background.wait()
	if failed.Load() {
		t.Error("it is read again and again")
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

// TestWhatIsMarkedInASilenceIsTold marks single messages in another window while nothing is notified.
func TestWhatIsMarkedInASilenceIsTold(t *testing.T) {
	t.Parallel()
	b := setup(t, func(g *Gateway) { g.LookInterval = 50 * time.Millisecond })
	pgtest.Execute(t, b.conn, "select headway.post(1, 'broadcast', n::text) from generate_series(1, 5) n")
	bob := b.dial(t, 2, nil)
	bob.want("snapshot")
	pgtest.Execute(t, b.conn, "select headway.set_setting('notify_payload', 'off')")
	pgtest.Execute(t, b.conn, "select headway.mark_seen(2, array(select id from headway.message where seq in (3, 4)))")
	if e := bob.want("read"); e.Channel != "broadcast" || e.Unread != 3 {
		t.Errorf("told %+v", e)
	}
}

// TestWhatIsMutedInASilenceIsTold mutes a channel in another window while nothing is notified.
func TestWhatIsMutedInASilenceIsTold(t *testing.T) {
	t.Parallel()
	b := setup(t, func(g *Gateway) { g.LookInterval = 50 * time.Millisecond })
	bob := b.dial(t, 2, nil)
	bob.want("snapshot")
	pgtest.Execute(t, b.conn, "select headway.set_setting('notify_payload', 'off')")
	pgtest.Execute(t, b.conn, "select headway.mute(2, 'broadcast', true)")
	if e := bob.want("read"); e.Channel != "broadcast" || !e.Muted {
		t.Errorf("told %+v", e)
	}
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
	pgtest.Eventually(t, time.Minute, settled, "the gateway looks on and on")
	pgtest.Execute(t, b.conn, "select headway.set_setting('notify_payload', 'off'); delete from headway.member where user_id = 2")
	pgtest.Execute(t, other, "begin; delete from headway.member where user_id = 3")
	pgtest.Execute(t, b.conn, "select headway.set_setting('notify_payload', 'row')")
	ping()
	bob.want("left")
	pgtest.Execute(t, other, "commit")
	ping()
	charlie.want("left")
	pgtest.Eventually(t, time.Minute, settled, "the gateway looks on and on")
}

// TestNothingIsAskedForAgainAndAgain asks for what there is not: each failure would be repeated.
func TestNothingIsAskedForAgainAndAgain(t *testing.T) {
	t.Parallel()
	for name, ask := range map[string]func(h *hub){
		"the cursor of somebody who has just left": func(h *hub) {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.tellCursor(2, "project_2")
		},
		"a channel whose name fails any query": func(h *hub) {
			h.hear(`{"kind": "read", "channel": "\u0000", "user_id": 2}`)
			h.hear(`{"kind": "read", "channel": "project_1\u0000", "user_id": 2}`)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var failed atomic.Bool
			b := setup(t, func(g *Gateway) {
				g.hub.reached = func(step string) {
					if step == "failed" {
						failed.Store(true)
					}
				}
			})
			bob := b.dial(t, 2, nil)
			bob.want("snapshot")
			ask(b.hub)
			b.rests(t)
			if failed.Load() {
				t.Error("it is a failure")
			}
		})
	}
}
