package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"

	"headway/internal/pgtest"
	"headway/sql"
)

// TestMain runs the tests, or, re-executed by one of them, headway itself.
func TestMain(m *testing.M) {
	if os.Getenv(beHeadway) != "" {
		main()
		return
	}
	os.Exit(pgtest.Main(m))
}

// headway runs a command line against a database and returns what it printed.
func headway(t *testing.T, databaseURL string, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	var out, errs bytes.Buffer
	e := env{stdout: &out, stderr: &errs, getenv: func(name string) string {
		if name == "DATABASE_URL" {
			return databaseURL
		}
		return ""
	}}
	err = run(t.Context(), e, args)
	return out.String(), errs.String(), err
}

func TestHelpGoesToStdoutAndListsEveryCommand(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{nil, {"help"}, {"--help"}, {"help", "help"}} {
		stdout, stderr, err := headway(t, "", args...)
		if err != nil || stderr != "" {
			t.Errorf("%q: %v, %q", args, err, stderr)
		}
		for _, c := range commands() {
			if !strings.Contains(stdout, c.name+" ") || !strings.Contains(stdout, c.summary) {
				t.Errorf("%q does not list %s", args, c.name)
			}
		}
	}
}

func TestEveryCommandExplainsItself(t *testing.T) {
	t.Parallel()
	for _, c := range commands() {
		for _, args := range [][]string{{c.name, "-help"}, {"help", c.name}} {
			stdout, _, err := headway(t, "", args...)
			if err != nil || !strings.HasPrefix(stdout, "usage: headway "+c.name) {
				t.Errorf("%q: %v, %q", args, err, stdout)
			}
		}
	}
}

func TestAMistakeOnTheCommandLineIsAUsageError(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"nonsense"},
		{"help", "nonsense"},
		{"version", "now"},
		{"migrate", "--nonsense"},
		{"migrate", "--to", "many"},
		{"migrate", "--to", "-1"},
		{"migrate", "--to", fmt.Sprint(sql.Latest() + 1)},
	} {
		stdout, _, err := headway(t, "", args...)
		if !errors.As(err, new(*usageError)) || stdout != "" {
			t.Errorf("%q: %v, %q", args, err, stdout)
		}
	}
	if _, _, err := headway(t, "", "migrate", "--nonsense", "4"); !strings.Contains(err.Error(), "nonsense") {
		t.Errorf("the first of two mistakes is said to be %v", err)
	}
}

// TestAScriptTellsAMistakeFromAFailure by the exit code.
func TestAScriptTellsAMistakeFromAFailure(t *testing.T) {
	t.Parallel()
	start(t, nil, "migrate", "--to", "many").exit(2)
	start(t, []string{"DATABASE_URL=postgres://nobody@127.0.0.1:1/nothing"}, "migrate").exit(1)
}

// TestAnInterruptIsHeardWhileNobodyAnswers interrupts whoever waits for a server that accepts a connection and says nothing.
func TestAnInterruptIsHeardWhileNobodyAnswers(t *testing.T) {
	t.Parallel()
	for command, want := range map[string]struct {
		code   int
		output string
	}{
		"watch":  {0, ""},
		"doctor": {1, "headway: interrupted\n"},
	} {
		t.Run(command, func(t *testing.T) {
			t.Parallel()
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer listener.Close()
			p := start(t, []string{"DATABASE_URL=postgres://nobody@" + listener.Addr().String() + "/nothing?sslmode=disable"}, command)
			conn, err := listener.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			p.signal(os.Interrupt)
			p.exit(want.code)
			if !strings.HasSuffix(p.output(), want.output) || want.output == "" && p.output() != "" || strings.Contains(p.output(), "skipped") {
				t.Errorf("it says %q", p.output())
			}
		})
	}
}

func TestMigrateSaysWhatItDid(t *testing.T) {
	t.Parallel()
	db := pgtest.Empty(t)
	latest := sql.Latest()

	stdout, _, err := headway(t, db.URL, "migrate", "--status")
	if !errors.As(err, new(*sql.VersionError)) || stdout != fmt.Sprintf("schema version 0 of %d\n", latest) {
		t.Errorf("an empty database: %v, %q", err, stdout)
	}

	stdout, _, err = headway(t, db.URL, "migrate")
	if err != nil || !strings.HasPrefix(stdout, "up   001_") || strings.Contains(stdout, "attempt") || !strings.HasSuffix(stdout, fmt.Sprintf("\nschema version %d of %[1]d\n", latest)) {
		t.Errorf("migrate: %v, %q", err, stdout)
	}
	for _, args := range [][]string{{"migrate"}, {"migrate", "--status"}} {
		stdout, _, err = headway(t, db.URL, args...)
		if err != nil || stdout != fmt.Sprintf("schema version %d of %[1]d\n", latest) {
			t.Errorf("%q again: %v, %q", args, err, stdout)
		}
	}

	stdout, _, err = headway(t, db.URL, "migrate", "--to", "0")
	if err != nil || strings.Count(stdout, "down ") != int(latest) {
		t.Errorf("down to zero: %v, %q", err, stdout)
	}
}

func TestAConnectionThatFailsNamesTheVariable(t *testing.T) {
	t.Parallel()
	for _, url := range []string{"postgres://nobody@127.0.0.1:1/nothing", "postgres://%"} {
		if _, _, err := headway(t, url, "migrate"); err == nil || !strings.Contains(err.Error(), "DATABASE_URL") {
			t.Errorf("%s: %v", url, err)
		}
	}
}

func TestVersionNamesTheSchema(t *testing.T) {
	t.Parallel()
	stdout, _, err := headway(t, "", "version")
	if err != nil || !strings.HasPrefix(stdout, "headway ") || !strings.Contains(stdout, fmt.Sprintf(", schema %d, go", sql.Latest())) {
		t.Errorf("%v, %q", err, stdout)
	}
}
