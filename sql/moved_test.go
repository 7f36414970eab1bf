package sql_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"headway/internal/pgtest"
	"headway/sql"
	"headway/worker"
)

// moved checks that all of a database has arrived, and that it goes on there.
func moved(t *testing.T, from, target *site) {
	t.Helper()
	same(t, "the rows here and there", target.rows(t), from.rows(t))
	same(t, "the sequences here and there", target.sequences(t), from.sequences(t))
	same(t, "what was restored and what headway makes", describe(t, target.Conn(t)), describe(t, pgtest.New(t).Conn(t)))

	conn := target.Conn(t)
	if err := sql.Migrate(t.Context(), conn, sql.Latest(), func(_ int32, file, _ string) { t.Errorf("it runs %s again", file) }); err != nil {
		t.Errorf("migrate: %v", err)
	}
	const progress = "select string_agg(p::text, ' ' order by p.project_id, p.user_id) from headway.progress p"
	if got, want := value[string](t, conn, progress), value[string](t, from.Conn(t), progress); got != want {
		t.Errorf("progress is %s, want %s", got, want)
	}
	exact(t, conn, "as it came")
	mailsOnce(t, from, target)
	goesOn(t, conn)
	works(t, target)
}

// mailsOnce checks that what was mailed is not mailed again, and what was not still is.
func mailsOnce(t *testing.T, from, target *site) {
	t.Helper()
	conn := target.Conn(t)
	const due = "select coalesce(string_agg(d.user_id::text, ' ' order by d.user_id), '') from headway.due_digests('2100-01-01 12:00Z') d"
	if got, want := value[string](t, conn, due), value[string](t, from.Conn(t), due); got != want {
		t.Errorf("due are %q, want %q", got, want)
	}
	for _, user := range []int{14, 16, 17} { // sent, held and being sent
		if _, err := conn.Exec(t.Context(), "select headway.reserve_digest($1)", user); code(err) != "P0002" {
			t.Errorf("a second digest for %d: %v", user, err)
		}
	}
	var claimed []string
	for {
		var content []byte
		err := conn.QueryRow(t.Context(), "select headway.claim_digest('22222222-2222-2222-2222-222222222222', '1 hour')").Scan(&content)
		if err != nil {
			t.Fatal(err)
		}
		if content == nil {
			break
		}
		var digest struct {
			Email string
			Mail  []byte
		}
		if err := json.Unmarshal(content, &digest); err != nil {
			t.Fatal(err)
		}
		claimed = append(claimed, digest.Email+" "+string(digest.Mail))
	}
	// One that waited, and one whose worker had gone: the same bytes as before.
	if got, want := fmt.Sprintf("%q", claimed), `["person11@example.com " "person18@example.com \\x00 mail for 18"]`; got != want {
		t.Errorf("claimed are %s, want %s", got, want)
	}
}

// goesOn writes what an application writes, and folds it.
func goesOn(t *testing.T, conn *pgx.Conn) {
	t.Helper()
	last := value[int](t, conn, "select last_seq from headway.channel where name = 'project_1'")
	if seq := value[int](t, conn, "select seq from headway.post(2, 'project_1', 'There you are!')"); seq != last+1 {
		t.Errorf("number %d follows %d", seq, last)
	}
	for table, id := range map[string]int{"appuser (fullname) values ('Zoe')": 21, "task (project_id, title) values (1, 'Rest')": 10} {
		if got := value[int](t, conn, "insert into headway."+table+" returning id"); got != id {
			t.Errorf("the next id of %s is %d, want %d", table, got, id)
		}
	}
	pgtest.Execute(t, conn, "insert into headway.project (name) values ('New')")
	for refused, want := range map[string]string{
		"select headway.complete_task(7, 1)":         "55000", // archived
		"update headway.message set content = ''":    "0A000",
		"update headway.subscription set read_seq=0": "22023",
		"select headway.post(1, 'project_3', 'x')":   "42501",
	} {
		if _, err := conn.Exec(t.Context(), refused); code(err) != want {
			t.Errorf("%s: %v, want %s", refused, err, want)
		}
	}
	exact(t, conn, "before the folds")
	for value[int](t, conn, "select headway.fold()") > 0 {
		exact(t, conn, "folding")
	}
	if n := value[int](t, conn, "select count(*) from headway.pending_fact"); n > 0 {
		t.Errorf("%d facts are left", n)
	}
}

// works has a worker work there.
func works(t *testing.T, db *site) {
	t.Helper()
	config, err := worker.LoadConfig(func(name string) string { return map[string]string{"DATABASE_URL": db.WorkerURL()}[name] })
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- worker.New(config, slog.New(slog.NewTextHandler(t.Output(), nil)), "test").Run(ctx)
	}()
	conn := db.Conn(t)
	pgtest.Execute(t, conn, "select headway.complete_task(10, 2)")
	pgtest.Eventually(t, 20*time.Second, func() bool {
		return value[int](t, conn, "select count(*) from headway.pending_fact") == 0
	}, "the worker does not fold")
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("worker: %v", err)
	}
	exact(t, conn, "with a worker")
}
