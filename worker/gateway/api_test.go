package gateway

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
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
