package examples_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"headway/internal/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// timeout bounds each wait for a script.
const timeout = time.Minute

// drivers are what the listeners stand on, by the name of the Debian package that has it.
var drivers = map[string]string{"python3-asyncpg": "asyncpg", "python3-psycopg": "psycopg"}

// withDriver runs a test against the listener of each driver that is installed. In CI both have to be.
func withDriver(t *testing.T, test func(t *testing.T, interpreter, driver string)) {
	for pkg, driver := range drivers {
		interpreter, err := interpreterWith(driver)
		if err != nil && os.Getenv("CI") != "true" {
			t.Logf("the listener for %s is not tested: apt-get install %s", driver, pkg)
			continue
		}
		t.Run(driver, func(t *testing.T) {
			t.Parallel()
			if err != nil {
				t.Fatalf("apt-get install %s: %v", pkg, err)
			}
			test(t, interpreter, driver)
		})
	}
}

// interpreterWith returns a Python that can import a module. Debian's packages are for its own, which need not be the
// first on PATH.
func interpreterWith(module string) (interpreter string, err error) {
	for _, interpreter := range []string{"python3", "/usr/bin/python3"} {
		out, failed := exec.Command(interpreter, "-c", "import "+module).CombinedOutput()
		if failed == nil {
			return interpreter, nil
		}
		err = fmt.Errorf("%s: %w\n%s", interpreter, failed, out)
	}
	return "", err
}

func TestAListenerShowsEachMessageOnce(t *testing.T) {
	t.Parallel()
	withDriver(t, func(t *testing.T, interpreter, driver string) {
		db := pgtest.New(t)
		conn := db.Conn(t)
		execute(t, conn, "insert into headway.appuser (fullname) values ('Abe'), ('Bob'), ('Charlie')")
		execute(t, conn, "select headway.post(2, 'broadcast', 'Before anybody listens.')")
		l := start(t, db, interpreter, driver)
		l.expect("Waiting for notifications on broadcast ...")

		// The insert of the article.
		execute(t, conn, `
			insert into headway.message (sender, channel, content)
			select id, 'broadcast', 'Hello, demo application!'
			from headway.appuser where fullname = 'Abe'`)
		title, message := l.event()
		if !strings.HasPrefix(title, "RECEIVED notification from <") || !strings.HasSuffix(title, "] on channel broadcast:") {
			t.Errorf("title %q", title)
		}
		for name, want := range map[string]any{"id": 2., "sender": 1., "channel": "broadcast", "content": "Hello, demo application!"} {
			if message[name] != want {
				t.Errorf("%s is %v, want %v", name, message[name], want)
			}
		}

		// What is not headway's is passed over; what a notification cannot carry is read.
		for _, payload := range []string{"Hello, world", "[1]", `{"kind": "x"}`, `{"kind": "progress"}`, `{"kind": "chat", "seq": "x"}`} {
			execute(t, conn, "select pg_notify('broadcast', $1)", payload)
		}
		long := strings.Repeat("häßlich ", 2000)
		execute(t, conn, "select headway.post(2, 'broadcast', $1)", long)
		l.expectMessage("READ from channel broadcast:", long)

		// Sent while nobody can connect, and after that.
		l.disconnect(func() {
			execute(t, conn, "select headway.post(2, 'broadcast', 'While you were away.')")
		})
		l.expectMessage("READ from channel broadcast:", "While you were away.")
		l.expect("Waiting for notifications on broadcast ...")
		execute(t, conn, "select headway.post(2, 'broadcast', 'Now that you are back.')")
		l.expectMessage("RECEIVED notification from ", "Now that you are back.")

		l.expectEnd()
	})
}

// website makes a project of four pages, of which person 2 is a customer.
func website(t *testing.T) (db *pgtest.DB, conn *pgx.Conn) {
	t.Helper()
	db = pgtest.New(t)
	conn = db.Conn(t)
	execute(t, conn, "insert into headway.appuser (fullname) values ('Abe'), ('Bob')")
	execute(t, conn, "insert into headway.project (name) values ('Website')")
	execute(t, conn, "insert into headway.member (project_id, user_id, role) values (1, 1, 'staff'), (1, 2, 'customer')")
	execute(t, conn, "insert into headway.task (project_id, title) select 1, 'Page ' || n from generate_series(1, 4) n")
	execute(t, conn, "select headway.fold()")
	return db, conn
}

