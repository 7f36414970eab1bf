package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"

	"headway/internal/pgtest"
)

// beHeadway is the variable that makes this test binary headway.
const beHeadway = "HEADWAY_TEST_BE_HEADWAY"

// patience bounds what is a matter of seconds, on a machine that is busy with other tests.
const patience = time.Minute

// program is headway as a process of its own, in a temporary directory of its own, until the test ends.
type program struct {
	t    *testing.T
	cmd  *exec.Cmd
	dir  string   // for temporary files
	tty  *os.File // nil: a pipe
	done chan error

	mu  sync.Mutex
	out bytes.Buffer // all that it printed
}

// start runs headway with these variables, each NAME=value, and none of those that say which database.
func start(t *testing.T, env []string, args ...string) *program {
	t.Helper()
	p := newProgram(t, env, args)
	p.cmd.Stdout, p.cmd.Stderr = p, p
	p.run()
	return p
}

// startOnTerminal does the same on a terminal of this size.
func startOnTerminal(t *testing.T, columns, rows uint16, env []string, args ...string) *program {
	t.Helper()
	p := newProgram(t, append(env, "TERM=xterm-256color"), args)
	tty, other, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	p.tty = tty
	p.resize(columns, rows)
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = other, other, other
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	p.run()
	_ = other.Close()
	copied := make(chan struct{})
	go func() {
		defer close(copied)
		_, _ = io.Copy(p, tty) // it fails when the last who has the other end has closed it
	}()
	t.Cleanup(func() {
		_ = tty.Close()
		<-copied
	})
	return p
}

func newProgram(t *testing.T, env, args []string) *program {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &program{t: t, cmd: exec.Command(self, args...), dir: openTempDir(t), done: make(chan error, 1)}
	p.cmd.Dir = t.TempDir()
	inherited := slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "PG") || strings.HasPrefix(v, "HEADWAY_") && !strings.HasPrefix(v, "HEADWAY_POSTGRES_") ||
			strings.HasPrefix(v, "DATABASE_URL=") || strings.HasPrefix(v, "NO_COLOR=")
	})
	p.cmd.Env = slices.Concat(inherited, []string{beHeadway + "=1", "TMPDIR=" + p.dir}, env)
	return p
}

// openTempDir makes a directory that the user may enter whom a server runs as.
func openTempDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "headway-test-") //nolint:usetesting // t.TempDir is closed to that user
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func (p *program) run() {
	p.t.Helper()
	p.cmd.WaitDelay = 10 * time.Second
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		p.done <- p.cmd.Wait()
		close(ended)
	}()
	p.t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // it can fail only where it has ended
		<-ended
		if p.t.Failed() {
			p.t.Logf("%s printed:\n%s", p.cmd.Args[1:], p.output())
		}
	})
}

// Write keeps what it prints.
func (p *program) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.Write(b)
}

func (p *program) output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.String()
}

// await waits until it has printed the texts, in this order.
func (p *program) await(texts ...string) {
	p.t.Helper()
	p.awaitAfter(0, texts...)
}

// awaitAfter does the same with what it printed after so many bytes.
func (p *program) awaitAfter(offset int, texts ...string) {
	p.t.Helper()
	pgtest.Eventually(p.t, patience, func() bool { return missing(p.output()[offset:], texts...) == "" }, "%q is missing", texts)
}

// missing returns the first of the texts that does not come after those before it.
func missing(output string, texts ...string) string {
	for _, text := range texts {
		at := strings.Index(output, text)
		if at < 0 {
			return text
		}
		output = output[at+len(text):]
	}
	return ""
}

func (p *program) signal(s os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// press types on the terminal.
func (p *program) press(keys string) {
	p.t.Helper()
	if _, err := io.WriteString(p.tty, keys); err != nil {
		p.t.Fatal(err)
	}
}

func (p *program) resize(columns, rows uint16) {
	p.t.Helper()
	if err := pty.Setsize(p.tty, &pty.Winsize{Cols: columns, Rows: rows}); err != nil {
		p.t.Fatal(err)
	}
}

// exit waits until it has ended and checks how: with this code, below zero for a signal.
func (p *program) exit(code int) {
	p.t.Helper()
	select {
	case err := <-p.done:
		var exit *exec.ExitError
		if got := p.cmd.ProcessState.ExitCode(); got != code || err != nil && !errors.As(err, &exit) {
			p.t.Errorf("exit code %d: %v", got, err)
		}
	case <-time.After(patience):
		p.t.Fatal("it does not end")
	}
}

// leftNothing checks that no process and no file of it is left.
func (p *program) leftNothing() {
	p.t.Helper()
	var left []string
	pgtest.Eventually(p.t, patience, func() bool {
		left, _ = filepath.Glob(filepath.Join(p.dir, "*"))
		all, err := exec.Command("ps", "-eo", "args").Output()
		if err != nil {
			p.t.Fatal(err)
		}
		for line := range strings.Lines(string(all)) {
			if strings.Contains(line, p.dir) {
				left = append(left, line)
			}
		}
		return len(left) == 0
	}, "left behind: %q", &left)
}

// escapes are the sequences that a terminal obeys.
var escapes = regexp.MustCompile("\x1b\\[[0-9;?]*[a-zA-Z]")

// plain is text as one reads it.
func plain(s string) string { return escapes.ReplaceAllString(s, "") }
