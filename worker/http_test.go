package worker_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"headway/internal/pgtest"
	"headway/internal/postgres"
	"headway/internal/smtptest"
	"headway/sql"
	"headway/worker"
)

// metric returns the value of a counter or gauge, or how often a histogram was told one.
func metric(t *testing.T, w *worker.Worker, name string) float64 {
	t.Helper()
	families, err := w.Registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			m := f.GetMetric()[0]
			return m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	t.Fatalf("there is no metric %s", name)
	return 0
}

func get(t *testing.T, addr, path string) (status int, body string) {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Get("http://" + addr + path)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(content)
}

func TestHealthReadinessAndMetricsAreServed(t *testing.T) {
	t.Parallel()
	cluster, db := ownCluster(t, nil)
	addr := pgtest.FreeAddr(t)
	w := start(t, config(t, db.URL, "HEADWAY_HTTP_ADDR", addr), func(w *worker.Worker) {
		w.HeartbeatInterval = 50 * time.Millisecond
		w.Handlers = map[string]http.Handler{"GET /gateway": http.NotFoundHandler()}
	})
	w.await(worker.Leading, worker.Asleep)

	pgtest.Eventually(t, soon, func() bool { status, _ := get(t, addr, "/readyz"); return status == http.StatusOK }, "it is not ready")
	pgtest.Eventually(t, soon, func() bool { return metric(t, w.Worker, "headway_pending_facts") == 0 }, "facts are pending")
	_, body := get(t, addr, "/metrics")
	for _, want := range []string{
		"headway_leader 1\n",
		"headway_listening 1\n",
		"headway_schema_ok 1\n",
		"headway_fold_errors_total 0\n",
		"headway_probe_failures_total 0\n",
		"headway_pending_facts 0\n",
		`headway_digest_attempts_total{outcome="refused"} 0` + "\n",
		"headway_mail_errors_total 0\n",
		"headway_mailing 0\n",
		"headway_oldest_digest_age_seconds 0\n",
		"# HELP headway_oldest_fact_age_seconds How long the oldest fact ",
		`headway_info{version="test"} 1` + "\n",
		`headway_fold_seconds_bucket{le="0.001"}`,
		"headway_notification_queue_usage ",
		"go_goroutines ",
	} {
		if !strings.Contains(body, want) {
			t.Errorf("/metrics lacks %s", want)
		}
	}
	if metric(t, w.Worker, "headway_facts_folded_total") == 0 {
		t.Error("nothing was folded")
	}
	if status, _ := get(t, addr, "/gateway"); status != http.StatusNotFound {
		t.Errorf("/gateway: %d", status)
	}

	// Newer than this binary.
	pgtest.Execute(t, db.Conn(t), "update "+sql.VersionTable+" set version = version + 1")
	pgtest.Eventually(t, soon, func() bool { status, _ := get(t, addr, "/readyz"); return status == http.StatusServiceUnavailable }, "it is ready")
	if _, body := get(t, addr, "/readyz"); !strings.Contains(body, "the schema is at version") {
		t.Error(body)
	}

	// Alive is not ready.
	cluster.Halt(postgres.Immediate)
	w.await(worker.Lost)
	if status, _ := get(t, addr, "/healthz"); status != http.StatusOK {
		t.Errorf("/healthz without a database: %d", status)
	}
	for range 3 { // also while it tries by way of the pool
		if metric(t, w.Worker, "headway_leader") != 0 || metric(t, w.Worker, "headway_listening") != 0 {
			t.Error("it leads and listens without a database")
		}
		w.await(worker.Polled, worker.Polled)
	}
	w.stop()
}

// TestMetricsTellThatNoMailGoesOut has a digest wait for a mail server that cannot be reached.
func TestMetricsTellThatNoMailGoesOut(t *testing.T) {
	t.Parallel()
	p := correspond(t, 1, smtptest.Options{})
	addr := pgtest.FreeAddr(t)
	w := start(t, p.config("HEADWAY_HTTP_ADDR", addr, "HEADWAY_SMTP_URL", "smtp://127.0.0.1:1?tls=none"), func(w *worker.Worker) {
		w.HeartbeatInterval, w.SweepInterval = 100*time.Millisecond, 100*time.Millisecond
	})
	for _, name := range []string{"headway_mail_errors_total", "headway_oldest_digest_age_seconds"} {
		pgtest.Eventually(t, soon, func() bool { return metric(t, w.Worker, name) > 0 }, "%s stays 0", name)
	}
	if metric(t, w.Worker, "headway_mailing") != 1 {
		t.Error("it says that it has no mail server")
	}
	// What appears with its first digest, rather than at 0, is no increase to an alert.
	states := value[[]string](t, p.conn, `
		select array_agg(m.state[1])
		from pg_constraint c
		cross join lateral regexp_matches(pg_get_constraintdef(c.oid), $$'(\w+)'$$, 'g') m (state)
		where c.conname = 'digest_state_known' and c.connamespace = 'headway'::regnamespace`)
	var want strings.Builder
	slices.Sort(states)
	for _, state := range states {
		fmt.Fprintf(&want, "headway_digests{state=%q} %d\n", state, map[bool]int{true: 1}[state == "reserved"])
	}
	pgtest.Eventually(t, soon, func() bool {
		_, body := get(t, addr, "/metrics")
		return strings.Contains(body, want.String())
	}, "/metrics lacks\n%s", want.String())
}

