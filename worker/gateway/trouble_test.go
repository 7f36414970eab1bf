package gateway

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/jackc/pgx/v5"

	"headway/internal/gatewaytest"
	"headway/internal/pgtest"
)

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
	for message, progress := false, false; !message || !progress; { // in any order
		e, err := bob.next()
		switch {
		case err != nil:
			t.Fatal(err)
		case e.Type == "message":
			if message = true; e.Seq != 2 || e.Content != "under a number that was given before" {
				t.Errorf("told %+v", e)
			}
		case e.Type == "progress":
			if progress = true; e.Version != 2 {
				t.Errorf("told %+v", e)
			}
		}
	}
}

// lose has the database forget, and the gateway lose its connections to it.
func (b *bench) lose(t *testing.T, statements string) {
	t.Helper()
	pgtest.Execute(t, b.conn, "begin; set local session_replication_role = replica; "+statements+"; commit")
	pgtest.Execute(t, b.conn, "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()")
	b.hub.store.pool.Reset() // or whoever comes back at once may be given a connection of which nobody knows yet that it has ended
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
	pgtest.Execute(t, b.conn, `
alter function headway.messages_since rename to gone_1;
alter view headway.unread rename to gone_2;
alter view headway.current_shared_progress rename to gone_3;
select headway.post(1, 'project_1', 'at last'), headway.mark_read(2, 'project_1'), headway.complete_task(1, 1);
select headway.fold()`)
	for range 3 {
		<-failed
	}
	pgtest.Execute(t, b.conn, `
alter function headway.gone_1 rename to messages_since;
alter view headway.gone_2 rename to unread;
alter view headway.gone_3 rename to current_shared_progress`)
	for told := map[string]bool{}; len(told) < 3; { // in any order
		e, err := bob.next()
		if err != nil {
			t.Fatalf("told only %v: %v", told, err)
		}
		if e.Content == "at last" || e.ReadSeq == 1 || e.Shared.Done == 1 {
			told[e.Type] = true
		}
	}

	// Whoever comes meanwhile is somebody, though nobody can say it now.
	pgtest.Execute(t, b.conn, "alter function headway.snapshot rename to gone")
	if code := b.dial(t, 2, nil).ending(); code != websocket.StatusTryAgainLater {
		t.Errorf("without a snapshot, the connection ends with %d", code)
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

// lines are what is logged.
type lines chan string

func (l lines) Write(p []byte) (int, error) {
	l <- string(p)
	return len(p), nil
}

// untried begins what is logged on a machine so busy that the test whether anything is heard was not done in time.
const untried = "could not test whether"

// deaf waits until it is said that nothing is heard.
func (l lines) deaf(t *testing.T) {
	t.Helper()
	late := time.After(time.Minute)
	for {
		select {
		case warning := <-l:
			switch {
			case strings.Contains(warning, "HEADWAY_LISTEN_URL"):
				return
			case !strings.Contains(warning, untried):
				t.Fatalf("it says %s", warning)
			}
		case <-late:
			t.Fatal("it does not say that nothing is heard")
		}
	}
}

// TestWhereNothingArrivesTheGatewayLooks listens by way of a PgBouncer in transaction mode, which passes no notification on.
func TestWhereNothingArrivesTheGatewayLooks(t *testing.T) {
	t.Parallel()
	logged := make(lines, 100)
	b := setup(t, func(g *Gateway) {
		g.Log = slog.New(slog.NewTextHandler(logged, nil))
		g.ProbeTimeout, g.ProbeInterval, g.LookInterval = 200*time.Millisecond, 300*time.Millisecond, 50*time.Millisecond
		url := (&pgtest.DB{URL: g.hub.store.pool.Config().ConnString()}).PgBouncer(t)
		g.Connect = gatewaytest.Connect(&pgtest.DB{URL: url})
	})
	bob := b.dial(t, 2, nil)
	bob.want("snapshot")
	logged.deaf(t)
	hasRead := func(channel string, seq int64) {
		t.Helper()
		e := bob.want("read")
		for e.Channel == channel && e.ReadSeq < seq { // a look between the message and the reading
			e = bob.want("read")
		}
		if e.Channel != channel || e.ReadSeq != seq || e.Unread != 0 {
			t.Errorf("told %+v", e)
		}
	}
	for round := range 3 {
		pgtest.Execute(t, b.conn, fmt.Sprintf("select headway.post(1, 'project_1', 'unheard, round %d')", round))
		if e := bob.want("message"); e.Content != fmt.Sprintf("unheard, round %d", round) {
			t.Errorf("told %+v", e)
		}
		pgtest.Execute(t, b.conn, "select headway.mark_read(2, 'project_1')")
		hasRead("project_1", int64(round)+1)
	}
	pgtest.Execute(t, b.conn, "select headway.open_channel('lunch', null, array[1, 2])")
	bob.want("joined")
	pgtest.Execute(t, b.conn, "select headway.post(1, 'lunch', 'Noon?')")
	bob.want("message")
	pgtest.Execute(t, b.conn, "select headway.mark_read(2, 'lunch')")
	hasRead("lunch", 1)
	if b.Hears() {
		t.Error("it hears")
	}
	for len(logged) > 0 {
		if warning := <-logged; !strings.Contains(warning, untried) {
			t.Errorf("it says %s", warning)
		}
	}
}

// TestAServerThatWasReplacedAndLivesOnIsLeft listens to another database, as to a former primary that nobody has stopped.
func TestAServerThatWasReplacedAndLivesOnIsLeft(t *testing.T) {
	t.Parallel()
	former := pgtest.New(t)
	var connected atomic.Int64
	b := setup(t, func(g *Gateway) {
		g.ProbeTimeout, g.ProbeInterval, g.LookInterval = 500*time.Millisecond, time.Second, time.Second
		now := g.Connect
		g.Connect = func(ctx context.Context) (*pgx.Conn, error) {
			if connected.Add(1) == 1 {
				return gatewaytest.Connect(former)(ctx)
			}
			return now(ctx)
		}
	})
	pgtest.Eventually(t, time.Minute, b.Hears, "the gateway does not hear")
	bob := b.dial(t, 2, nil)
	bob.want("snapshot")
	pgtest.Execute(t, b.conn, "select headway.post(1, 'project_1', 'heard')")
	if e := bob.want("message"); e.Content != "heard" {
		t.Errorf("told %+v", e)
	}
}

// TestAServerThatFallsSilentAtOnceIsLeft stops the process at the other end of the first connection before it is listened to.
func TestAServerThatFallsSilentAtOnceIsLeft(t *testing.T) {
	t.Parallel()
	var connected atomic.Int64
	b := setup(t, func(g *Gateway) {
		now := g.Connect
		g.Connect = func(ctx context.Context) (*pgx.Conn, error) {
			conn, err := now(ctx)
			if err == nil && connected.Add(1) == 1 {
				pid := int(conn.PgConn().PID())
				err = syscall.Kill(pid, syscall.SIGSTOP)
				t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGCONT) }) // or the database cannot be dropped
			}
			return conn, err
		}
	})
	pgtest.Eventually(t, time.Minute, b.Hears, "the gateway does not hear")
}

