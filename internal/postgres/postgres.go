// Package postgres boots a private PostgreSQL cluster for the demo, the tests and the benchmark.
//
// A cluster lives in a temporary directory of its own, listens on a free port of 127.0.0.1 and on a socket in that
// directory, and trusts whoever connects: it is for one machine and one session. Whatever ends the program that started
// it (Stop, a failed test, a panic, os.Exit, Ctrl-C, SIGKILL), the server stops and the directory is removed: a keeper,
// a few lines of shell in a session of its own, reads a pipe that only this program holds open, and cleans up when the
// pipe is closed.
//
// Nothing here knows about headway's schema.
package postgres

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// Options configure a cluster. The zero value is right for tests.
type Options struct {
	// BinDir holds initdb and postgres. Empty: what [Find] returns.
	BinDir string

	// Settings are lines of postgresql.conf, unquoted: {"max_connections": "200"}.
	Settings map[string]string

	// Durable leaves fsync and full_page_writes on, as the benchmarks need. Without it, a crash of the
	// machine may lose data; a crash of the server, such as an immediate restart, still loses nothing that was
	// committed.
	Durable bool

	// Download fetches PostgreSQL's programs when none is installed.
	Download bool
}

// bootTimeout bounds initdb, and the start and stop of a server, unless the caller's context does.
const bootTimeout = time.Minute

// Cluster is a running private PostgreSQL. Its methods may be called concurrently.
type Cluster struct {
	binDir string
	dir    string
	port   int
	as     *syscall.Credential // whom the server runs as; nil: ourselves
	log    *tail
	keeper *keeper

	mu     sync.Mutex
	server *process // nil while halted
}

// Start makes a cluster and returns once it accepts connections. ctx bounds only the start. On error, nothing is left
// behind. The caller must call [Cluster.Stop], although the keeper does so if the program ends without it.
//
// It removes libpq's variables, PGSERVICE and the like, from the environment: they are about some other server, and
// would affect whoever connects to this one.
func Start(ctx context.Context, options Options) (*Cluster, error) {
	binDir, err := programs(ctx, options)
	if err != nil {
		return nil, err
	}
	return launch(ctx, binDir, func(ctx context.Context, c *Cluster) error { return c.create(ctx, options) })
}

// launch starts a cluster whose data directory is made by create.
func launch(ctx context.Context, binDir string, create func(context.Context, *Cluster) error) (*Cluster, error) {
	ctx, cancel := context.WithTimeout(ctx, bootTimeout)
	defer cancel()

	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); strings.HasPrefix(name, "PG") {
			if err := os.Unsetenv(name); err != nil {
				return nil, err
			}
		}
	}
	as, err := Unprivileged()
	if err != nil {
		return nil, err
	}
	dir, err := tempDir(as)
	if err != nil {
		return nil, err
	}
	keeper, err := keep(dir)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}

	c := &Cluster{binDir: binDir, dir: dir, as: as, log: &tail{}, keeper: keeper}
	if err := create(ctx, c); err != nil {
		return nil, errors.Join(err, c.Stop())
	}
	if err := c.boot(ctx, freePort); err != nil {
		return nil, errors.Join(err, c.Stop())
	}
	return c, nil
}

// URL returns a connection string for a database, as the superuser.
func (c *Cluster) URL(dbname string) string {
	return fmt.Sprintf("postgres://postgres@127.0.0.1:%d/%s?sslmode=disable", c.port, url.PathEscape(dbname))
}

// Port returns the port on 127.0.0.1, which is also the number in the socket's name. It never changes.
func (c *Cluster) Port() int { return c.port }

// SocketDir returns the directory of the server's Unix socket.
func (c *Cluster) SocketDir() string { return c.dir }

// DataDir returns the data directory.
func (c *Cluster) DataDir() string { return filepath.Join(c.dir, "data") }

// BinDir returns the directory of PostgreSQL's programs. Some installations have no psql or pg_dump in it: see
// [Client].
func (c *Cluster) BinDir() string { return c.binDir }

// Pid returns the process id of the server; 0 while it is halted.
func (c *Cluster) Pid() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.server == nil {
		return 0
	}
	return c.server.cmd.Process.Pid
}

