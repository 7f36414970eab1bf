package worker_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/jackc/pgx/v5"

	"headway/internal/pgtest"
	"headway/worker"
)

// TestWhatConnectionsReadFromFilesIsReadAnew has a service file name another login while the pool is open, as when a
// password file or a certificate is replaced.
func TestWhatConnectionsReadFromFilesIsReadAnew(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	role := login(t, db)
	pgtest.Execute(t, db.Conn(t), "grant headway_worker to "+role)
	host, err := pgx.ParseConfig(db.URL)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "services")
	as := func(user string) {
		t.Helper()
		service := fmt.Sprintf("[app]\nhost=%s\nport=%d\ndbname=%s\nuser=%s\nsslmode=disable\n", host.Host, host.Port, db.Name, user)
		if err := os.WriteFile(file, []byte(service), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	as("test_worker")
	pool, err := worker.Connect(t.Context(), "service=app servicefile="+file, "test")
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	for _, user := range []string{"test_worker", role} {
		as(user)
		pool.Reset()
		var found string
		if err := pool.QueryRow(t.Context(), "select session_user").Scan(&found); err != nil || found != user {
			t.Errorf("it connects as %s, not as %s: %v", found, user, err)
		}
	}
}
