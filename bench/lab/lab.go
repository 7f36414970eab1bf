// Package lab is the conditions under which ways to keep progress are measured, so that they are the same for all.
//
// A [Lab] is one PostgreSQL with the settings of its makers, durable, on this machine, reached through its Unix
// socket. Every measurement gets a database of its own, a copy of a template that was filled once: the same rows on the
// same pages, whoever was measured before, and nobody hears another one's notifications. A checkpoint comes before it.
//
// [Lab.Measure] then completes tasks from many connections at once, each in a transaction of its own, as
// `pgbench -M prepared` would: a prepared statement, sent again as soon as it was answered (full speed), or when its
// time has come whether or not others were answered (so many a second, at random moments). It warms up first, watches
// what a reader sees and what a listener hears, waits until nothing is left to do, and counts again what should have
// come out.
//
// On Linux one goroutine serves all connections, as a thread of pgbench does, and costs about what that costs: some 10 µs
// of CPU for a completion, where a goroutine for each connection takes some 25, and the server more beside it, for a
// bare insert that is some 40 in all. What cannot be one statement, and other systems, take goroutines. pgbench itself
// could not tell when it committed what.
//
// What is measured belongs to the packages beside this one; how, here.
package lab

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strconv"

	"github.com/jackc/pgx/v5"

	"headway/internal/postgres"
)

// Lab is a running PostgreSQL. [Open] makes one. Its methods are for one goroutine.
type Lab struct {
	// Cluster is the server, whose owner is the Lab.
	Cluster *postgres.Cluster
	// Dir is a temporary directory for programs to measure.
	Dir string

	admin     *pgx.Conn
	templates map[string]bool
}

// Open boots a PostgreSQL. The caller closes it.
func Open(ctx context.Context, options postgres.Options) (*Lab, error) {
	cluster, err := postgres.Start(ctx, options)
	if err != nil {
		return nil, err
	}
	l := &Lab{Cluster: cluster, templates: map[string]bool{}}
	if l.Dir, err = os.MkdirTemp("", "headway-lab-"); err == nil {
		l.admin, err = pgx.Connect(ctx, l.url("postgres"))
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(l.Dir), cluster.Stop())
	}
	return l, nil
}

// Close stops the server and removes every trace of the lab.
func (l *Lab) Close() error {
	return errors.Join(l.admin.Close(context.Background()), l.Cluster.Stop(), os.RemoveAll(l.Dir))
}

// url returns the connection string of a database, as the superuser, through the socket.
func (l *Lab) url(dbname string) string {
	u := url.URL{Scheme: "postgres", User: url.User("postgres"), Path: "/" + dbname, RawQuery: url.Values{
		"host": {l.Cluster.SocketDir()}, "port": {strconv.Itoa(l.Cluster.Port())},
	}.Encode()}
	return u.String()
}

// ServerVersion returns the version of the server: "15.14".
func (l *Lab) ServerVersion(ctx context.Context) (version string, err error) {
	err = l.admin.QueryRow(ctx, "select split_part(current_setting('server_version'), ' ', 1)").Scan(&version)
	return version, err
}

// Template makes a template of this name, unless there is one. fill puts into it what its copies are to have; what it
// leaves is vacuumed and analyzed.
func (l *Lab) Template(ctx context.Context, name string, fill func(ctx context.Context, conn *pgx.Conn) error) error {
	if l.templates[name] {
		return nil
	}
	if err := l.fill(ctx, name, fill); err != nil {
		return fmt.Errorf("make the template %s: %w", name, err)
	}
	l.templates[name] = true
	return nil
}

func (l *Lab) fill(ctx context.Context, name string, fill func(ctx context.Context, conn *pgx.Conn) error) error {
	if _, err := l.admin.Exec(ctx, "create database "+pgx.Identifier{name}.Sanitize()); err != nil {
		return err
	}
	conn, err := pgx.Connect(ctx, l.url(name))
	if err != nil {
		return err
	}
	err = fill(ctx, conn)
	if err == nil {
		_, err = conn.Exec(ctx, "vacuum analyze")
	}
	return errors.Join(err, conn.Close(context.WithoutCancel(ctx)))
}

// Database is a copy of a template.
type Database struct {
	// URL connects to it as the superuser.
	URL string
}

// Copy makes a database from a template. The next call drops it, whoever is connected. The files of the template are
// copied, with a checkpoint at the end, so that nothing is left to be written to disk during the measurement.
func (l *Lab) Copy(ctx context.Context, template string) (*Database, error) {
	err := Execute(ctx, l.admin, "drop database if exists copy with (force)",
		fmt.Sprintf("create database copy template %s strategy file_copy", pgx.Identifier{template}.Sanitize()))
	if err != nil {
		return nil, err
	}
	return &Database{URL: l.url("copy")}, nil
}

// Connect connects to the database.
func (d *Database) Connect(ctx context.Context) (*pgx.Conn, error) { return pgx.Connect(ctx, d.URL) }

// Checkpoint writes everything to disk, so that no measurement pays for the one before.
func (l *Lab) Checkpoint(ctx context.Context) error {
	_, err := l.admin.Exec(ctx, "checkpoint")
	return err
}
