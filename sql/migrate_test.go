package sql_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"headway/internal/pgtest"
	"headway/sql"
)

func TestMain(m *testing.M) {
	if err := setRapidDefaults(); err != nil {
		panic(err)
	}
	os.Exit(pgtest.Main(m))
}

// files makes migrations of file names and contents.
func files(pairs ...string) fstest.MapFS {
	fsys := fstest.MapFS{}
	for i := 0; i < len(pairs); i += 2 {
		fsys[pairs[i]] = &fstest.MapFile{Data: []byte(pairs[i+1])}
	}
	return fsys
}

// version returns the schema version, and fails the test where it cannot be read.
func version(t *testing.T, conn *pgx.Conn) int32 {
	t.Helper()
	v, err := sql.Version(t.Context(), conn)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// same fails the test at the first line where two texts differ.
func same(t *testing.T, what, got, want string) {
	t.Helper()
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range max(len(g), len(w)) {
		if i >= len(g) || i >= len(w) || g[i] != w[i] {
			t.Fatalf("%s differ from line %d:\n%q\n%q", what, i+1, strings.Join(g[min(i, len(g)):min(i+3, len(g))], "\n"),
				strings.Join(w[min(i, len(w)):min(i+3, len(w))], "\n"))
		}
	}
}

func TestEveryMigrationGivesUpOnALock(t *testing.T) {
	t.Parallel()
	files, err := fs.Glob(sql.Migrations(), "*.sql")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files[1:] { // the first one locks nothing that others write
		text, err := fs.ReadFile(sql.Migrations(), file)
		if err != nil {
			t.Fatal(err)
		}
		up, down, _ := strings.Cut(string(text), "\n---- create above / drop below ----\n")
		for direction, script := range map[string]string{"up": up, "down": down} {
			if !strings.Contains(script, "set local search_path = pg_catalog, pg_temp;\nset local lock_timeout = '3s';\n") {
				t.Errorf("%s, %s, may wait for a lock and hold up everybody else", file, direction)
			}
		}
	}
}

func TestHeadwayAndTernMakeTheSameSchema(t *testing.T) {
	t.Parallel()
	ours, terns := pgtest.Empty(t), pgtest.Empty(t)

	if err := sql.Migrate(t.Context(), ours.Conn(t), sql.Latest(), nil); err != nil {
		t.Fatal(err)
	}
	tern(t, terns, "last")
	same(t, "headway's and tern's schema", describe(t, ours.Conn(t)), describe(t, terns.Conn(t)))

	// Each goes on where the other stopped.
	tern(t, ours, "0")
	if err := sql.Migrate(t.Context(), terns.Conn(t), 0, nil); err != nil {
		t.Fatal(err)
	}
	same(t, "what headway and tern leave", describe(t, ours.Conn(t)), describe(t, terns.Conn(t)))
}

func tern(t *testing.T, db *pgtest.DB, destination string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "tool", "tern", "migrate", "-c", "tern.conf", "-m", "sql/migrations", "-d", destination)
	cmd.Dir = ".."
	cmd.Env = append(os.Environ(), "DATABASE_URL="+db.URL)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("tern: %v\n%s", err, &stderr)
	}
}

// TestAnOldSettingForStringsChangesNothing migrates where backslashes in literals are escapes, as before PostgreSQL 9.1.
func TestAnOldSettingForStringsChangesNothing(t *testing.T) {
	t.Parallel()
	ours, terns := pgtest.Empty(t), pgtest.Empty(t)
	for _, db := range []*pgtest.DB{ours, terns} {
		pgtest.Execute(t, db.Conn(t), "alter database "+db.Name+" set standard_conforming_strings = off")
	}
	if err := sql.Migrate(t.Context(), ours.Conn(t), sql.Latest(), nil); err != nil {
		t.Fatal(err)
	}
	tern(t, terns, "last")
	if _, err := ours.Conn(t).Exec(t.Context(), "select headway.set_setting('digest_after', ' 2 ')"); err == nil {
		t.Error("two of something are a setting")
	}
	usual := describe(t, pgtest.New(t).Conn(t))
	for name, db := range map[string]*pgtest.DB{"headway's": ours, "tern's": terns} {
		pgtest.Execute(t, db.Conn(t), "alter database "+db.Name+" reset standard_conforming_strings") // by which sources are shown
		same(t, name+" schema and the usual one", describe(t, db.Conn(t)), usual)
	}
}