// Psql runs psql as the superuser with stdin as its input, without .psqlrc, and returns its output. It stops at the
// first error.
func (c *Cluster) Psql(ctx context.Context, dbname, stdin string, args ...string) (string, error) {
	psql, err := Client("psql")
	if err != nil {
		return "", err
	}
	args = append([]string{"-X", "-v", "ON_ERROR_STOP=1", "-d", c.URL(dbname)}, args...)
	cmd := exec.CommandContext(ctx, psql, args...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("psql: %w", err)
	}
	return string(out), err
}

// Stop ends the server at once, without a checkpoint, and removes every trace of the cluster. It may be called again.
func (c *Cluster) Stop() error {
	c.Halt(Immediate)
	return c.keeper.close()
}

// The modes of PostgreSQL's shutdown.
const (
	Fast      = syscall.SIGINT  // disconnects clients and shuts down cleanly
	Immediate = syscall.SIGQUIT // is a crash
)

// Halt stops the server and keeps its data, until [Cluster.Resume]. A halted cluster stays halted.
func (c *Cluster) Halt(mode syscall.Signal) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.server != nil {
		c.server.stop(mode)
		c.server = nil
	}
}

// Resume starts a halted server again, on the same port and data, and returns once it accepts connections.
func (c *Cluster) Resume(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, bootTimeout)
	defer cancel()
	return c.boot(ctx, func() (int, error) { return c.port, nil })
}

// Restart is [Cluster.Halt] and [Cluster.Resume].
func (c *Cluster) Restart(ctx context.Context, mode syscall.Signal) error {
	c.Halt(mode)
	return c.Resume(ctx)
}

// create runs initdb and writes the settings.
func (c *Cluster) create(ctx context.Context, options Options) error {
	initdb, err := c.spawn("initdb", "-D", c.DataDir(), "-U", "postgres", "-E", "UTF8",
		"--locale=C", "--auth=trust", "--no-sync", "--no-instructions")
	if err != nil {
		return err
	}
	select {
	case <-initdb.done:
	case <-ctx.Done():
		initdb.stop(syscall.SIGKILL)
		return fmt.Errorf("initdb: %w", ctx.Err())
	}
	if initdb.err != nil {
		return fmt.Errorf("initdb: %w\n%s", initdb.err, c.log)
	}

	settings := map[string]string{
		"listen_addresses":        "127.0.0.1",
		"unix_socket_directories": c.dir,
	}
	if !options.Durable {
		// Not synchronous_commit: an immediate restart would then lose committed transactions.
		settings["fsync"] = "off"
		settings["full_page_writes"] = "off"
	}
	maps.Copy(settings, options.Settings)
	return c.configure(settings)
}

// configure adds lines to postgresql.conf. The last one for a name counts.
func (c *Cluster) configure(settings map[string]string) error {
	conf, err := os.OpenFile(filepath.Join(c.DataDir(), "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("write settings: %w", err)
	}
	defer conf.Close()
	quote := strings.NewReplacer(`\`, `\\`, `'`, `''`)
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		if _, err := fmt.Fprintf(conf, "%s = '%s'\n", name, quote.Replace(settings[name])); err != nil {
			return fmt.Errorf("write settings: %w", err)
		}
	}
	return conf.Close()
}

// boot starts the server on a port returned by choose and waits until it accepts connections. If another program took
// the port first, it chooses again.
func (c *Cluster) boot(ctx context.Context, choose func() (int, error)) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.server != nil {
		return errors.New("start postgres: it runs already")
	}

	for {
		port, err := choose()
		if err != nil {
			return err
		}
		if c.port != port { // while it runs, others read it
			c.port = port
		}
		c.log.reset()
		server, err := c.spawn("postgres", "-D", c.DataDir(), "-p", strconv.Itoa(port))
		if err != nil {
			return err
		}
		err = c.ready(ctx, server)
		if err == nil {
			c.server = server
			return nil
		}
		server.stop(Immediate)
		if ctx.Err() != nil || !strings.Contains(c.log.String(), "could not bind") {
			return err
		}
	}
}

