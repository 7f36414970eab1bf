package postgres

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
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