// TestTheGatewayMayBeIdle has the server end sessions sooner than the gateway looks whether it is there.
func TestTheGatewayMayBeIdle(t *testing.T) {
	t.Parallel()
	b := setup(t, func(g *Gateway) {
		now := g.Connect
		g.Connect = func(ctx context.Context) (*pgx.Conn, error) {
			conn, err := now(ctx)
			if err == nil {
				_, err = conn.Exec(ctx, "set idle_session_timeout = '1s'")
			}
			return conn, err
		}
	})
	pgtest.Eventually(t, time.Minute, func() bool {
		var idle bool
		err := b.conn.QueryRow(t.Context(), `
select exists (
  select from pg_stat_activity
  where datname = current_database() and application_name = 'gateway' and state = 'idle' and now() - state_change > interval '2 seconds'
)`).Scan(&idle)
		return err == nil && idle
	}, "no session is idle for longer than others may be")
}

// TestWhereNothingArrivesTheGatewayLooksBetweenProbes has it try hardly ever whether what is notified arrives, so that nothing
// but looking finds what happens.
func TestWhereNothingArrivesTheGatewayLooksBetweenProbes(t *testing.T) {
	t.Parallel()
	logged := make(lines, 100)
	b := setup(t, func(g *Gateway) {
		g.Log = slog.New(slog.NewTextHandler(logged, nil))
		g.ProbeTimeout, g.ProbeInterval, g.LookInterval = 2*time.Second, time.Hour, 50*time.Millisecond
		url := (&pgtest.DB{URL: g.hub.store.pool.Config().ConnString()}).PgBouncer(t)
		g.Connect = gatewaytest.Connect(&pgtest.DB{URL: url})
	})
	bob := b.dial(t, 2, nil)
	bob.want("snapshot")
	logged.deaf(t)
	for round := range 3 {
		pgtest.Execute(t, b.conn, fmt.Sprintf("select headway.post(1, 'project_1', 'unheard, round %d')", round))
		if e := bob.want("message"); e.Content != fmt.Sprintf("unheard, round %d", round) {
			t.Errorf("told %+v", e)
		}
	}
}

// TestWhoCannotTryWhetherItHearsGoesOnListening has the database take no new connection, over which it would be tried.
func TestWhoCannotTryWhetherItHearsGoesOnListening(t *testing.T) {
	t.Parallel()
	logged := make(lines, 100)
	b := setup(t, func(g *Gateway) {
		g.Log = slog.New(slog.NewTextHandler(logged, nil))
		g.ProbeTimeout, g.ProbeInterval, g.LookInterval = 2*time.Second, 100*time.Millisecond, 100*time.Millisecond
	})
	pgtest.Eventually(t, 20*time.Second, b.Hears, "the gateway does not hear")
	bob := b.dial(t, 2, nil)
	bob.want("snapshot")
	pgtest.Execute(t, pgtest.Empty(t).Conn(t), `alter database `+b.conn.Config().Database+` allow_connections false`)
	<-logged // that it could not be tried
	pgtest.Execute(t, b.conn, "select headway.post(1, 'project_1', 'heard')")
	if e := bob.want("message"); e.Content != "heard" || !b.Hears() {
		t.Errorf("told %+v, and it hears: %t", e, b.Hears())
	}
}
