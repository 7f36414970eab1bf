package postgres

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

func TestAStandbyFollowsUntilItIsPromoted(t *testing.T) {
	t.Parallel()
	primary := start(t, Options{})
	if _, err := connect(t, primary).Exec(t.Context(), "create table note (n int)"); err != nil {
		t.Fatal(err)
	}
	standby, err := primary.Standby(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := standby.Stop(); err != nil {
			t.Error(err)
		}
	})

	if _, err := connect(t, primary).Exec(t.Context(), "insert into note values (1)"); err != nil {
		t.Fatal(err)
	}
	follower := connect(t, standby)
	for deadline := time.Now().Add(20 * time.Second); notes(t, follower) == 0; {
		if time.Now().After(deadline) {
			t.Fatal("it does not follow")
		}
	}
	if _, err := follower.Exec(t.Context(), "insert into note values (2)"); err == nil {
		t.Error("it can be written to")
	}
	if _, err := follower.Exec(t.Context(), "select pg_promote()"); err != nil {
		t.Fatal(err)
	}
	if _, err := follower.Exec(t.Context(), "insert into note values (2)"); err != nil {
		t.Error(err)
	}
	if n := notes(t, connect(t, primary)); n != 1 {
		t.Errorf("the old primary has %d notes", n)
	}
}

func notes(t *testing.T, conn *pgx.Conn) (n int) {
	t.Helper()
	if err := conn.QueryRow(t.Context(), "select count(*) from note").Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}
