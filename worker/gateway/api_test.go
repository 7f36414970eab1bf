package gateway

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"headway/internal/gatewaytest"
	"headway/internal/pgtest"
)

// TestWhoLeavesIsNoError has somebody close the page while a request is under way.
func TestWhoLeavesIsNoError(t *testing.T) {
	t.Parallel()
	var logged strings.Builder
	b := setup(t, func(g *Gateway) { g.Log = slog.New(slog.NewTextHandler(&logged, nil)) })
	ctx, leave := context.WithCancel(t.Context())
	leave()
	r := httptest.NewRequestWithContext(ctx, http.MethodGet, "/api/snapshot", nil)
	r.Header.Set("Authorization", "Bearer "+gatewaytest.Token(t, 2, time.Now().Add(time.Hour)))
	b.Handler().ServeHTTP(httptest.NewRecorder(), r)
	if logged.Len() > 0 {
		t.Errorf("logged: %s", logged.String())
	}
}

// TestALongListOfTasksTakesNoMoreForEach compares a project of many tasks with one of few: if each task were compared with
// every other, it would take a hundred times as long rather than ten.
func TestALongListOfTasksTakesNoMoreForEach(t *testing.T) {
	t.Parallel()
	b := setup(t)
	pgtest.Execute(t, b.conn, `
insert into headway.project (id, name) values (3, 'Few'), (4, 'Many');
insert into headway.member (project_id, user_id, role) select p, 2, 'customer' from generate_series(3, 4) p;
insert into headway.task (id, project_id, title) select i, case when i <= 1200 then 3 else 4 end, 'Task ' || i from generate_series(1001, 3200) i;
insert into headway.prerequisite (task_id, requires_id)
select t.id, t.id - 1 from headway.task t where t.id % 2 = 0 and t.project_id between 3 and 4;
select headway.fold();
analyze`)
	list := func(project int) time.Duration {
		began := time.Now()
		status, text := b.do(t, 2, "GET", fmt.Sprintf("/api/projects/%d/tasks", project), "")
		if status != http.StatusOK || !strings.Contains(text, `"blocked_by":[{"id" : `) {
			t.Fatalf("project %d: %d %.200s", project, status, text)
		}
		return time.Since(began)
	}
	few, many := time.Hour, time.Hour
	for range 5 {
		few, many = min(few, list(3)), min(many, list(4))
	}
	if many > 30*few {
		t.Errorf("2,000 tasks take %v, 200 take %v", many, few)
	}
}

// TestALongChannelTakesNoLonger compares the last messages of a long channel with those of a short one: if the channel were
// read to find them, it would take hundreds of times as long.
func TestALongChannelTakesNoLonger(t *testing.T) {
	t.Parallel()
	b := setup(t)
	// Without autovacuum: a plan for the few messages there are at first would be one for all of them.
	pgtest.Execute(t, b.conn, `
alter table headway.message set (autovacuum_enabled = off);
alter table headway.subscription set (autovacuum_enabled = off);
select headway.post(1, 'project_1', 'short ' || i) from generate_series(1, 50) i;
select headway.open_channel('long', members => array[1, 2])`)
	for range 20 { // in short transactions: whoever asks what was under way waits for those in other databases too
		pgtest.Execute(t, b.conn, `insert into headway.message (sender, channel, content) select 1, 'long', 'Message ' || i from generate_series(1, 5000) i`)
	}
	pgtest.Execute(t, b.conn, "analyze")
	list := func(channel, which string) time.Duration {
		began := time.Now()
		status, text := b.do(t, 2, "GET", "/api/channels/"+channel+"/messages"+which, "")
		if n := strings.Count(text, `"seq" :`); status != http.StatusOK || n != 50 {
			t.Fatalf("%s: %d, %d messages: %.200s", channel, status, n, text)
		}
		return time.Since(began)
	}
	for _, which := range []string{"", "?before=50001", "?after=40000&limit=50"} {
		short, long := time.Hour, time.Hour
		for range 10 { // the last few with a plan for all channels
			short, long = min(short, list("project_1", "")), min(long, list("long", which))
		}
		if long > 8*short {
			t.Errorf("50 of 100,000 messages%s take %v, 50 of 50 take %v", which, long, short)
		}
	}
}

