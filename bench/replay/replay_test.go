package main

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"headway/internal/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// history writes a file of 200 lines: 4 projects of 50 tasks each, 6 contributors of whom 3 are in each, the newest line first, and titles
// that need quotes or are blank.
func history(t *testing.T) (file string) {
	t.Helper()
	titles := []string{"Fix it", "Fix it", `Say "hello", twice`, "Two\nlines", "Größer als ≥ 3", " "}
	lines := [][]string{{"at", "project", "contributor", "task"}}
	for i := range 200 {
		at := time.Date(2026, 1, 15, 12, 0, 0, 0, time.FixedZone("", 3600*(i%3))).Add(-time.Duration(i) * time.Hour)
		lines = append(lines, []string{
			at.Format(time.RFC3339), fmt.Sprintf("Project, No. %d", i%4), fmt.Sprint(i % 6), titles[i%len(titles)],
		})
	}
	var text bytes.Buffer
	if err := csv.NewWriter(&text).WriteAll(lines); err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(t.TempDir(), "history.csv")
	if err := os.WriteFile(file, text.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestReplayBringsEveryBarTo100(t *testing.T) {
	t.Parallel()
	db := pgtest.Empty(t)
	conn := db.Conn(t)
	var stdout, stderr bytes.Buffer

	if err := run(t.Context(), []string{"-connections", "3", history(t)}, db.URL, &stdout, &stderr); err != nil {
		t.Fatalf("%v\n%s", err, &stderr)
	}
	for _, want := range []string{
		"200 completions of 6 people in 4 projects, over 3 connections\n",
		" of that\n",
		"4 of 4 projects\n",
		"facts left          0\n",
		"verify()            0 rows\n",
	} {
		if !strings.Contains(stdout.String(), want) {
			t.Errorf("%q is not in\n%s", want, &stdout)
		}
	}
	for query, want := range map[string]int{
		"select count(*) from headway.progress where percent = 100 and done = total and total = 50":               12,
		"select count(*) from headway.progress":                                                                   12,
		"select count(*) from headway.completion c join replay.history h using (task_id) where completed_at = at": 200,
		"select count(*) from headway.message where kind = 'task_completed'":                                      200,
		"select count(*) from headway.verify()":                                                                   0,
	} {
		var got int
		if err := conn.QueryRow(t.Context(), query).Scan(&got); err != nil || got != want {
			t.Errorf("%s: %d, %v, want %d", query, got, err, want)
		}
	}
}

func TestReplayBootsItsOwnPostgres(t *testing.T) {
	t.Parallel()
	var stdout, stderr bytes.Buffer
	if err := run(t.Context(), []string{"-rate", "2000", history(t)}, "", &stdout, &stderr); err != nil {
		t.Fatalf("%v\n%s", err, &stderr)
	}
	for _, want := range []string{"over 8 connections\n", " a second, as asked\n"} {
		if !strings.Contains(stdout.String(), want) {
			t.Errorf("%q is not in\n%s", want, &stdout)
		}
	}
}

func TestAResultSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	wrong := result{completions: 3, projects: 2, finished: 1, facts: 4, differences: []string{`{"project_id":1}`}}
	want := "3 completions were never notified\n1 projects are not at 100 percent\n4 facts are left\nverify() finds 1 differences"
	if err := wrong.wrong(); err == nil || err.Error() != want {
		t.Errorf("got %v", err)
	}
	for _, want := range []string{"p50 never", "4", `{"project_id":1}`} {
		if !strings.Contains(wrong.String(), want) {
			t.Errorf("%q is not in\n%s", want, wrong)
		}
	}
	if err := (result{}).wrong(); err != nil {
		t.Error(err)
	}
}

func TestAFileThatCannotBeReplayedIsAnError(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	empty := filepath.Join(t.TempDir(), "empty.csv")
	if err := os.WriteFile(empty, []byte("at,project,contributor,task\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, args := range map[string][]string{
		"no such file":           {"nothing.csv"},
		"there is no line":       {empty},
		"give one file":          {},
		"flag provided":          {"-nonsense"},
		"at least one":           {"-connections", "0", empty},
		"wrong number of fields": {"replay_test.go"},
	} {
		var stdout, stderr bytes.Buffer
		err := run(t.Context(), args, db.URL, &stdout, &stderr)
		if err == nil || !strings.Contains(err.Error(), want) || stdout.Len() > 0 {
			t.Errorf("%q: %v, want %q\n%s", args, err, want, &stdout)
		}
	}
}