// TestTheNextSnapshotIsInstalledAsContributingSays makes one that is the current one, by another name.
func TestTheNextSnapshotIsInstalledAsContributingSays(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../CONTRIBUTING.md")
	if err != nil {
		t.Fatal(err)
	}
	_, recipe, _ := strings.Cut(string(text), "\n  ```\n")
	recipe, _, _ = strings.Cut(recipe, "\n  ```\n")
	snapshots, err := fs.Glob(sql.Migrations(), "snapshots/*")
	if err != nil {
		t.Fatal(err)
	}
	newest := path.Base(snapshots[len(snapshots)-1])
	migration := strings.NewReplacer("\n  ", "\n", "v0.1.0", newest, "v0.2.0", "next").Replace(recipe)
	migrations := files(fmt.Sprintf("%03d_install_next.sql", sql.Latest()+1), migration)
	if err := fs.WalkDir(sql.Migrations(), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := fs.ReadFile(sql.Migrations(), name)
		migrations[name] = &fstest.MapFile{Data: content}
		migrations[strings.Replace(name, newest, "next", 1)] = migrations[name]
		return err
	}); err != nil {
		t.Fatal(err)
	}

	conn := pgtest.New(t).Conn(t)
	current := describe(t, conn)
	for _, target := range []int32{sql.Latest() + 1, sql.Latest()} {
		if err := sql.MigrateFS(t.Context(), conn, migrations, target, nil); err != nil {
			t.Fatal(err)
		}
		same(t, fmt.Sprintf("version %d and the current one", target), describe(t, conn), current)
	}
}

func TestUpDownToZeroAndUpAgain(t *testing.T) {
	t.Parallel()
	db := pgtest.Empty(t)
	conn := db.Conn(t)
	var log []string
	to := func(target int32) string {
		t.Helper()
		if err := sql.Migrate(t.Context(), conn, target, func(version int32, _, direction string) {
			log = append(log, fmt.Sprint(version, direction))
		}); err != nil {
			t.Fatal(err)
		}
		if got := version(t, conn); got != target {
			t.Fatalf("at version %d, want %d", got, target)
		}
		return describe(t, conn)
	}

	to(1)
	nothing := to(0) // with the version's table, as the first migration leaves it
	steps := []string{nothing}
	for target := int32(1); target <= sql.Latest(); target++ {
		steps = append(steps, to(target))
	}
	for target := sql.Latest() - 1; target >= 0; target-- {
		same(t, fmt.Sprintf("up to and down to version %d", target), to(target), steps[target])
	}
	same(t, "up and up again", to(sql.Latest()), steps[sql.Latest()])
	if want := 2 + 3*int(sql.Latest()); len(log) != want {
		t.Errorf("onStart was called %d times, want %d: %v", len(log), want, log)
	}
}

func TestReplicasMayMigrateAtTheSameMoment(t *testing.T) {
	t.Parallel()
	for range 3 {
		db := pgtest.Empty(t)
		group, ctx := errgroup.WithContext(t.Context())
		for range 5 {
			conn := db.Conn(t)
			group.Go(func() error { return sql.Migrate(ctx, conn, sql.Latest(), nil) })
		}
		if err := group.Wait(); err != nil {
			t.Fatal(err)
		}
		if err := sql.Check(t.Context(), db.Conn(t)); err != nil {
			t.Error(err)
		}
	}
}

