package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"headway/internal/pgtest"
	"headway/internal/smtptest"
)

// soon bounds what is a matter of milliseconds, on a machine that is busy with other tests.
const soon = 20 * time.Second

// TestWorkerProcess runs the program itself: what a signal does can be seen in no other way.
func TestWorkerProcess(t *testing.T) {
	t.Parallel()
	program := build(t)
	for name, test := range map[string]func(t *testing.T, program string){
		"it stops cleanly when told":                      testStop,
		"it is told twice with a mail in hand":            testStopTwice,
		"where the leader is killed a standby takes over": testKill,
		"where the leader is stopped a standby folds":     testHalt,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, program)
		})
	}
}

// build compiles the program.
func build(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "headway")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, ".").CombinedOutput()
	if err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return program
}

// process is `headway worker` as a process of its own.
type process struct {
	t   *testing.T
	cmd *exec.Cmd

	mu   sync.Mutex
	logs []string // the messages logged
	done chan struct{}
	err  error
}

// startWorker starts it with the login of a worker in the place of the superuser.
func startWorker(t *testing.T, program, databaseURL string, env ...string) *process {
	t.Helper()
	p := &process{t: t, cmd: exec.Command(program, "worker"), done: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), append(env, "DATABASE_URL="+pgtest.AsWorker(databaseURL))...)
	logs, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.read(logs)
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // it may have ended
		<-p.done
	})
	return p
}

func (p *process) read(logs io.Reader) {
	for lines := bufio.NewScanner(logs); lines.Scan(); {
		var line struct{ Msg string }
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			line.Msg = lines.Text()
		}
		p.mu.Lock()
		p.logs = append(p.logs, line.Msg)
		p.mu.Unlock()
	}
}

func (p *process) said() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.logs, "\n")
}

// awaitLog waits until the process has logged a message.
func (p *process) awaitLog(message string) {
	p.t.Helper()
	pgtest.Eventually(p.t, soon, func() bool { return strings.Contains(p.said(), message) }, "the worker does not say %q", message)
}

func (p *process) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// ended waits for the end of the process and returns how it ended.
func (p *process) ended(within time.Duration) error {
	p.t.Helper()
	select {
	case <-p.done:
		return p.err
	case <-time.After(within):
		p.t.Fatalf("the worker runs on after %v; it said:\n%s", within, p.said())
		return nil
	}
}

// seed makes a project, id 1, with a customer, id 1, and a thousand tasks.
const seed = `
insert into headway.appuser (id, fullname) values (1, 'Abe');
insert into headway.project (id, name) values (1, 'Site');
insert into headway.member (project_id, user_id, role) values (1, 1, 'customer');
insert into headway.task (id, project_id, title) select n, 1, 'Task ' || n from generate_series(1, 1000) n`

