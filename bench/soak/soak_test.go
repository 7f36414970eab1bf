package soak

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"headway/bench/lab/labtest"
	"headway/bench/report"
	"headway/internal/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

func TestASoakIsToldOnAPage(t *testing.T) {
	t.Parallel()
	l := labtest.Open(t)
	result, err := measure(t.Context(), l, plan{duration: 3 * time.Second, writers: 3, projects: 5}, t.Logf)
	if err != nil {
		t.Fatal(err)
	}

	if result.Left != 0 || result.Differences != 0 {
		t.Errorf("%d facts are left, verify() finds %d differences", result.Left, result.Differences)
	}
	if result.Hold.From <= 0 || result.Hold.Till <= result.Hold.From {
		t.Errorf("the transaction was open %+v", result.Hold)
	}
	if len(result.Samples) < 10 {
		t.Errorf("there are %d samples", len(result.Samples))
	}
	for _, s := range result.Samples {
		if s.QueueTable <= 0 || s.QueueIndexes <= 0 || s.Progress <= 0 || s.Channel <= 0 || s.Heap <= 0 {
			t.Errorf("sample: %+v", s)
		}
	}
	for _, what := range []string{completing, notifying, reading, posting} {
		if len(result.timings[what]) == 0 {
			t.Errorf("nobody was timed %s", what)
		}
	}
	page := result.Document("go run ./bench", nil).Markdown()
	for _, want := range []string{"3 seconds of completions", "(soak.svg)", "| facts left | 0 | 0 | yes |", "| while it is open |", "| marking read | "} {
		if !strings.Contains(page, want) {
			t.Errorf("%q is not in\n%s", want, page)
		}
	}
	if err := result.Document("go run ./bench", nil).Write(t.TempDir() + "/soak.md"); err != nil {
		t.Error(err)
	}
}

// TestTasksAreWhereTheWritersThinkTheyAre compares the database's arithmetic with Go's: a writer who is wrong would be
// refused.
func TestTasksAreWhereTheWritersThinkTheyAre(t *testing.T) {
	t.Parallel()
	conn := pgtest.New(t).Conn(t)
	const projects, made = 7, 200
	if err := fill(t.Context(), conn, projects); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(t.Context(), sqlTasks, 1, made, projects); err != nil {
		t.Fatal(err)
	}
	tasks := tasks{projects: projects, made: made}
	seen := map[int64]int{}
	for task := range int64(made) {
		project, user := tasks.place(task + 1)
		seen[project]++
		var right bool
		err := conn.QueryRow(t.Context(), `
select exists (
  select from headway.task t
  join headway.member m on m.project_id = t.project_id and m.user_id = $2 and m.role = 'customer'
  where t.id = $1 and t.project_id = $3
)`, task+1, user, project).Scan(&right)
		if err != nil || !right {
			t.Errorf("task %d is not in project %d, or person %d no customer there: %v", task+1, project, user, err)
		}
	}
	if seen[1] != made/10 || len(seen) != projects-1 {
		t.Errorf("tasks by project: %v", seen)
	}
}

// wave is a result whose figures are given.
func wave(lag func(at time.Duration) time.Duration) Result {
	r := Result{
		Rate: 100, Duration: 100 * time.Second, timings: map[string][]timing{},
		Hold: report.Span{From: 40 * time.Second, Till: 50 * time.Second},
	}
	for at := time.Duration(0); at < r.Duration; at += 100 * time.Millisecond {
		r.timings[notifying] = append(r.timings[notifying], timing{at, lag(at)})
		r.Samples = append(r.Samples, Sample{At: at, PerSecond: 100, Fold: time.Millisecond, QueueTable: 1000})
	}
	return r
}

func TestBackIsWhenTheLagIsWhatItWas(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		till, want time.Duration
	}{
		{40 * time.Second, 0},
		{50 * time.Second, time.Second},
		{62 * time.Second, 13 * time.Second},
		{97 * time.Second, -1},
		{200 * time.Second, -1},
	} {
		r := wave(func(at time.Duration) time.Duration {
			if at >= 40*time.Second && at <= c.till {
				return time.Second
			}
			return 2 * time.Millisecond
		})
		if got := r.back(); got.Round(time.Second) != c.want && got != c.want {
			t.Errorf("lag until %v: back after %v, want %v", c.till, got, c.want)
		}
	}
}

func TestGoalsAreMetAndMissed(t *testing.T) {
	t.Parallel()
	good := wave(func(time.Duration) time.Duration { return 2 * time.Millisecond })
	for _, g := range good.Goals() {
		if !g.Met {
			t.Errorf("missed: %+v", g)
		}
	}
	bad := wave(func(at time.Duration) time.Duration {
		if at > 45*time.Second {
			return time.Second
		}
		return 2 * time.Millisecond
	})
	bad.Left, bad.Differences = 1, 1
	for i := range bad.Samples {
		s := &bad.Samples[i]
		s.PerSecond, s.Fold, s.QueueTable = 90, s.At, int64(s.At)
	}
	for _, g := range bad.Goals() {
		if g.Met {
			t.Errorf("met: %+v", g)
		}
	}
}

func TestEveryEndsWithTheTimeOrWithWhatFails(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	enough := errors.New("enough")
	times := 0
	err := every(ctx, 1000, 0, func(context.Context) error {
		if times++; times == 10 {
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) || times != 10 {
		t.Errorf("%v after %d times", err, times)
	}
	err = every(ctx, 1000, 0, func(doing context.Context) error {
		cancel()
		return doing.Err()
	})
	if err != nil {
		t.Errorf("what had begun was not finished: %v", err)
	}
}