// TestOnesOwnBarTakesNoLongerAmongMany compares the bar of a customer of two projects, one of which has twenty thousand, before
// and after these have joined: everybody whom one may see would take dozens of times as long to find.
func TestOnesOwnBarTakesNoLongerAmongMany(t *testing.T) {
	t.Parallel()
	b := setup(t)
	bar := func() time.Duration {
		took := time.Hour
		for range 10 {
			began := time.Now()
			if status, text := b.do(t, 2, "GET", "/api/projects/1/progress", ""); status != http.StatusOK || strings.Count(text, "user_id") != 1 {
				t.Fatal(status, text)
			}
			took = min(took, time.Since(began))
		}
		return took
	}
	few := bar()
	pgtest.Execute(t, b.conn, `
insert into headway.appuser (id, fullname) select i, 'Person' from generate_series(1001, 21000) i;
insert into headway.project (id, name) values (1000, 'Large');
insert into headway.member (project_id, user_id, role) select 1000, i, 'customer' from generate_series(1001, 21000) i union all select 1000, 2, 'customer';
select headway.fold(1000000)`)
	pgtest.Execute(t, b.conn, "vacuum analyze")
	if many := bar(); many > 8*few {
		t.Errorf("a bar takes %v among few, %v among 20,000", few, many)
	} else {
		t.Logf("a bar takes %v among few, %v among 20,000", few, many)
	}
}

// TestNoQueryIsCompiled asks in both of the ways in which the gateway does.
func TestNoQueryIsCompiled(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var jit string
	err := b.hub.store.as(t.Context(), 2, func(tx pgx.Tx) error { return tx.QueryRow(t.Context(), "show jit").Scan(&jit) })
	if err != nil || jit != "off" {
		t.Errorf("jit is %q, %v", jit, err)
	}
	if jit, err = one(ask(t.Context(), b.hub.store, 2, pgx.RowTo[string], "show jit")); err != nil || jit != "off" {
		t.Errorf("jit is %q, %v", jit, err)
	}
}

// TestALookReadsOnlyWhatIsNew has somebody in a project look when nothing has happened, and when something has.
func TestALookReadsOnlyWhatIsNew(t *testing.T) {
	t.Parallel()
	var visited, read atomic.Int64
	b := setup(t, func(g *Gateway) {
		g.LookInterval = time.Hour
		g.hub.reached = func(step string) {
			switch step {
			case "visited":
				visited.Add(1)
			case "progress read":
				read.Add(1)
			}
		}
	})
	dora := b.dial(t, 4, nil)
	dora.want("snapshot")
	look := func() {
		before := visited.Load()
		b.hub.mu.Lock()
		for _, topic := range b.hub.topics {
			topic.whole = true // as after the first look
		}
		b.hub.mu.Unlock()
		b.hub.look()
		pgtest.Eventually(t, time.Minute, func() bool { return visited.Load() > before }, "nobody looks")
		b.rests(t)
	}
	b.rests(t)
	before := read.Load()
	look()
	if n := read.Load() - before; n > 0 {
		t.Errorf("nothing is new, and the progress is read %d times", n)
	}
	pgtest.Execute(t, b.conn, "select headway.set_setting('notify_payload', 'off')")
	pgtest.Execute(t, b.conn, "select headway.complete_task(1, 1); select headway.fold()")
	look()
	dora.want("progress")
}

// TestAGatewayThatMayActForNobodySaysSo has its login lack headway_user.
func TestAGatewayThatMayActForNobodySaysSo(t *testing.T) {
	t.Parallel()
	b := setup(t)
	g := New(b.db.Pool(t, pgtest.User("test_worker")), nil, b.Verifier, b.Log)
	for method, path := range map[string]string{"GET": "/api/snapshot", "POST": "/api/ticket"} {
		r := httptest.NewRequestWithContext(t.Context(), method, path, nil)
		r.Header.Set("Authorization", "Bearer "+gatewaytest.Token(t, 2, time.Now().Add(time.Hour)))
		w := httptest.NewRecorder()
		g.Handler().ServeHTTP(w, r)
		if w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), "may not act for anybody") {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
}
