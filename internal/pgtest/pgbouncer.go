package pgtest

import (
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"headway/internal/postgres"
)

// PgBouncer puts a PgBouncer in transaction mode in front of the cluster until the test ends, and returns the URL of
// the database through it.
func (db *DB) PgBouncer(t testing.TB) string {
	t.Helper()
	program, err := exec.LookPath("pgbouncer")
	if err != nil {
		if program, err = exec.LookPath("/usr/sbin/pgbouncer"); err != nil {
			t.Fatal("this test needs PgBouncer, in PATH or /usr/sbin: apt install pgbouncer")
		}
	}
	dir, err := os.MkdirTemp("", "headway-pgbouncer-") //nolint:usetesting // t.TempDir is closed to the user that PgBouncer runs as
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	server, err := url.Parse(db.URL)
	if err != nil {
		t.Fatal(err)
	}
	addr := FreeAddr(t)
	host, port, _ := net.SplitHostPort(addr)
	settings, users := filepath.Join(dir, "pgbouncer.ini"), filepath.Join(dir, "users.txt")
	err = os.WriteFile(settings, fmt.Appendf(nil, `
[databases]
* = host=%s port=%s
[pgbouncer]
listen_addr = %s
listen_port = %s
unix_socket_dir =
auth_type = trust
auth_file = %s
pool_mode = transaction
default_pool_size = 3
`, server.Hostname(), server.Port(), host, port, users), 0o644)
	if err == nil {
		err = os.WriteFile(users, []byte("\"postgres\" \"\"\n\"test_worker\" \"\"\n"), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}

	as, err := postgres.Unprivileged() // PgBouncer refuses to run as root, too
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, settings)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: as}
	Serve(t, addr, "INT", cmd)

	pooled := *server
	pooled.Host = addr
	return pooled.String()
}
