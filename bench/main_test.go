package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"headway/bench/lab"
	"headway/bench/lab/labtest"
	"headway/bench/report"
	"headway/bench/rival"
	"headway/internal/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

func TestARaceIsToldOnAPage(t *testing.T) {
	t.Parallel()
	l := labtest.Open(t)
	r := race{
		rivals: []lab.Rival{rival.Bare(), rival.Counter(), rival.Headway()},
		shapes: []lab.Shape{
			{Name: "spread", Title: "spread over 4 projects", Projects: 4, Customers: 3, Tasks: 20_000},
			{Name: "hot", Title: "all in one project", Projects: 1, Customers: 3, Tasks: 20_000},
		},
		rounds: 1,
		plan: lab.Plan{
			Writers: 4, Paced: 100 * time.Millisecond, Rate: 200, Full: 100 * time.Millisecond, Patience: 20 * time.Second,
		},
	}
	var out bytes.Buffer
	standings, err := r.run(t.Context(), l, &out)
	if err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	if lines := strings.Count(out.String(), "\n"); lines != 1+2*3 {
		t.Errorf("%d lines for 6 measurements:\n%s", lines, &out)
	}

	dir := t.TempDir()
	b := bench{lab: l, out: &out, dir: dir}
	conditions, err := b.conditions(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	goals := r.goals(standings)
	if right := slices.IndexFunc(goals, func(g report.Goal) bool { return strings.HasPrefix(g.What, "every bar right") }); right < 0 || !goals[right].Met {
		t.Errorf("headway is not right: %+v", goals)
	}
	page := report.Document{Title: "Performance", Conditions: conditions, Sections: r.sections(standings)}
	if err := b.write("performance.md", page); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "performance.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"| bare insert | ", " | 1.00 | ", "| counter in a trigger | ", "| **headway** | ", "**All in one project**", "(performance.svg)",
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "performance.svg")); err != nil {
		t.Error(err)
	}
}

func TestRoundsComeToTheirMedians(t *testing.T) {
	t.Parallel()
	round := func(ratio float64, p99 time.Duration, wrong int) standing {
		return standing{Ratio: ratio, Result: lab.Result{
			Keeps: true, Projects: 100, Wrong: wrong,
			Full: lab.Phase{PerSecond: 1000 * ratio, Left: 7, Behind: lab.Never, Notified: lab.Delays{P50: time.Millisecond, P99: p99}},
		}}
	}
	if err := wrong([]standing{{rival: rival.Headway()}, {rival: rival.Queue(), Result: lab.Result{Wrong: 1}}}); err != nil {
		t.Errorf("what others get wrong is headway's: %v", err)
	}
	got := middle([]standing{round(0.7, lab.Never, 0), round(0.5, 20*time.Millisecond, 3), round(0.6, 40*time.Millisecond, 0)})
	if got.Ratio != 0.6 || got.Full.PerSecond != 600 || got.Full.Notified.P99 != 40*time.Millisecond || got.Wrong != 3 {
		t.Errorf("%+v", got)
	}
	got.rival = rival.Headway()
	if err := wrong([]standing{got}); err == nil {
		t.Error("nobody says that headway is wrong")
	}
	if line := got.String(); !strings.HasSuffix(line, "1.0 ms / 40 ms   7, for good; wrong in 3 of 100 projects") {
		t.Errorf("it is told as %q", line)
	}
}

func TestOnlyWhatIsAskedForIsMeasured(t *testing.T) {
	t.Parallel()
	for only, want := range map[string]struct{ parts, rivals string }{
		"":             {"rivals growth mail policy", "bare foreign-keys recount counter matview river queue headway"},
		"growth":       {"growth", "bare foreign-keys recount counter matview river queue headway"},
		"headway,soak": {"soak rivals", "bare headway"},
	} {
		parts, rivals, err := choose(only)
		var names []string
		for _, r := range rivals {
			names = append(names, r.Name)
		}
		if err != nil || strings.Join(parts, " ") != want.parts || strings.Join(names, " ") != want.rivals {
			t.Errorf("--only %q: %q of %q, %v", only, parts, names, err)
		}
	}

	var stderr bytes.Buffer
	for _, args := range [][]string{{"--only", "headway,nonsense"}, {"quick"}, {"growth", "nonsense"}, {"--nonsense"}} {
		if err := run(t.Context(), args, &stderr, &stderr); err == nil || !strings.Contains(err.Error()+stderr.String(), "nonsense") && args[0] != "quick" {
			t.Errorf("%q: %v", args, err)
		}
	}
}
