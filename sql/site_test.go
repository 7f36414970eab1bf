package sql_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"

	"headway/internal/pgtest"
	"headway/internal/postgres"
	"headway/sql"
)

// server is a cluster of a test's own, with nothing in it: not even what migrations leave outside of a database.
type server struct {
	*postgres.Cluster
	databases atomic.Int64
}

// startServer starts a server that stops when the test ends.
func startServer(t *testing.T, options postgres.Options) *server {
	t.Helper()
	cluster := pgtest.Server(t, options)
	// Roles are the cluster's and in no dump.
	maintenance := pgtest.DB{URL: cluster.URL("postgres")}
	pgtest.Execute(t, maintenance.Conn(t), sql.Roles()+"create role test_worker login in role headway_worker")
	return &server{Cluster: cluster}
}

// create makes an empty database.
func (s *server) create(t *testing.T) *site {
	t.Helper()
	name := fmt.Sprintf("site_%d", s.databases.Add(1))
	maintenance := pgtest.DB{URL: s.URL("postgres")}
	pgtest.Execute(t, maintenance.Conn(t), "create database "+name)
	return &site{DB: pgtest.DB{URL: s.URL(name), Name: name}, server: s}
}

// site is a database on a server of a test's own.
type site struct {
	pgtest.DB
	server *server
}

// everything makes a site with something of everything, on a server that there is a pg_dump for.
func everything(t *testing.T, settings map[string]string) *site {
	t.Helper()
	pgDump := pgtest.Client(t, "pg_dump")
	s := startServer(t, postgres.Options{BinDir: filepath.Dir(pgDump), Settings: settings}).create(t)
	s.migrate(t)
	script, err := os.ReadFile("testdata/everything.sql")
	if err != nil {
		t.Fatal(err)
	}
	pgtest.Execute(t, s.Conn(t), string(script))
	return s
}

// migrate does what headway migrate does.
func (s *site) migrate(t *testing.T) {
	t.Helper()
	if err := sql.Migrate(t.Context(), s.Conn(t), sql.Latest(), nil); err != nil {
		t.Fatal(err)
	}
}

// dump returns what pg_dump writes.
func (s *site) dump(t *testing.T, args ...string) string {
	t.Helper()
	return client(t, "pg_dump", append(args, "--dbname="+s.URL)...)
}

// client runs a program of PostgreSQL and returns what it writes.
func client(t *testing.T, program string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), pgtest.Client(t, program), args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", program, err, &stderr)
	}
	return string(out)
}

// load has psql run scripts, all of it or nothing.
func (s *site) load(t *testing.T, scripts ...string) {
	t.Helper()
	if out, err := s.tryLoad(t, scripts...); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

func (s *site) tryLoad(t *testing.T, scripts ...string) (out string, err error) {
	t.Helper()
	return s.server.Psql(t.Context(), s.Name, strings.Join(scripts, "\n"), "--quiet", "--single-transaction")
}

// rows returns every row of every table, a line each.
func (s *site) rows(t *testing.T) string {
	t.Helper()
	conn := s.Conn(t)
	pgtest.Execute(t, conn, "set timezone = 'UTC'")
	var lines []string
	for _, table := range column(t, conn, `
		select c.oid::regclass::text
		from pg_class c
		where c.relkind = 'r' and c.relnamespace in ('headway'::regnamespace, 'public'::regnamespace)
		order by c.oid::regclass::text collate "C"`) {
		lines = append(lines, column(t, conn, fmt.Sprintf(`select format('%%s %%s', '%[1]s', r) from %[1]s r order by r::text collate "C"`, table))...)
	}
	return strings.Join(lines, "\n")
}

// sequences returns where every sequence is, a line each.
func (s *site) sequences(t *testing.T) string {
	t.Helper()
	return strings.Join(column(t, s.Conn(t), `
		select format('%s.%s %s', q.schemaname, q.sequencename, q.last_value)
		from pg_sequences q
		order by q.schemaname collate "C", q.sequencename collate "C"`), "\n")
}

// column returns what a query of one column returns.
func column(t *testing.T, conn *pgx.Conn, query string) []string {
	t.Helper()
	rows, err := conn.Query(t.Context(), query)
	if err != nil {
		t.Fatal(err)
	}
	values, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return values
}