func TestReplicasMayBuildAnIndexConcurrently(t *testing.T) {
	t.Parallel()
	db := pgtest.Empty(t)
	migrations := files(
		"1_create_note.sql", "create table public.note (n int);\n---- create above / drop below ----\ndrop table public.note;",
		"2_index_note.sql", "---- tern: disable-tx ----\ncreate index concurrently note_n_idx on public.note (n);\n",
	)
	group, ctx := errgroup.WithContext(t.Context())
	for range 5 {
		conn := db.Conn(t)
		group.Go(func() error { return sql.MigrateFS(ctx, conn, migrations, 2, nil) })
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	var valid bool
	err := db.Conn(t).QueryRow(t.Context(), "select indisvalid from pg_index where indexrelid = 'public.note_n_idx'::regclass").Scan(&valid)
	if err != nil || !valid {
		t.Errorf("valid: %v, %v", valid, err)
	}
}

func TestWaitingForAnotherMigrationEndsWithTheContext(t *testing.T) {
	t.Parallel()
	db := pgtest.Empty(t)
	started, finish := make(chan struct{}), make(chan struct{})
	var group errgroup.Group
	first := db.Conn(t)
	group.Go(func() error {
		return sql.MigrateFS(t.Context(), first, files("1_a.sql", "create table public.a ()"), 1, func(int32, string, string) {
			close(started)
			<-finish
		})
	})
	<-started

	ctx, cancel := context.WithCancel(t.Context())
	second := db.Conn(t)
	var waiting errgroup.Group
	waiting.Go(func() error { return sql.MigrateFS(ctx, second, files("1_a.sql", "select 1"), 1, nil) })
	cancel()
	if err := waiting.Wait(); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	close(finish)
	if err := group.Wait(); err != nil {
		t.Error(err)
	}
}

func TestALockTimeoutIsTriedAgain(t *testing.T) {
	t.Parallel()
	db := pgtest.Empty(t)
	holder, err := db.Conn(t).Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	migrations := files(
		"1_create_note.sql", "create table public.note ()",
		"2_alter_note.sql", "set local lock_timeout = '20ms';\nalter table public.note add n int;",
	)
	conn := db.Conn(t)
	if err := sql.MigrateFS(t.Context(), conn, migrations, 1, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := holder.Exec(t.Context(), "lock table public.note in access share mode"); err != nil {
		t.Fatal(err)
	}

	tries := 0
	err = sql.MigrateFS(t.Context(), conn, migrations, 2, func(int32, string, string) {
		if tries++; tries == 2 {
			if err := holder.Rollback(t.Context()); err != nil {
				t.Error(err)
			}
		}
	})
	if err != nil || tries != 2 || version(t, conn) != 2 {
		t.Errorf("after %d tries at version %d: %v", tries, version(t, conn), err)
	}
}

// TestADeadlockIsTriedAgain is an application that writes to two tables in the other order.
func TestADeadlockIsTriedAgain(t *testing.T) {
	t.Parallel()
	db := pgtest.Empty(t)
	application, observer, conn := db.Conn(t), db.Conn(t), db.Conn(t)
	migrations := files(
		"1_create_notes.sql", "create table public.one (); create table public.two ();",
		"2_alter_notes.sql", "alter table public.one add n int;\nalter table public.two add n int;",
	)
	if err := sql.MigrateFS(t.Context(), conn, migrations, 1, nil); err != nil {
		t.Fatal(err)
	}
	pgtest.Execute(t, application, "set deadlock_timeout = '1min'; begin; lock table public.two in row exclusive mode")
	tries := 0
	var group errgroup.Group
	group.Go(func() error {
		return sql.MigrateFS(t.Context(), conn, migrations, 2, func(int32, string, string) { tries++ })
	})
	pgtest.Eventually(t, time.Minute, func() bool {
		return value[bool](t, observer, "select exists (select from pg_locks where not granted and relation = 'public.two'::regclass)")
	}, "the migration waits for nothing")
	pgtest.Execute(t, application, "lock table public.one in row exclusive mode; commit")
	if err := group.Wait(); err != nil || tries != 2 || version(t, conn) != 2 {
		t.Errorf("after %d tries at version %d: %v", tries, version(t, conn), err)
	}
}

func TestAFailingStatementIsShown(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		migrations fstest.MapFS
		want       string
	}{
		"where PostgreSQL tells the position": {
			files("1_note.sql", "-- Éléments\ncreate table public.note (n int); -- «ça»\n\ninsert into public.note\n\tvalues ('ü', nonsense);\n"),
			`1_note.sql, line 5: ERROR: column "nonsense" does not exist (SQLSTATE 42703)
     3 |
     4 | insert into public.note
>    5 | 	values ('ü', nonsense);
       | 	             ^`,
		},
		"where it does not": {
			files("1_note.sql", "create table public.note (n int primary key);\n\n/* ; */ select 'a;b', $x$ ; $x$;\n"+
				"insert into public.note values (1);\ninsert into public.note values (1);\nselect 1;\n"),
			`1_note.sql, line 5: ERROR: duplicate key value violates unique constraint "note_pkey" (SQLSTATE 23505)
     3 | /* ; */ select 'a;b', $x$ ; $x$;
     4 | insert into public.note values (1);
>    5 | insert into public.note values (1);
       | ^
     6 | select 1;
DETAIL: Key (n)=(1) already exists.`,
		},
		"in a snapshot": {
			files("1_install.sql", "-- first\nselect 1;\n{{ install_snapshot \"v2\" }}\n",
				"snapshots/v1/install.sql", "{{ template \"f.sql\" }}",
				"snapshots/v1/f.sql", "select 2;\nselect 3 as three,\n  nothing;\n",
				"snapshots/v2/install.sql", "{{ template \"e.sql\" }}\n{{ template \"f.sql\" }}",
				"snapshots/v2/e.sql", "select 2;\n",
				"snapshots/v2/f.sql", "select 2;\nselect 3 as three,\n  nothing;\n"),
			`snapshots/v2/f.sql, line 3 (installed by 1_install.sql): ERROR: column "nothing" does not exist (SQLSTATE 42703)
     1 | select 2;
     2 | select 3 as three,
>    3 |   nothing;
       |   ^
     4 |`,
		},
		"inside a block": {
			files("1_do.sql", "select 1;\ndo $$\nbegin\n  raise 'no' using hint = 'try yes', errcode = 'HW001';\nend\n$$;"),
			`1_do.sql, line 2: ERROR: no (SQLSTATE HW001)
     1 | select 1;
>    2 | do $$
       | ^
     3 | begin
     4 |   raise 'no' using hint = 'try yes', errcode = 'HW001';
HINT: try yes
CONTEXT: PL/pgSQL function inline_code_block line 3 at RAISE`,
		},
		"because somebody's depend on it": {
			files("1_drop.sql", "create view public.note as select 1;\ncreate view public.mine as table public.note;\ndrop view public.note;\n"),
			`1_drop.sql, line 3: ERROR: cannot drop view public.note because other objects depend on it (SQLSTATE 2BP01)
     1 | create view public.note as select 1;
     2 | create view public.mine as table public.note;
>    3 | drop view public.note;
       | ^
DETAIL: view public.mine depends on view public.note
HINT: Drop what you made on top of headway's views and functions, migrate, and make it again.`,
		},
		"outside a transaction": {
			files("1_vacuum.sql", "---- tern: disable-tx ----\nvacuum;\nvacuum nothing;\n"),
			`1_vacuum.sql, line 3: ERROR: relation "nothing" does not exist (SQLSTATE 42P01)
>    3 | vacuum nothing;
       | ^`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn := pgtest.Empty(t).Conn(t)

			err := sql.MigrateFS(t.Context(), conn, test.migrations, 1, nil)
			var failed *sql.StatementError
			if !errors.As(err, &failed) {
				t.Fatalf("got %v", err)
			}
			if err.Error() != test.want {
				t.Errorf("got\n%s\nwant\n%s", err, test.want)
			}
			if version(t, conn) != 0 {
				t.Error("the version moved")
			}
		})
	}
}

