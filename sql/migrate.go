// Package sql contains headway's schema and migrates databases to it.
//
// This directory is for SQL and the little Go that installs it: migrations/ is tern's directory (tables, indexes,
// grants), migrations/snapshots/ has the functions, triggers and views, one file per topic, the newest snapshot being
// the current definition, and tests/ has one file per behaviour. What a program does with the schema belongs elsewhere.
//
// `tern migrate -c tern.conf -m sql/migrations` does what [Migrate] does.
package sql

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/tern/v2/migrate"

	"headway/internal/pause"
	"headway/internal/sqlstate"
)

// migrateLock is the key of the advisory lock that allows one migration at a time: "headway" followed by a 4.
const migrateLock int64 = 0x6865616477617904

// lockAttempts is how often to try a migration that could not get a table lock within its lock_timeout, or was in a
// deadlock with a transaction of an application.
const lockAttempts = 6

//go:embed migrations
var embedded embed.FS

// Migrations returns the migrations in this binary, rooted at sql/migrations.
func Migrations() fs.FS {
	migrations, err := fs.Sub(embedded, "migrations")
	if err != nil {
		panic(err) // the path is a constant
	}
	return migrations
}

// Latest returns the number of the newest migration in this binary: the schema version that it works with.
func Latest() int32 {
	names, err := migrate.FindMigrations(Migrations())
	if err != nil {
		panic(fmt.Sprintf("embedded migrations: %v", err)) // a gap or a duplicate; no test lets that pass
	}
	return int32(len(names))
}

// Check returns nil if the schema is the one this binary was built with, and may be used; otherwise a [*VersionError],
// an [*UnprotectedError], an [*AccessError] or [*TableError] if that cannot be determined, or the error of the connection.
func Check(ctx context.Context, conn *pgx.Conn) error {
	version, schema, err := installed(ctx, conn)
	if err != nil {
		return err
	}
	if version != Latest() {
		return &VersionError{Found: version, Want: Latest()}
	}
	if !schema {
		return gone(version)
	}
	return checkProtection(ctx, conn)
}

// VersionError says that a database's schema is not this binary's, and what to do.
type VersionError struct {
	Found int32 // 0 if there is none
	Want  int32 // what this binary was built with
}

// Error implements error.
func (e *VersionError) Error() string {
	switch {
	case e.Found == 0:
		return "the database has no headway schema: run `headway migrate`"
	case e.Found < e.Want:
		return fmt.Sprintf("the schema is at version %d, this headway needs %d: run `headway migrate`", e.Found, e.Want)
	default:
		return fmt.Sprintf("the schema is at version %d, this headway knows it up to %d: install the headway that migrated it, "+
			"or run that one's `headway migrate --to %d --discard`", e.Found, e.Want, e.Want)
	}
}

// Migrate brings the schema to a version, up or down; [Latest] is the usual one, 0 removes it. Every migration is a
// transaction of its own unless it says otherwise. onStart, if not nil, is called before each with its number, its file
// and "up" or "down".
//
// Any number of processes may call it at the same time: one migrates, the others wait and find nothing to do. It needs
// a direct connection to the server or a pooler in session mode, because it holds a lock between transactions.
//
// On a server that is too old it changes nothing and returns a [*ServerError]; likewise a [*TableError] if somebody
// could have tampered with [VersionTable].
//
// Whoever migrates becomes a member of headway_owner, and creates headway's roles where they are missing. If they may
// not, the error is a [*RolesError].
//
// A migration that cannot get a table lock within its lock_timeout, or only by a deadlock, is retried a few times. One
// that fails leaves the schema at the previous version, and the error is a [*StatementError].
func Migrate(ctx context.Context, conn *pgx.Conn, target int32, onStart func(version int32, file, direction string)) error {
	version, schema, err := installed(ctx, conn)
	if err == nil && version > 1 && !schema { // the first migration makes only roles; migrateTo reports errors
		return gone(version)
	}
	return migrateTo(ctx, conn, Migrations(), target, onStart)
}

func migrateTo(
	ctx context.Context,
	conn *pgx.Conn,
	migrations fs.FS,
	target int32,
	onStart func(version int32, file, direction string),
) (err error) {
	if _, _, err := CheckServer(ctx, conn); err != nil {
		return err
	}
	release, err := acquire(ctx, conn)
	if err != nil {
		return err
	}
	defer release()

	undo, err := ensureTable(ctx, conn)
	if err != nil {
		return forWantOfRoles(ctx, conn, err)
	}
	defer func() {
		if err != nil {
			undo()
		}
	}()

	migrator, err := migrate.NewMigrator(ctx, conn, VersionTable)
	if err != nil {
		return fmt.Errorf("prepare %s: %w", VersionTable, err)
	}
	if err := migrator.LoadMigrations(migrations); err != nil {
		return fmt.Errorf("load migrations: %w", err)
	}
	if onStart != nil {
		migrator.OnStart = func(version int32, file, direction, _ string) { onStart(version, file, direction) }
	}
	for _, migration := range migrator.Migrations {
		reportStatements(migration)
	}

	current, err := Version(ctx, conn)
	if err != nil {
		return err
	}
	if known := int32(len(migrator.Migrations)); current > known {
		return &VersionError{Found: current, Want: known}
	}

	again := pause.Backoff{First: 250 * time.Millisecond, Max: 4 * time.Second}
	for attempt := 1; ; attempt++ {
		err := migrator.MigrateTo(ctx, target)
		// A deadlock is found after one second, by default, and so before a lock_timeout of three.
		code := sqlstate.Of(err)
		switch {
		case code != sqlstate.LockNotAvailable && code != sqlstate.DeadlockDetected:
			return forWantOfRoles(ctx, conn, explain(err, migrations))
		case attempt == lockAttempts:
			return fmt.Errorf("%w\nsomebody holds a lock that it needs, at each of %d attempts: docs/operations.md lists the oldest transactions; "+
				"end the one that holds it, and migrate again", explain(err, migrations), attempt)
		}
		if !pause.For(ctx, again.Next()) {
			return fmt.Errorf("wait for a table lock: %w", ctx.Err())
		}
	}
}

// acquire takes the advisory lock and returns the function that releases it.
//
// It asks repeatedly rather than queueing: a session that waits inside a statement holds a snapshot, and create index
// concurrently, run by the session that holds the lock, waits for all snapshots.
func acquire(ctx context.Context, conn *pgx.Conn) (release func(), err error) {
	for {
		var acquired bool
		if err := conn.QueryRow(ctx, "select pg_try_advisory_lock($1)", migrateLock).Scan(&acquired); err != nil {
			return nil, fmt.Errorf("lock migrations: %w", err)
		}
		if acquired {
			break
		}
		if !pause.For(ctx, pause.Jitter(100*time.Millisecond)) {
			return nil, fmt.Errorf("wait for another migration: %w", ctx.Err())
		}
	}
	return func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		// It fails only if the connection is gone, and the lock with it.
		_, _ = conn.Exec(ctx, "select pg_advisory_unlock($1)", migrateLock)
	}, nil
}