func count(t *testing.T, conn *pgx.Conn, from string) (n int) {
	t.Helper()
	if err := conn.QueryRow(t.Context(), "select count(*) from "+from).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// eventuallyFolded waits until nothing is left to fold, and then nothing may be wrong.
func eventuallyFolded(t *testing.T, conn *pgx.Conn) {
	t.Helper()
	pgtest.Eventually(t, soon, func() bool { return count(t, conn, "headway.pending_fact") == 0 }, "facts are left in the queue")
	if n := count(t, conn, "headway.verify()"); n > 0 {
		t.Errorf("verify() finds %d differences", n)
	}
}

const locks = "pg_locks where locktype = 'advisory' and database = (select oid from pg_database where datname = current_database())"

func testStop(t *testing.T, program string) {
	db := pgtest.New(t)
	conn := db.Conn(t)
	signals := []syscall.Signal{syscall.SIGTERM, syscall.SIGINT}
	if !signal.Ignored(syscall.SIGHUP) { // under nohup nobody ends who loses the terminal
		signals = append(signals, syscall.SIGHUP)
	}
	for _, signal := range signals {
		w := startWorker(t, program, db.URL, "HEADWAY_HTTP_ADDR=127.0.0.1:0", "HEADWAY_HTTP_ADDRESS=:80")
		w.awaitLog("this worker is now the leader")
		if !strings.Contains(w.said(), "unknown environment variable") {
			t.Errorf("it says nothing of a misspelt variable:\n%s", w.said())
		}
		pgtest.Eventually(t, soon, func() bool { return count(t, conn, "headway.worker where leader") == 1 }, "it has no row")

		w.signal(signal)
		if err := w.ended(25 * time.Second); err != nil {
			t.Errorf("%v: %v; it said:\n%s", signal, err, w.said())
		}
		if n := count(t, conn, "headway.worker"); n != 0 {
			t.Errorf("%v: its row is left", signal)
		}
		// The server lets go of them when it has noticed that the connection has ended.
		pgtest.Eventually(t, soon, func() bool { return count(t, conn, locks) == 0 }, "%v: locks are left", signal)
	}
}

func testStopTwice(t *testing.T, program string) {
	db := pgtest.New(t)
	conn := db.Conn(t)
	server, err := smtptest.Start(smtptest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	reached, released := make(chan struct{}), make(chan struct{})
	release := sync.OnceFunc(func() { close(released) })
	t.Cleanup(func() { release(); _ = server.Close() })
	server.Fail(func(s smtptest.Step) error {
		if s.Name == "DATA" {
			close(reached)
			<-released
		}
		return nil
	})
	pgtest.Execute(t, conn, `
		insert into headway.appuser (id, fullname, email) values (1, 'Abe', 'abe@example.com'), (2, 'Bob', null);
		select headway.post(2, 'broadcast', 'Hello'); select headway.reserve_digest(1)`)
	w := startWorker(t, program, db.URL, "HEADWAY_SMTP_URL="+server.URL(), "HEADWAY_MAIL_FROM=headway@example.com")
	select {
	case <-reached:
	case <-time.After(soon):
		t.Fatal("no mail goes out")
	}
	w.signal(syscall.SIGTERM)
	w.awaitLog("the worker was told to stop")
	w.signal(syscall.SIGTERM)
	release()
	if err := w.ended(25 * time.Second); err != nil {
		t.Errorf("%v; it said:\n%s", err, w.said())
	}
	if n := count(t, conn, "headway.digest where state = 'sent'"); n != 1 {
		t.Errorf("%d digests are on record as sent", n)
	}
}

func testKill(t *testing.T, program string) {
	db := pgtest.New(t)
	conn, writer := db.Conn(t), db.Conn(t)
	pgtest.Execute(t, conn, seed)
	leader := startWorker(t, program, db.URL)
	leader.awaitLog("this worker is now the leader")

	ctx, stop := context.WithCancel(t.Context())
	written := make(chan error)
	go func() {
		for task := 1; task <= 1000 && ctx.Err() == nil; task++ {
			if _, err := writer.Exec(t.Context(), "select headway.complete_task($1, 1)", task); err != nil {
				written <- err
				return
			}
		}
		written <- nil
	}()
	for range 3 { // each time the other one, at work
		standby := startWorker(t, program, db.URL)
		standby.awaitLog("another worker is the leader")
		leader.signal(syscall.SIGKILL)
		_ = leader.ended(soon)
		standby.awaitLog("this worker is now the leader")
		leader = standby
	}
	stop()
	if err := <-written; err != nil {
		t.Error(err)
	}
	eventuallyFolded(t, conn)

	// And asleep.
	standby := startWorker(t, program, db.URL)
	standby.awaitLog("another worker is the leader")
	pgtest.Eventually(t, soon, func() bool { return count(t, conn, locks+" and mode = 'ExclusiveLock'") == 2 }, "the leader does not sleep")
	leader.signal(syscall.SIGKILL)
	pgtest.Execute(t, conn, "select headway.reopen_task(1, 1)")
	standby.awaitLog("this worker is now the leader")
	eventuallyFolded(t, conn)
}

func testHalt(t *testing.T, program string) {
	db := pgtest.New(t)
	conn := db.Conn(t)
	pgtest.Execute(t, conn, seed)
	leader := startWorker(t, program, db.URL)
	leader.awaitLog("this worker is now the leader")
	standby := startWorker(t, program, db.URL, "HEADWAY_POLL_INTERVAL=100ms")
	standby.awaitLog("another worker is the leader")
	eventuallyFolded(t, conn)

	leader.signal(syscall.SIGSTOP)
	pgtest.Execute(t, conn, "select headway.complete_task(1, 1)")
	eventuallyFolded(t, conn)
	leader.signal(syscall.SIGCONT)
	pgtest.Execute(t, conn, "select headway.complete_task(2, 1)")
	eventuallyFolded(t, conn)
	for _, w := range []*process{leader, standby} {
		w.signal(syscall.SIGTERM)
		if err := w.ended(25 * time.Second); err != nil {
			t.Error(err)
		}
	}
}

func TestTheWorkerRefusesToStart(t *testing.T) {
	t.Parallel()
	getenv := func(pairs map[string]string) env {
		return env{stdout: io.Discard, stderr: io.Discard, getenv: func(name string) string { return pairs[name] }}
	}
	err := run(t.Context(), getenv(map[string]string{"HEADWAY_LOG_FORMAT": "xml", "HEADWAY_HTTP_ADDR": "here"}), []string{"worker"})
	for _, want := range []string{`HEADWAY_LOG_FORMAT is "xml"`, `HEADWAY_HTTP_ADDR is "here"`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %s: %v", want, err)
		}
	}
	err = run(t.Context(), getenv(map[string]string{"DATABASE_URL": pgtest.Empty(t).URL}), []string{"worker"})
	if err == nil || !strings.Contains(err.Error(), "headway migrate") {
		t.Errorf("without a schema: %v", err)
	}
}

func TestLogsAreJSONUnlessOnATerminalOrAskedFor(t *testing.T) {
	t.Parallel()
	for format, want := range map[string]string{"": `{"time":`, "json": `{"time":`, "text": "time="} {
		var log strings.Builder
		newLogger(env{stderr: &log, getenv: os.Getenv}, format).Info("hello")
		if !strings.HasPrefix(log.String(), want) {
			t.Errorf("%q: %s", format, log.String())
		}
	}
}
