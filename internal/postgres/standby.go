package postgres

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// Standby starts another cluster, which follows this one and is read-only, until `select pg_promote()` on it makes it a
// primary. It begins with a copy of the data, for which this cluster is restarted; it needs nothing but the server,
// while pg_basebackup would be one more program. The caller must stop both.
func (c *Cluster) Standby(ctx context.Context) (*Cluster, error) {
	return launch(ctx, c.binDir, func(ctx context.Context, standby *Cluster) error {
		c.Halt(Fast)
		copied := standby.copyData(ctx, c)
		if err := errors.Join(copied, c.Resume(ctx)); err != nil {
			return err
		}
		return standby.configure(map[string]string{
			"unix_socket_directories": standby.dir,
			"primary_conninfo":        fmt.Sprintf("host=127.0.0.1 port=%d user=postgres", c.port),
		})
	})
}

// copyData makes the data directory of a standby from that of a halted cluster.
func (c *Cluster) copyData(ctx context.Context, from *Cluster) error {
	cp := exec.CommandContext(ctx, "cp", "-Rp", from.DataDir(), c.DataDir())
	cp.SysProcAttr = &syscall.SysProcAttr{Credential: c.as}
	if out, err := cp.CombinedOutput(); err != nil {
		return fmt.Errorf("copy the data: %w\n%s", err, out)
	}
	if err := os.WriteFile(filepath.Join(c.DataDir(), "standby.signal"), nil, 0o644); err != nil {
		return fmt.Errorf("make a standby: %w", err)
	}
	return nil
}