// ready returns once the server accepts connections or has ended. It asks through the socket: on the port, some other
// server might answer.
func (c *Cluster) ready(ctx context.Context, server *process) error {
	socket := fmt.Sprintf("host=%s port=%d user=postgres dbname=postgres", c.dir, c.port)
	for {
		conn, err := pgconn.Connect(ctx, socket)
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-server.done:
			//nolint:errorlint // nil where it ended with exit code 0
			return fmt.Errorf("postgres ended while starting: %v\n%s", server.err, c.log)
		case <-ctx.Done():
			return fmt.Errorf("wait for postgres: %w: %w\n%s", ctx.Err(), err, c.log)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// process is a PostgreSQL program, in its own session, so that Ctrl-C on a terminal does not reach it.
type process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
	err  error         // how it ended; set before done is closed
}

// spawn starts a program and makes the keeper watch it.
func (c *Cluster) spawn(program string, args ...string) (*process, error) {
	cmd := exec.Command(filepath.Join(c.binDir, program), args...)
	cmd.Dir = c.dir
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	cmd.Stdout, cmd.Stderr = c.log, c.log
	cmd.WaitDelay = time.Second // for a child that outlives it and holds its output open
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Credential: c.as}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", program, err)
	}

	p := &process{cmd: cmd, done: make(chan struct{})}
	err := c.keeper.watch(cmd.Process.Pid)
	go func() {
		p.err = cmd.Wait()
		_ = c.keeper.watch(0) // it fails only if the keeper is gone
		close(p.done)
	}()
	if err != nil {
		p.stop(syscall.SIGKILL)
		return nil, err
	}
	return p, nil
}

// stop signals the process and waits for its end, forcing it after a while.
func (p *process) stop(signal syscall.Signal) {
	_ = syscall.Kill(-p.cmd.Process.Pid, signal) // it fails only if the process has ended
	select {
	case <-p.done:
	case <-time.After(bootTimeout):
		_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
		<-p.done
	}
}

// Unprivileged returns whom to run the server as: PostgreSQL refuses to run as root. Nil: ourselves.
func Unprivileged() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, uidErr := strconv.ParseUint(u.Uid, 10, 32)
		gid, gidErr := strconv.ParseUint(u.Gid, 10, 32)
		if uidErr == nil && gidErr == nil {
			return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
		}
	}
	return nil, errors.New("postgres refuses to run as root, and there is no user postgres or nobody to run it as: run this as another user")
}

// tempDir makes the cluster's directory in a place that the server's user can reach, and short enough for the path of a
// socket to stay within the system's limit, which may be as low as 103 bytes.
func tempDir(as *syscall.Credential) (string, error) {
	for _, base := range []string{os.TempDir(), "/tmp", "/var/tmp"} {
		if len(base) > 60 || as != nil && !reachable(base) {
			continue
		}
		dir, err := os.MkdirTemp(base, "headway-postgres-")
		if err != nil {
			continue
		}
		if as != nil {
			if err := os.Chown(dir, int(as.Uid), int(as.Gid)); err != nil {
				return "", errors.Join(fmt.Errorf("give %s to the server's user: %w", dir, err), os.Remove(dir))
			}
		}
		return dir, nil
	}
	return "", fmt.Errorf("make a directory for postgres: neither %s nor /tmp is writable, or open to other users", os.TempDir())
}

// reachable reports whether every user may pass through dir and its parents.
func reachable(dir string) bool {
	for {
		info, err := os.Stat(dir)
		if err != nil || info.Mode().Perm()&0o001 == 0 {
			return false
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return true
		}
		dir = parent
	}
}

// freePort returns a port on 127.0.0.1 that is free now. It is below the range from which systems assign ports to
// outgoing connections: while the server is down, no such connection takes the port or connects a client to itself.
func freePort() (int, error) {
	for range 100 {
		port := 15000 + rand.IntN(17000)
		listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			return port, listener.Close()
		}
	}
	return 0, errors.New("find a free port for postgres: a hundred tries found none")
}

// tail keeps the end of what is written to it.
type tail struct {
	mu  sync.Mutex
	end []byte
}

// Write implements [io.Writer].
func (t *tail) Write(p []byte) (int, error) {
	const limit = 4096
	t.mu.Lock()
	defer t.mu.Unlock()
	t.end = append(t.end, p...)
	if over := len(t.end) - limit; over > 0 {
		t.end = t.end[over:]
	}
	return len(p), nil
}

// String returns the end of the log.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(bytes.TrimSpace(t.end))
}

func (t *tail) reset() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.end = nil
}