// TestAListenerComesBackToWhatLaggedBehind has the database go back, as in a failover to a standby that has not received
// the last message and the last fold.
func TestAListenerComesBackToWhatLaggedBehind(t *testing.T) {
	t.Parallel()
	withDriver(t, func(t *testing.T, interpreter, driver string) {
		db, conn := website(t)
		l := start(t, db, interpreter, driver, "project_1")
		l.expect("Waiting for notifications on project_1 ...")
		do := func(task int, say string) {
			execute(t, conn, "select headway.complete_task($1, 2)", task)
			execute(t, conn, "select headway.fold()")
			l.expectShared(float64(task))
			execute(t, conn, "select headway.post(2, 'project_1', $1)", say)
			l.expectMessage("RECEIVED notification from ", say)
		}
		do(1, "Both have it.")
		execute(t, conn, "create table public.before as select m.max, p.done, p.version from headway.shared_progress p, (select max(seq) from headway.message where channel = 'project_1') m")
		do(2, "It is lost.")
		l.disconnect(func() {
			execute(t, conn, "set session_replication_role = replica")
			execute(t, conn, "delete from headway.message m using public.before b where m.channel = 'project_1' and m.seq > b.max")
			execute(t, conn, "update headway.channel c set last_seq = b.max from public.before b where c.name = 'project_1'")
			execute(t, conn, "delete from headway.completion where task_id = 2")
			execute(t, conn, "update headway.shared_progress p set done = b.done, version = b.version from public.before b")
			execute(t, conn, "reset session_replication_role")
		})
		l.expect("Waiting for notifications on project_1 ...")
		do(2, "After the failover.")
		l.expectEnd()
	})
}

func TestAListenerShowsProgressThatIsNewerThanTheSnapshot(t *testing.T) {
	t.Parallel()
	withDriver(t, func(t *testing.T, interpreter, driver string) {
		db, conn := website(t)
		complete := func(task int) {
			execute(t, conn, "select headway.complete_task($1, 2)", task)
			execute(t, conn, "select headway.fold()")
		}
		l := start(t, db, interpreter, driver, "project_1", "--user", "2")
		l.expectSnapshot(0)
		l.expect("Waiting for notifications on project_1 ...")

		complete(1)
		l.expectShared(1)
		l.disconnect(func() { complete(2) })
		l.expectSnapshot(50)
		l.expect("Waiting for notifications on project_1 ...")

		// The notification of a fold that the snapshot has already.
		execute(t, conn, `select pg_notify('project_1', '{"kind": "progress", "project_id": 1, "version": 2, "shared": {"done": 1}}')`)
		complete(3)
		l.expectShared(3)

		l.expectEnd()
	})
}

func TestAListenerSaysWhatItCannotListenTo(t *testing.T) {
	t.Parallel()
	withDriver(t, func(t *testing.T, interpreter, driver string) {
		db := pgtest.New(t)
		for args, want := range map[string]string{
			"nowhere":            `There is no channel "nowhere".`,
			"broadcast --user 9": "There is no person 9.",
		} {
			cmd := command(t.Context(), db.URL, interpreter, driver, strings.Fields(args)...)
			out, err := cmd.CombinedOutput()
			if err == nil || !strings.HasSuffix(string(out), want+"\n") {
				t.Errorf("%s: %v\n%s", args, err, out)
			}
		}
		// Nothing listens there.
		cmd := command(t.Context(), "postgres://postgres@127.0.0.1:1/postgres", interpreter, driver)
		if out, err := cmd.CombinedOutput(); err == nil || strings.Contains(string(out), "trying again") {
			t.Errorf("%v\n%s", err, out)
		}
	})
}

// listener is a script that runs.
type listener struct {
	t     *testing.T
	db    *pgtest.DB
	name  string
	cmd   *exec.Cmd
	lines chan string // closed at the end of its output
	ended bool
}

func command(ctx context.Context, url, interpreter, driver string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, interpreter, append([]string{"python/" + driver + "_listener.py"}, args...)...)
	cmd.Env = append(os.Environ(), "DATABASE_URL="+url, "PYTHONDONTWRITEBYTECODE=1")
	return cmd
}

