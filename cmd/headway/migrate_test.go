package main

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"headway/internal/pgtest"
	"headway/internal/postgres"
	"headway/sql"
)

// TestRolesCanBeMadeByHand follows what --no-roles prints, on a server of its own.
func TestRolesCanBeMadeByHand(t *testing.T) {
	t.Parallel()
	cluster := pgtest.Server(t, postgres.Options{})
	db := pgtest.DB{URL: cluster.URL("postgres")}
	conn := db.Conn(t)
	pgtest.Execute(t, conn, "create role deployer login")
	pgtest.Execute(t, conn, "create database app owner deployer")
	url := strings.Replace(cluster.URL("app"), "postgres@", "deployer@", 1)
	roles := func() int { return count(t, conn, `pg_roles where rolname ~ '^headway_'`) }

	stdout, _, err := headway(t, url, "migrate")
	if !errors.As(err, new(*sql.RolesError)) || !strings.Contains(err.Error(), "deployer cannot migrate") ||
		!strings.Contains(err.Error(), "what `headway migrate --no-roles` prints") || !strings.HasPrefix(stdout, "up   001_") {
		t.Errorf("without the right to make roles: %v, %q", err, stdout)
	}
	for _, login := range []string{url, cluster.URL("app")} { // who might make them does not either
		script, _, err := headway(t, login, "migrate", "--no-roles")
		if !errors.As(err, new(*sql.RolesError)) || !strings.HasPrefix(script, sql.Roles()) || roles() != 0 {
			t.Errorf("with --no-roles: %v, %q", err, script)
		}
	}

	script, _, err := headway(t, url, "migrate", "--no-roles")
	if err == nil {
		t.Error("there is nothing to do")
	}
	pgtest.Execute(t, conn, script)
	stdout, _, err = headway(t, url, "migrate", "--no-roles")
	if err != nil || !strings.HasSuffix(stdout, fmt.Sprintf("\nschema version %d of %[1]d\n", sql.Latest())) || roles() != 6 {
		t.Errorf("with the roles made: %v, %q", err, stdout)
	}
	for _, args := range [][]string{{"--to", "0"}, {}} {
		if _, _, err := headway(t, url, append([]string{"migrate"}, args...)...); err != nil {
			t.Errorf("%q: %v", args, err)
		}
	}

	// The roles are there, and the login may not act as the owner.
	pgtest.Execute(t, conn, "revoke headway_owner from deployer")
	script, _, err = headway(t, url, "migrate", "--no-roles")
	if err == nil || !strings.Contains(err.Error(), "grant headway_owner to deployer") || !strings.Contains(script, "\ngrant headway_owner to deployer") ||
		strings.Contains(script, "create role") {
		t.Errorf("without the owner: %v, %q", err, script)
	}
	if stdout, _, err := headway(t, url, "migrate", "--no-roles", "--status"); err != nil || !strings.HasPrefix(stdout, "schema version ") {
		t.Errorf("its status: %v, %q", err, stdout)
	}
}

func TestGoingDownDiscardsNothingUnasked(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	conn := db.Conn(t)
	pgtest.Execute(t, conn, "insert into headway.appuser (id, fullname) values (1, 'Abe'); select headway.post(1, 'broadcast', 'Hello')")
	stdout, _, err := headway(t, db.URL, "migrate", "--to", "4")
	if err == nil || !strings.Contains(err.Error(), "--discard") || stdout != "" || count(t, conn, "headway.message") != 1 {
		t.Errorf("it goes down: %v, %q", err, stdout)
	}
	if _, _, err := headway(t, db.URL, "migrate", "--status", "--to", "4"); !errors.As(err, new(*usageError)) {
		t.Errorf("--status --to 4: %v", err)
	}
	pgtest.Execute(t, conn, "update "+sql.VersionTable+" set version = version + 1") // of a newer headway
	if _, _, err := headway(t, db.URL, "migrate"); !errors.As(err, new(*sql.VersionError)) {
		t.Errorf("a newer schema: %v", err)
	}
	pgtest.Execute(t, conn, "update "+sql.VersionTable+" set version = version - 1")
	for _, args := range [][]string{{"--to", "4", "--discard"}, {}, {"--to", "0"}} {
		if _, _, err := headway(t, db.URL, append([]string{"migrate"}, args...)...); err != nil {
			t.Errorf("%q: %v", args, err)
		}
	}
}

// TestASchemaWithoutItsVersionSaysSo is what a dump without data brings, or one without the table.
func TestASchemaWithoutItsVersionSaysSo(t *testing.T) {
	t.Parallel()
	for change, want := range map[string]string{
		"truncate " + sql.VersionTable:   "is empty, as after a dump without data",
		"drop table " + sql.VersionTable: "does not say which version it is",
	} {
		db := pgtest.New(t)
		pgtest.Execute(t, db.Conn(t), change)
		for _, args := range [][]string{{"migrate"}, {"migrate", "--status"}, {"worker"}, {"doctor"}} {
			stdout, _, err := headway(t, db.URL, args...)
			if err == nil || !strings.Contains(strings.Join(strings.Fields(err.Error()+stdout), " "), want) {
				t.Errorf("after %s, %q: %v\n%s", change, args, err, stdout)
			}
		}
	}
}

// TestAMigrationThatIsTriedAgainSaysSo has somebody read what it wants to drop.
func TestAMigrationThatIsTriedAgainSaysSo(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	reader := db.Conn(t)
	pgtest.Execute(t, reader, "begin; select * from headway.message")
	migration := start(t, []string{"DATABASE_URL=" + db.URL}, "migrate", "--to", "0")
	migration.await(", attempt 2: waiting for a lock\n")
	pgtest.Execute(t, reader, "commit")
	migration.await(fmt.Sprintf("schema version 0 of %d\n", sql.Latest()))
	migration.exit(0)
}

// TestWhoWaitsForAnotherMigrationIsToldWhose has somebody hold the lock, as a session that a pooler has kept does.
func TestWhoWaitsForAnotherMigrationIsToldWhose(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	holder := db.Conn(t)
	pgtest.Execute(t, holder, "set application_name = 'pooler'; select pg_advisory_lock(headway.lock_key('migrate'))")
	migration := start(t, []string{"DATABASE_URL=" + db.URL}, "migrate")
	migration.await(fmt.Sprintf("waiting for another migration: the lock migrate is held by pid %d, user postgres, application pooler", holder.PgConn().PID()))
	pgtest.Execute(t, holder, "select pg_advisory_unlock_all()")
	migration.await("schema version ")
	migration.exit(0)
}
