package worker_test

import (
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"headway/internal/pgtest"
	"headway/worker"
)

// startPgBouncer puts a PgBouncer in transaction mode in front of the test's PostgreSQL and returns the URL of the
// database through it. Should this program end without stopping it, a shell does that waits for the end of its input.
func startPgBouncer(t *testing.T, db *pgtest.DB) string {
	t.Helper()
	program, err := exec.LookPath("pgbouncer")
	if err != nil {
		if program, err = exec.LookPath("/usr/sbin/pgbouncer"); err != nil {
			t.Fatal("this test needs PgBouncer, in PATH or /usr/sbin: apt install pgbouncer")
		}
	}
	dir, err := os.MkdirTemp("", "headway-pgbouncer-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	server, err := url.Parse(db.URL)
	if err != nil {
		t.Fatal(err)
	}
	addr := freeAddr(t)
	host, port, _ := net.SplitHostPort(addr)
	settings := filepath.Join(dir, "pgbouncer.ini")
	err = os.WriteFile(settings, fmt.Appendf(nil, `
[databases]
* = host=%s port=%s user=postgres
[pgbouncer]
listen_addr = %s
listen_port = %s
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 3
`, server.Hostname(), server.Port(), host, port), 0o644)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}

	var log strings.Builder
	cmd := exec.Command("/bin/sh", "-c", `"$@" & read -r _; kill -s INT $!; wait $!`, "sh", program, settings)
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = &log, &log
	cmd.WaitDelay = 10 * time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: nobody(t)}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_, _ = io.WriteString(stdin, "\n")
		_ = cmd.Wait() // it ends with the signal's code
		if t.Failed() {
			t.Log(log.String())
		}
	})
	pgtest.Eventually(t, soon, func() bool {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			conn.Close()
		}
		return err == nil
	}, "pgbouncer does not listen on %s", addr)

	pooled := *server
	pooled.Host = addr
	return pooled.String()
}

// nobody is whom to run PgBouncer as: it refuses to be root.
func nobody(t *testing.T) *syscall.Credential {
	t.Helper()
	if os.Geteuid() != 0 {
		return nil
	}
	u, err := user.Lookup("nobody")
	if err != nil {
		t.Fatalf("pgbouncer refuses to run as root: %v", err)
	}
	uid, uidErr := strconv.ParseUint(u.Uid, 10, 32)
	gid, gidErr := strconv.ParseUint(u.Gid, 10, 32)
	if uidErr != nil || gidErr != nil {
		t.Fatalf("user nobody has uid %q and gid %q", u.Uid, u.Gid)
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}

func TestThroughAPoolerWithAListeningConnection(t *testing.T) {
	t.Parallel()
	db := seeded(t)
	pooled := startPgBouncer(t, db)
	w := start(t, config(t, pooled, "HEADWAY_LISTEN_URL", db.URL))
	w.await(worker.Leading, worker.Asleep)
	writers := connectPool(t, pooled+"&default_query_exec_mode=exec")

	traffic := drive(t, writers)
	traffic.flow(t)
	traffic.stop()
	conn := db.Conn(t)
	eventuallyFolded(t, conn)
	pgtest.Eventually(t, soon, func() bool { return locks(t, conn, "doorbell", exclusive) == 1 }, "it does not go to sleep")
	w.forget()
	do(t, conn, "select headway.reopen_task(1, 1); "+complete(1))
	w.await(worker.Rung, worker.Folded)
	eventuallyFolded(t, conn)
	if metric(t, w.Worker, "headway_listening") != 1 {
		t.Error("it does not say that it listens")
	}
}

func TestThroughAPoolerAloneEveryWorkerPolls(t *testing.T) {
	t.Parallel()
	db := seeded(t)
	pooled := startPgBouncer(t, db)
	conn := db.Conn(t)
	shortly := func(w *worker.Worker) { w.ProbeTimeout = 500 * time.Millisecond }
	workers := []*running{start(t, config(t, pooled), shortly), start(t, config(t, pooled), shortly)}
	for _, w := range workers {
		w.await(worker.Deaf, worker.Polled)
	}

	traffic := drive(t, connectPool(t, pooled+"&default_query_exec_mode=exec"))
	traffic.flow(t)
	for _, purpose := range []string{"leader", "doorbell"} {
		if n := locks(t, conn, purpose, exclusive); n != 0 {
			t.Errorf("%d sessions hold the %s lock", n, purpose)
		}
	}
	traffic.stop()
	eventuallyFolded(t, conn)
	for _, w := range workers {
		w.forget()
	}
	do(t, conn, "select headway.reopen_task(1, 1); "+complete(1))
	began := time.Now()
	eventuallyFolded(t, conn)
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("folded after %v", took)
	}
	for _, w := range workers {
		if metric(t, w.Worker, "headway_listening") != 0 || metric(t, w.Worker, "headway_probe_failures_total") != 1 {
			t.Error("it does not say that it hears nothing")
		}
	}
	pgtest.Eventually(t, soon, func() bool {
		return value[int](t, conn, "select count(*) from headway.worker where leader") == 2
	}, "the workers do not say that they fold")
}
