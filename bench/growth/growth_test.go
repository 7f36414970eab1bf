package growth

import (
	"os"
	"strings"
	"testing"
	"time"

	"headway/bench/lab"
	"headway/bench/lab/labtest"
	"headway/bench/process"
	"headway/bench/report"
	"headway/internal/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// TestEverythingIsMeasured does a pass at sizes that say nothing. What is measured is checked while it is measured: each
// part fails where headway's answer is not right.
func TestEverythingIsMeasured(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	l := labtest.Open(t)
	program, err := process.Build(ctx, l.Dir)
	if err != nil {
		t.Fatal(err)
	}

	var r Result
	if r.Unread, err = measureUnread(ctx, l, unreadAt{messages: 2000, people: 2, reads: 3}); err != nil {
		t.Fatal(err)
	}
	if r.Sweeps, err = measureSweeps(ctx, l, sweepAt{projects: 20, people: 20, due: 5, repetitions: 2}); err != nil {
		t.Fatal(err)
	}
	at := customersAt{everyone: []int{3, 250}, assigned: []int{250}, repetitions: 2}
	if r.Customers, err = measureCustomers(ctx, l, program, at); err != nil {
		t.Fatal(err)
	}
	plan := lab.Plan{Writers: 4, Warmup: 20 * time.Millisecond, Full: 200 * time.Millisecond, Patience: 20 * time.Second}
	if r.Tasks, err = measureTasks(ctx, l, program, tasksAt{sizes: []int{100, 20_000}, tasks: 20_000, plan: plan, repeated: 1}); err != nil {
		t.Fatal(err)
	}

	if r.Unread.Read <= 0 || r.Unread.MarkRead <= 0 || r.Unread.Rows != 1 {
		t.Errorf("unread: %+v", r.Unread)
	}
	for _, s := range r.Sweeps {
		if s.Time <= 0 || s.Due != 5 || s.Subscriptions < 400 {
			t.Errorf("sweep: %+v", s)
		}
	}
	for _, c := range r.Customers {
		if c.Fold <= 0 || c.Read <= 0 {
			t.Errorf("customers: %+v", c)
		}
	}
	for _, m := range r.Tasks {
		if m.PerSecond <= 0 || m.Projects*m.Tasks != 20_000 {
			t.Errorf("tasks: %+v", m)
		}
	}

	goals := r.Goals()
	if len(goals) != 7 {
		t.Errorf("there are %d goals: %+v", len(goals), goals)
	}
	page := report.Document{Title: "Growth", Sections: r.Sections()}.Markdown()
	for _, want := range []string{"| 20,000 | 1 |", "| 250 | each assigned |", "2,000 messages", "| 5 |"} {
		if !strings.Contains(page, want) {
			t.Errorf("%q is not in\n%s", want, page)
		}
	}
}

func TestGoalsAreMetAndMissed(t *testing.T) {
	t.Parallel()
	result := func(rate float64, notified, read, sweep time.Duration) Result {
		return Result{
			Tasks: []TasksResult{{Tasks: 100, PerSecond: 1000}, {Tasks: 1_000_000, PerSecond: rate}},
			Customers: []CustomersResult{
				{Customers: 10, Notified: time.Minute}, {Customers: 10_000, Notified: notified}, {Customers: 100_000, Notified: time.Minute},
				{Customers: 10_000, Assigned: true, Notified: notified},
			},
			Unread: UnreadResult{Messages: 1_000_000, Read: read, Rows: 1},
			Sweeps: []SweepResult{{Time: sweep}},
		}
	}
	for _, g := range result(960, 49*time.Millisecond, 4*time.Millisecond, 999*time.Millisecond).Goals() {
		if !g.Met {
			t.Errorf("missed: %+v", g)
		}
	}
	missed := 0
	for _, g := range result(940, 51*time.Millisecond, 6*time.Millisecond, 1001*time.Millisecond).Goals() {
		if !g.Met {
			missed++
		}
	}
	if missed != 5 {
		t.Errorf("%d goals are missed, want all but the one row", missed)
	}
}