func TestAWorkerThatCannotBeginSaysWhy(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	run := func(c worker.Config) error {
		return worker.New(c, slog.New(slog.DiscardHandler), "test").Run(t.Context())
	}

	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	nobody := "postgres://postgres@127.0.0.1:1/app?sslmode=disable"
	other := pgtest.New(t)
	for want, c := range map[string]worker.Config{
		"DATABASE_URL": config(t, nobody),
		"listening connection (HEADWAY_LISTEN_URL)":        config(t, db.URL, "HEADWAY_LISTEN_URL", nobody),
		"HEADWAY_LISTEN_URL leads to a different database": config(t, db.URL, "HEADWAY_LISTEN_URL", other.URL),
		"HEADWAY_HTTP_ADDR":                                config(t, db.URL, "HEADWAY_HTTP_ADDR", taken.Addr().String()),
	} {
		if err := run(c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}

	for _, change := range []int{-1, +2} { // older, then newer
		pgtest.Execute(t, db.Conn(t), fmt.Sprintf("update %s set version = version + %d", sql.VersionTable, change))
		var version *sql.VersionError
		if err := run(config(t, db.URL)); !errors.As(err, &version) {
			t.Errorf("a schema off by %+d: %v", change, err)
		}
	}
	if err := run(config(t, pgtest.Empty(t).URL)); err == nil || !strings.Contains(err.Error(), "headway migrate") {
		t.Errorf("no schema: %v", err)
	}
}

// TestAWorkerThatCanServeNobodyEnds: whoever runs it starts another one, with a listener that works.
func TestAWorkerThatCanServeNobodyEnds(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listener.Close()
	w := worker.New(config(t, pgtest.New(t).URL), slog.New(slog.DiscardHandler), "test")
	w.Listener = listener
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second) // or the test would wait for an error that never comes
	defer cancel()
	if err := w.Run(ctx); err == nil || !strings.Contains(err.Error(), "serve HTTP") {
		t.Errorf("without a listener that works: %v", err)
	}
}

// TestTheSameDatabaseByTwoAddresses asks where they lead in sessions with settings of their own.
func TestTheSameDatabaseByTwoAddresses(t *testing.T) {
	t.Parallel()
	db, other := pgtest.New(t), pgtest.New(t)
	here, there := db.Conn(t), db.Conn(t)
	pgtest.Execute(t, there, "set timezone = 'Asia/Tokyo'; set datestyle = 'German'")
	if err := worker.CheckSame(t.Context(), here, there); err != nil {
		t.Error(err)
	}
	if err := worker.CheckSame(t.Context(), here, other.Conn(t)); !errors.Is(err, worker.ErrElsewhere) {
		t.Errorf("another database: %v", err)
	}
}

func TestTheWorkersRowFollowsIt(t *testing.T) {
	t.Parallel()
	rarely := func(w *worker.Worker) { w.HeartbeatInterval = time.Hour } // who leads is told at once
	d := setup(t, rarely)
	row := "select count(*) from headway.worker where id = $1 and leader and version = 'test' and pid > 0 and host <> ''"

	pgtest.Eventually(t, soon, func() bool { return value[int](t, d.bystander, row, d.ID()) == 1 }, "its row is not there")
	standby := start(t, d.configured, rarely)
	standby.await(worker.StandingBy)
	pgtest.Eventually(t, soon, func() bool {
		return value[int](t, d.bystander, "select workers from headway.status") == 2
	}, "the standby's row is not there")

	d.stop()
	standby.await(worker.Leading)
	pgtest.Eventually(t, soon, func() bool { return value[int](t, d.bystander, row, standby.ID()) == 1 }, "the row does not say who leads")
	standby.stop()
	if n := value[int](t, d.bystander, "select count(*) from headway.worker"); n != 0 {
		t.Errorf("%d rows are left", n)
	}
	// The server lets go of them when it has noticed that the connection has ended.
	for _, purpose := range []string{"leader", "doorbell", "fold"} {
		pgtest.Eventually(t, soon, func() bool { return locks(t, d.bystander, purpose, anyMode) == 0 }, "the %s lock is still held", purpose)
	}
}

func TestTheFoldInHandIsFinished(t *testing.T) {
	t.Parallel()
	d := setup(t)

	// A fold that takes a while, because somebody else folds in an open transaction.
	pgtest.Execute(t, d.writer, "begin; select headway.fold()")
	pgtest.Execute(t, d.bystander, complete(1))
	d.await(worker.Rung)
	pgtest.Eventually(t, soon, func() bool { return advisoryWaits(t, d.bystander) == 1 }, "it does not fold")
	stopped := make(chan struct{})
	go func() { d.stop(); close(stopped) }()
	pgtest.Execute(t, d.writer, "rollback")
	await(t, "the worker to stop", stopped)
	if n := value[int](t, d.bystander, "select count(*) from headway.pending_fact"); n != 0 {
		t.Errorf("%d facts are left", n)
	}
}

func TestAPanicIsLoggedAndTheLoopStartedAgain(t *testing.T) {
	t.Parallel()
	panicked := false
	d := setup(t, func(w *worker.Worker) {
		observe := w.Observe
		w.Observe = func(e worker.Event) {
			observe(e)
			if e == worker.Rung && !panicked {
				panicked = true
				panic("a defect")
			}
		}
	})

	pgtest.Execute(t, d.writer, complete(1))
	d.await(worker.Rung, worker.Leading, worker.Folded)
	if n := metric(t, d.Worker, "headway_panics_total"); n != 1 {
		t.Errorf("%v panics are counted", n)
	}
	d.finish()
}
