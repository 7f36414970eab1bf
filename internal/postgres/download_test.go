package postgres

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// testdata/programs.txz has the programs as scripts that run those in HEADWAY_TEST_BINDIR.
func TestDownloadFetchesOnceAndWhatItFetchedRuns(t *testing.T) {
	installed, err := Find()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("HEADWAY_TEST_BINDIR", installed)

	programs, err := os.ReadFile("testdata/programs.txz")
	if err != nil {
		t.Fatal(err)
	}
	var archive bytes.Buffer
	writer := zip.NewWriter(&archive)
	file, err := writer.Create("postgres.txz")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.Write(programs); err != nil {
		t.Fatal(err)
	}
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	var fetched atomic.Int32
	repository := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, ".sha256") {
			fmt.Fprintf(w, "%x", sha256.Sum256(archive.Bytes()))
			return
		}
		fetched.Add(1)
		_, _ = w.Write(archive.Bytes())
	}))
	defer http.DefaultClient.CloseIdleConnections() // embedded-postgres uses it
	defer repository.Close()

	cache := openTempDir(t)
	for range 2 {
		binDir, err := download(t.Context(), repository.URL, cache)
		if err != nil {
			t.Fatal(err)
		}
		connect(t, start(t, Options{BinDir: binDir}))
	}
	if n := fetched.Load(); n != 1 {
		t.Errorf("fetched %d times", n)
	}
}

// TestADownloadEndsWithItsContext has the repository not answer.
func TestADownloadEndsWithItsContext(t *testing.T) {
	t.Setenv("TMPDIR", openTempDir(t))
	ctx, cancel := context.WithCancel(t.Context())
	release := make(chan struct{})
	repository := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		cancel()
		<-release
	}))
	defer http.DefaultClient.CloseIdleConnections()
	defer repository.Close()
	defer close(release)

	ended := make(chan error, 1)
	go func() {
		_, err := download(ctx, repository.URL, t.TempDir())
		ended <- err
	}()
	select {
	case err := <-ended:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	case <-time.After(30 * time.Second):
		t.Error("it waits for the repository")
	}
}

func TestADownloadThatFailsSaysWhy(t *testing.T) {
	repository := httptest.NewServer(http.NotFoundHandler())
	defer http.DefaultClient.CloseIdleConnections()
	defer repository.Close()
	t.Setenv("TMPDIR", openTempDir(t))

	cache := filepath.Join(t.TempDir(), "cache")
	if binDir, err := download(t.Context(), repository.URL, cache); err == nil || !strings.Contains(err.Error(), "no version found") {
		t.Errorf("got %q, %v", binDir, err)
	}
}