func TestStatementStart(t *testing.T) {
	const marked = `
-- one; two
‹select 1;;
/* /* ; */ ; */ ‹select 'it''s; "', "a;"";b" from x where y = $1;
‹create rule r as on insert to t do (delete from a; delete from b);
‹create function f() returns text language plpgsql as $body$ begin return $$;$$; end; $body$;
‹select a$b$c;
‹select`
	script, n := strings.ReplaceAll(marked, "‹", ""), 0
	rest := marked
	for offset := 0; ; n++ {
		before, after, found := strings.Cut(rest, "‹")
		if !found {
			break
		}
		offset += len(before)
		rest = after
		if got := sql.StatementStart(script, n); got != offset {
			t.Errorf("statement %d: got %d, want %d", n, got, offset)
		}
	}
	if n != 6 {
		t.Errorf("tried %d statements", n)
	}
	for script, want := range map[string]int{"": 0, ";": 0, "select 1; ": 7, "/*": 1, "'": 0, "$$": 1} {
		if got := sql.StatementStart(script, 9); got != want {
			t.Errorf("beyond the end of %q: got %d, want %d", script, got, want)
		}
	}
}

func TestAServerThatIsTooOldIsRefused(t *testing.T) {
	t.Parallel()
	db := pgtest.Empty(t)
	// What the server says of itself cannot be set, so something else says it.
	pgtest.Execute(t, db.Conn(t), "create schema other; create function other.current_setting(text) returns text return '140018'")
	conn := db.Conn(t, pgtest.SearchPath("other, pg_catalog"))

	err := sql.Migrate(t.Context(), conn, sql.Latest(), nil)
	if !errors.As(err, new(*sql.ServerError)) || !strings.Contains(err.Error(), "PostgreSQL 14.18 is too old: headway needs 15") {
		t.Errorf("got %v", err)
	}
	if value[bool](t, conn, "select to_regclass($1) is not null", sql.VersionTable) {
		t.Error("something has been made")
	}
}