// start starts a script, which ends with the test at the latest.
func start(t *testing.T, db *pgtest.DB, interpreter, driver string, args ...string) *listener {
	t.Helper()
	var stderr bytes.Buffer
	l := &listener{t: t, db: db, name: driver + "_listener", lines: make(chan string)}
	l.cmd = command(context.WithoutCancel(t.Context()), db.URL, interpreter, driver, args...)
	l.cmd.Stderr = &stderr
	stdout, err := l.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := l.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(l.lines)
		scanner := bufio.NewScanner(stdout)
		scanner.Buffer(nil, 1<<20)
		for scanner.Scan() {
			l.lines <- scanner.Text()
		}
	}()
	t.Cleanup(func() {
		_ = l.cmd.Process.Kill() // fails only where it has ended
		for range l.lines {
		}
		if err := l.cmd.Wait(); !l.ended || err != nil {
			t.Errorf("%s: %v\n%s", l.name, err, &stderr)
		}
	})
	l.expect("Type Ctrl-c to exit")
	return l
}

// line returns the next line. It passes over how often the script tried to connect again.
func (l *listener) line() string {
	l.t.Helper()
	deadline := time.After(timeout)
	for {
		select {
		case line, ok := <-l.lines:
			if !ok {
				l.t.Fatalf("%s has ended", l.name)
			}
			if !strings.HasPrefix(line, "Lost the connection, trying again: ") {
				return line
			}
		case <-deadline:
			l.t.Fatalf("%s has printed nothing for %v", l.name, timeout)
		}
	}
}

func (l *listener) expect(want string) {
	l.t.Helper()
	if line := l.line(); line != want {
		l.t.Fatalf("%s printed %q, want %q", l.name, line, want)
	}
}

// event reads what the script shows next: a title, JSON and a rule.
func (l *listener) event() (title string, event map[string]any) {
	l.t.Helper()
	title = l.line()
	var text strings.Builder
	for line := l.line(); !strings.HasPrefix(line, "-----"); line = l.line() {
		text.WriteString(line + "\n")
	}
	if err := json.Unmarshal([]byte(text.String()), &event); err != nil {
		l.t.Fatalf("%s printed\n%s\n%s: %v", l.name, title, text.String(), err)
	}
	return title, event
}

func (l *listener) expectMessage(prefix, content string) {
	l.t.Helper()
	if title, message := l.event(); !strings.HasPrefix(title, prefix) || message["content"] != content {
		l.t.Errorf("%s showed %q with %.100v, want %q with %.100q", l.name, title, message, prefix, content)
	}
}

func (l *listener) expectSnapshot(percent float64) {
	l.t.Helper()
	title, snapshot := l.event()
	got := snapshot["projects"].([]any)[0].(map[string]any)["progress"].(map[string]any)["percent"]
	if title != "SNAPSHOT for person 2:" || got != percent {
		l.t.Errorf("%s showed %q with %v percent, want %v", l.name, title, got, percent)
	}
}

func (l *listener) expectShared(done float64) {
	l.t.Helper()
	title, event := l.event()
	got := event["shared"].(map[string]any)["done"]
	if !strings.HasPrefix(title, "RECEIVED notification from ") || event["kind"] != "progress" || got != done {
		l.t.Errorf("%s showed %q with %v, want %v done", l.name, title, event, done)
	}
}

// disconnect closes the database to the script, has something happen, and opens it again.
func (l *listener) disconnect(meanwhile func()) {
	l.t.Helper()
	admin, err := pgx.Connect(l.t.Context(), pgtest.Cluster(l.t).URL("postgres"))
	if err != nil {
		l.t.Fatal(err)
	}
	defer admin.Close(context.WithoutCancel(l.t.Context()))

	execute(l.t, admin, "alter database "+l.db.Name+" allow_connections false")
	execute(l.t, admin, "select pg_terminate_backend(pid, 30000) from pg_stat_activity where datname = $1 and application_name = $2", l.db.Name, l.name)
	meanwhile()
	execute(l.t, admin, "alter database "+l.db.Name+" allow_connections true")
}

// expectEnd presses Ctrl-C and expects nothing more.
func (l *listener) expectEnd() {
	l.t.Helper()
	if err := l.cmd.Process.Signal(os.Interrupt); err != nil {
		l.t.Fatal(err)
	}
	for line := range l.lines {
		l.t.Errorf("%s printed %q at last", l.name, line)
	}
	l.ended = true
}

func execute(t *testing.T, conn *pgx.Conn, sql string, args ...any) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), sql, args...); err != nil {
		t.Fatal(err)
	}
}
