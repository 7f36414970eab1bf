package postgres

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"
)

// TestMain runs the tests, or, re-executed by one of them, the program that comes to a bad end.
func TestMain(m *testing.M) {
	if end := os.Getenv("HEADWAY_TEST_END"); end != "" {
		badEnd(end)
	}
	goleak.VerifyTestMain(m)
}

// badEnd boots a cluster, says where it is, and ends without stopping it.
func badEnd(end string) {
	c, err := Start(context.Background(), Options{})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(c.dir, c.Pid(), c.keeper.cmd.Process.Pid)
	switch end {
	case "panic":
		panic("a bug")
	case "exit":
		os.Exit(3)
	}
	select {} // until a signal
}

func start(t *testing.T, options Options) *Cluster {
	t.Helper()
	c, err := Start(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func connect(t *testing.T, c *Cluster) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), c.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

// await fails the test unless the condition comes true.
func await(t *testing.T, what string, condition func() bool) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	for !condition() {
		select {
		case <-deadline:
			t.Fatalf("waited in vain: %s", what)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func gone(path string) bool {
	_, err := os.Lstat(path)
	return errors.Is(err, os.ErrNotExist)
}

// ended reports whether a process is no more. A zombie has ended too: nobody may be there to reap it.
func ended(pid int) bool {
	out, err := exec.Command("ps", "-o", "stat=", "-p", fmt.Sprint(pid)).Output()
	return err != nil || strings.HasPrefix(string(out), "Z")
}

func TestAClusterServesItsPortAndItsSocket(t *testing.T) {
	t.Parallel()
	c := start(t, Options{Settings: map[string]string{"application_name": `it's a \test`}})

	for _, url := range []string{
		c.URL("postgres"),
		fmt.Sprintf("host=%s port=%d user=postgres dbname=template1", c.SocketDir(), c.Port()),
	} {
		conn, err := pgx.Connect(t.Context(), url)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(context.Background())
		var super, encoding, collate, name, fsync string
		err = conn.QueryRow(t.Context(), `select current_setting('is_superuser'), current_setting('server_encoding'),
			(select datcollate from pg_database where datname = current_database()),
			current_setting('application_name'), current_setting('fsync')`).Scan(&super, &encoding, &collate, &name, &fsync)
		if err != nil {
			t.Fatal(err)
		}
		got := []string{super, encoding, collate, name, fsync}
		if want := []string{"on", "UTF8", "C", `it's a \test`, "off"}; fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("superuser, encoding, collation, setting, fsync: got %q, want %q", got, want)
		}
	}

	out, err := c.Psql(t.Context(), "postgres", "select 6 * 7;", "-At")
	if err != nil || out != "42\n" {
		t.Errorf("psql: got %q, %v", out, err)
	}
}

func TestTheEnvironmentIsAboutOtherServers(t *testing.T) {
	for name, value := range map[string]string{
		"PGSERVICE": "elsewhere", "PGOPTIONS": "-c default_transaction_read_only=on", "PGSSLROOTCERT": "/nowhere", "PGCONNECT_TIMEOUT": "soon", "PGSSLMODE": "require",
	} {
		t.Setenv(name, value)
	}
	c := start(t, Options{})
	conn, err := pgx.Connect(t.Context(), c.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(t.Context(), "create database written"); err != nil {
		t.Error(err)
	}
}

func TestStopLeavesNothingAndMayBeRepeated(t *testing.T) {
	t.Parallel()
	c := start(t, Options{Durable: true})
	server, keeper := c.Pid(), c.keeper.cmd.Process.Pid

	for range 2 {
		if err := c.Stop(); err != nil {
			t.Fatal(err)
		}
		if !gone(c.dir) || !ended(server) || !ended(keeper) {
			t.Fatalf("left behind: directory %v, server %v, keeper %v", !gone(c.dir), !ended(server), !ended(keeper))
		}
	}
}

func TestRestartKeepsThePortAndWhatWasCommitted(t *testing.T) {
	t.Parallel()
	c := start(t, Options{})
	port := c.Port()
	if _, err := c.Psql(t.Context(), "postgres", "create table note (n int)"); err != nil {
		t.Fatal(err)
	}

	for i, mode := range []syscall.Signal{Fast, Immediate} {
		before := connect(t, c)
		if _, err := before.Exec(t.Context(), "insert into note values ($1)", i); err != nil {
			t.Fatal(err)
		}
		if err := c.Restart(t.Context(), mode); err != nil {
			t.Fatal(err)
		}
		if err := before.Ping(t.Context()); err == nil {
			t.Errorf("%s: a connection outlived the restart", mode)
		}
		var notes int
		if err := connect(t, c).QueryRow(t.Context(), "select count(*) from note").Scan(&notes); err != nil {
			t.Fatal(err)
		}
		if notes != i+1 || c.Port() != port {
			t.Errorf("%s: %d notes on port %d, want %d on %d", mode, notes, c.Port(), i+1, port)
		}
	}
}

func TestAHaltedClusterIsDownUntilResumed(t *testing.T) {
	t.Parallel()
	c := start(t, Options{})

	c.Halt(Fast)
	if conn, err := pgx.Connect(t.Context(), c.URL("postgres")); err == nil {
		conn.Close(t.Context())
		t.Error("connected to a halted cluster")
	}
	if err := c.Resume(t.Context()); err != nil {
		t.Fatal(err)
	}
	connect(t, c)
	if err := c.Resume(t.Context()); err == nil {
		t.Error("resumed twice")
	}
}

func TestATakenPortIsExchanged(t *testing.T) {
	t.Parallel()
	c := start(t, Options{})
	c.Halt(Fast)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()

	tries := 0
	err = c.boot(t.Context(), func() (int, error) {
		if tries++; tries == 1 {
			return listener.Addr().(*net.TCPAddr).Port, nil
		}
		return freePort()
	})
	if err != nil || tries != 2 {
		t.Fatalf("after %d tries: %v", tries, err)
	}
	connect(t, c)
}

func TestAFailedStartSaysWhyAndLeavesNothing(t *testing.T) {
	t.Setenv("TMPDIR", openTempDir(t))

	_, err := Start(t.Context(), Options{Settings: map[string]string{"shared_buffers": "plenty"}})
	if err == nil || !strings.Contains(err.Error(), `invalid value for parameter "shared_buffers"`) {
		t.Errorf("got %v", err)
	}

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Start(ctx, Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: got %v", err)
	}

	if left, _ := os.ReadDir(os.TempDir()); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// TestATemporaryDirectoryThatIsOfNoUseIsPassedBy has one that is too long for the path of a socket and, where the server
// runs as another user, one that is closed to that user.
func TestATemporaryDirectoryThatIsOfNoUseIsPassedBy(t *testing.T) {
	for name, mode := range map[string]os.FileMode{strings.Repeat("long", 15): 0o755, "closed": 0o700} {
		dir := filepath.Join(openTempDir(t), name)
		if err := os.Mkdir(dir, mode); err != nil {
			t.Fatal(err)
		}
		t.Setenv("TMPDIR", dir)
		c := start(t, Options{})
		connect(t, c)
		if filepath.Dir(c.SocketDir()) == dir && (name != "closed" || c.as != nil) {
			t.Errorf("it is in %s", c.SocketDir())
		}
	}
}

// openTempDir returns a directory that the server's user can reach, which t.TempDir is not.
func openTempDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "headway-test-") //nolint:usetesting // see above
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestNothingIsLeftWhateverEndsTheProgram(t *testing.T) {
	t.Parallel()
	for _, end := range []string{"panic", "exit", "interrupt", "kill"} {
		t.Run(end, func(t *testing.T) {
			t.Parallel()
			program := exec.Command(os.Args[0])
			program.Env = append(os.Environ(), "HEADWAY_TEST_END="+end)
			program.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // as a shell does, so that Ctrl-C hits all of it
			stdout, err := program.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := program.Start(); err != nil {
				t.Fatal(err)
			}

			line, _ := bufio.NewReader(stdout).ReadString('\n')
			var dir string
			var server, keeper int
			if _, err := fmt.Sscan(line, &dir, &server, &keeper); err != nil {
				t.Fatalf("the program said %q: %v", line, err)
			}
			switch end {
			case "interrupt":
				err = syscall.Kill(-program.Process.Pid, syscall.SIGINT)
			case "kill":
				err = program.Process.Kill()
			}
			if err != nil {
				t.Fatal(err)
			}
			if err := program.Wait(); err == nil {
				t.Fatal("the program came to a good end")
			}

			await(t, "the directory goes", func() bool { return gone(dir) })
			await(t, "the server ends", func() bool { return ended(server) })
			await(t, "the keeper ends", func() bool { return ended(keeper) })
		})
	}
}

func TestFindHeedsTheEnvironment(t *testing.T) {
	found, err := Find()
	if err != nil {
		t.Fatal(err)
	}

	t.Setenv("HEADWAY_POSTGRES_BINDIR", found)
	if got, err := Find(); err != nil || got != found {
		t.Errorf("got %q, %v", got, err)
	}

	dir := t.TempDir()
	t.Setenv("HEADWAY_POSTGRES_BINDIR", dir)
	if _, err := Find(); err == nil || !strings.Contains(err.Error(), "HEADWAY_POSTGRES_BINDIR") {
		t.Errorf("an empty directory: got %v", err)
	}

	pretend(t, dir, "14.9 (Debian)", "initdb", "pg_ctl", "postgres")
	if _, err := Find(); err == nil || !strings.Contains(err.Error(), "14.9 (Debian) is too old") {
		t.Errorf("an old one: got %v", err)
	}
}

// pretend puts programs into a directory that only say their version.
func pretend(t *testing.T, dir, version string, programs ...string) {
	t.Helper()
	for _, program := range programs {
		script := "#!/bin/sh\necho '" + program + " (PostgreSQL) " + version + "'\n"
		if err := os.WriteFile(filepath.Join(dir, program), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAClientIsFoundElsewhereWhereTheServerHasNone(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("HEADWAY_POSTGRES_BINDIR", dir)
	pretend(t, dir, "18.1", "initdb", "pg_ctl", "postgres")
	elsewhere, err := Client("psql")
	if err != nil || filepath.Dir(elsewhere) == dir {
		t.Errorf("got %q, %v", elsewhere, err)
	}

	pretend(t, dir, "18.1", "psql")
	if got, err := Client("psql"); err != nil || got != filepath.Join(dir, "psql") {
		t.Errorf("beside the server: got %q, %v", got, err)
	}
	if got, err := Client("no-such-program"); err == nil {
		t.Errorf("what is nowhere: got %q", got)
	}
}

func TestUsualPlacesAreOrderedByVersion(t *testing.T) {
	for s, want := range map[string]int{
		"/usr/lib/postgresql/15/bin":            15,
		"/opt/homebrew/opt/postgresql@17/bin":   17,
		"postgres (PostgreSQL) 18beta1":         18,
		"/usr/local/opt/postgresql/bin":         0,
		"postgres (PostgreSQL) 15.20 (Debian…)": 15,
	} {
		if got := numberIn(s); got != want {
			t.Errorf("%s: got %d, want %d", s, got, want)
		}
	}
}

func BenchmarkBoot(b *testing.B) {
	for b.Loop() {
		c, err := Start(b.Context(), Options{})
		if err != nil {
			b.Fatal(err)
		}
		if err := c.Stop(); err != nil {
			b.Fatal(err)
		}
	}
}