func TestCheckTellsMissingOlderAndNewerApart(t *testing.T) {
	t.Parallel()
	conn := pgtest.New(t).Conn(t)
	if err := sql.Check(t.Context(), conn); err != nil {
		t.Error(err)
	}

	for _, test := range []struct {
		found int32
		want  string
	}{
		{sql.Latest() - 1, "run `headway migrate`"},
		{sql.Latest() + 1, "install the headway that migrated it"},
	} {
		found, want := test.found, test.want
		if _, err := conn.Exec(t.Context(), "update "+sql.VersionTable+" set version = $1", found); err != nil {
			t.Fatal(err)
		}
		err := sql.Check(t.Context(), conn)
		var mismatch *sql.VersionError
		if !errors.As(err, &mismatch) || mismatch.Found != found || !strings.Contains(err.Error(), want) {
			t.Errorf("version %d: got %v", found, err)
		}
	}
	if err := sql.Migrate(t.Context(), conn, sql.Latest(), nil); !errors.As(err, new(*sql.VersionError)) {
		t.Errorf("migrate a newer schema: got %v", err)
	}

	if err := sql.Check(t.Context(), pgtest.Empty(t).Conn(t)); !errors.As(err, new(*sql.VersionError)) {
		t.Errorf("an empty database: got %v", err)
	}
}

// TestASchemaWithoutItsPoliciesIsNotUsed looks at what is there in the middle of a restore, when rows are, or once
// somebody has turned row-level security off. Anybody's own tables in the schema do not matter.
func TestASchemaWithoutItsPoliciesIsNotUsed(t *testing.T) {
	t.Parallel()
	conn := pgtest.New(t).Conn(t)
	pgtest.Execute(t, conn, "create table headway.copy_of_message as table headway.message")
	if err := sql.Check(t.Context(), conn); err != nil {
		t.Error(err)
	}
	rows, _ := conn.Query(t.Context(), "select tablename from pg_tables where schemaname = 'headway' and rowsecurity order by tablename")
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || len(tables) < 10 {
		t.Fatalf("%v, %v", tables, err)
	}
	for _, table := range tables {
		pgtest.Execute(t, conn, "alter table headway."+table+" disable row level security")
		var open *sql.UnprotectedError
		if err := sql.Check(t.Context(), conn); !errors.As(err, &open) || !slices.Equal(open.Tables, []string{"headway." + table}) {
			t.Errorf("%s: got %v", table, err)
			continue
		}
		_, remedy, _ := strings.Cut(open.Error(), "`")
		pgtest.Execute(t, conn, strings.TrimSuffix(remedy, "`"))
	}
	if err := sql.Check(t.Context(), conn); err != nil {
		t.Error(err)
	}
}

// TestASchemaOfAnUnknownVersionIsLeftAlone migrates where somebody restored the schema and forgot the table beside it.
func TestASchemaOfAnUnknownVersionIsLeftAlone(t *testing.T) {
	t.Parallel()
	conn := pgtest.New(t).Conn(t)
	for _, forgotten := range []string{"update " + sql.VersionTable + " set version = 0", "drop table " + sql.VersionTable} {
		pgtest.Execute(t, conn, forgotten)
		err := sql.Migrate(t.Context(), conn, sql.Latest(), nil)
		if err == nil || !strings.Contains(err.Error(), "restore that table as well") {
			t.Errorf("%s: it says %v", forgotten, err)
		}
		pgtest.Execute(t, conn, "select headway.fold()")
	}
	if left := value[bool](t, conn, "select to_regclass('"+sql.VersionTable+"') is not null"); left {
		t.Error("the table is there again: the next one to look takes it for a schema at version 0")
	}
}

// TestAMigrationMayTakeItsTime has everybody's statements and transactions end after a while.
func TestAMigrationMayTakeItsTime(t *testing.T) {
	t.Parallel()
	db := pgtest.Empty(t)
	conn := db.Conn(t)
	timeouts := []string{"statement_timeout"}
	if value[int](t, conn, "select current_setting('server_version_num')::integer") >= 170000 {
		timeouts = append(timeouts, "transaction_timeout")
	}
	for _, timeout := range timeouts {
		pgtest.Execute(t, conn, "alter database "+db.Name+" set "+timeout+" = '2s'")
	}
	const slow = "select pg_sleep(3)"
	limited := db.Conn(t)
	if _, err := limited.Exec(t.Context(), slow); err == nil {
		t.Fatal("there is no timeout")
	}
	if err := sql.MigrateFS(t.Context(), db.Conn(t), files("1_a.sql", slow), 1, nil); err != nil {
		t.Error(err)
	}
}
