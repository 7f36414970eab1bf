package policy

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"headway/bench/lab/labtest"
	"headway/bench/report"
	"headway/internal/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// TestEverythingIsMeasured does a pass at sizes that say nothing. Whatever is measured fails where the two sides do not
// find the same rows.
func TestEverythingIsMeasured(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	l := labtest.Open(t)
	at := plan{size{projects: 30, people: 200, fewTasks: 10, manyTasks: 30, chat: 120, activity: 120, own: 2}, 3}
	r, err := measure(ctx, l, at, t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	if r.Projects != 30 || r.Tasks < 300 || r.Messages < 30*240 {
		t.Errorf("there are %d projects, %d tasks, %d messages", r.Projects, r.Tasks, r.Messages)
	}
	for _, c := range append(r.Reads, r.Writes...) {
		if c.Rows == 0 || c.Policies <= 0 || c.Owner <= 0 {
			t.Errorf("%+v", c)
		}
	}
	if goals, all := r.Goals(), reads(readers{}); len(goals) != len(all)+len(writes(readers{})) {
		t.Errorf("there are %d goals: %+v", len(goals), goals)
	}
	page := report.Document{Title: "Policies", Sections: r.Sections()}.Markdown()
	for _, want := range []string{"There are 30 projects, 200 people", "| the snapshot | customer of 1 | 1 |", "| a completion | customer of 1 | 1 |"} {
		if !strings.Contains(page, want) {
			t.Errorf("%q is not in\n%s", want, page)
		}
	}

	// Rows that differ are no comparison.
	db, err := l.Copy(ctx, "policy")
	if err != nil {
		t.Fatal(err)
	}
	var conns [2]*pgx.Conn
	for i := range conns {
		if conns[i], err = db.Connect(ctx); err != nil {
			t.Fatal(err)
		}
		defer conns[i].Close(ctx)
	}
	who, err := findReaders(ctx, conns[0])
	if err != nil {
		t.Fatal(err)
	}
	other := thing{"projects", `select p.id from headway.project p`, `select p.id from headway.project p where p.id > 3`, nil}
	if _, err := other.compare(ctx, conns, "headway_user", who.many, 1); err == nil || !strings.Contains(err.Error(), "or others") {
		t.Errorf("rows that differ are compared: %v", err)
	}
}

func TestTheWorstOfEachIsHeldToTheBudget(t *testing.T) {
	t.Parallel()
	at := func(what string, ratio float64) Comparison {
		return Comparison{What: what, Policies: time.Duration(ratio * float64(time.Second)), Owner: time.Second}
	}
	goals := Result{
		Reads:  []Comparison{at("bars", 0.9), at("bars", 1.3), at("bars", 1.1), at("chat", 1.2)},
		Writes: []Comparison{at("a message", 1.2)},
	}.Goals()
	var got []string
	for _, g := range goals {
		got = append(got, g.Measured)
		if g.Met != (g.Measured == "1.20" && strings.Contains(g.What, "chat")) {
			t.Errorf("%+v", g)
		}
	}
	if strings.Join(got, " ") != "1.30 1.20 1.20" {
		t.Errorf("measured: %q", got)
	}
}
