package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"

	"headway/internal/pgtest"
	"headway/sql"
)

const sqlWatched = `
insert into headway.appuser (fullname) values ('Abe'), ('Bob'), ('Charlie'), ('Dora');
insert into headway.project (name) values ('Website relaunch'), ('Brand guide');
insert into headway.member (project_id, user_id, role) values
  (1, 1, 'customer'), (1, 2, 'customer'), (1, 3, 'customer'), (1, 4, 'staff'), (2, 1, 'customer');
insert into headway.task (project_id, title, shared) values
  (1, 'Choose the photographs', true), (1, 'Approve the draft', false), (1, 'Go live', true), (2, 'Pick a typeface', true);
select headway.fold()`

// watched is a database with two projects, and a connection to it.
func watched(t *testing.T) (db *pgtest.DB, conn *pgx.Conn) {
	t.Helper()
	db = pgtest.New(t)
	conn = db.Conn(t)
	pgtest.Execute(t, conn, sqlWatched)
	return db, conn
}

func TestWatchPrintsALinePerChange(t *testing.T) {
	t.Parallel()
	db, conn := watched(t)
	p := start(t, []string{"DATABASE_URL=" + db.URL}, "watch", "--project", "1")
	p.await("Website relaunch  Bob  0%  0/3\n", "Website relaunch  all customers  0%  0/9\n", "  listening\n")
	pgtest.Eventually(t, patience, func() bool {
		return count(t, conn, `pg_stat_activity where datname = current_database() and application_name = 'headway'`) == 1
	}, "it keeps more connections than one")

	pgtest.Execute(t, conn, `select headway.complete_task(1, 3); select headway.fold()`)
	p.await(
		"Website relaunch  Abe  0% -> 33%  1/3\n",
		"Website relaunch  Bob  0% -> 33%  1/3\n",
		"Website relaunch  Charlie  0% -> 33%  1/3\n",
		"Website relaunch  all customers  0% -> 33%  3/9\n",
		"Charlie completed \"Choose the photographs\"\n",
	)
	pgtest.Execute(t, conn, `select headway.complete_task(4, 1); select headway.fold()`)
	pgtest.Execute(t, conn, `select headway.post(2, 'project_1', E'two\nlines \x1b[31mred')`)
	p.await("Bob: two lines [31mred\n")
	if strings.Contains(p.output(), "Brand guide") || strings.Contains(p.output(), "\x1b") {
		t.Error("it prints another project, or escape sequences")
	}

	at := len(p.output())
	pgtest.Execute(t, conn, `
select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid();
select headway.complete_task(2, 2); select headway.fold()`)
	p.awaitAfter(at, "connection lost, reconnecting in ")
	p.awaitAfter(at, "Bob  33% -> 66%  2/3\n")
	p.awaitAfter(at, "Bob completed \"Approve the draft\"\n")
	p.awaitAfter(at, "connection lost", "  listening\n")
	p.awaitAfter(at, "all customers  33% -> 44%  4/9\n")

	at = len(p.output())
	p.signal(os.Interrupt)
	p.exit(0)
	if said := p.output()[at:]; said != "" {
		t.Errorf("told to stop, it says %q", said)
	}
}

func TestWatchRedrawsInPlaceOnATerminal(t *testing.T) {
	t.Parallel()
	db, conn := watched(t)
	p := startOnTerminal(t, 80, 24, []string{"DATABASE_URL=" + db.URL}, "watch")
	p.await("\x1b[?1049h", "headway watch", "listening")
	p.await("Website relaunch", "Abe", "Bob", "Charlie", "Brand guide")

	at := len(p.output())
	pgtest.Execute(t, conn, `select headway.complete_task(1, 3); select headway.post(2, 'project_1', 'Hello'); select headway.fold()`)
	p.awaitAfter(at, "\x1b[H")
	pgtest.Eventually(t, patience, func() bool {
		return missing(plain(p.output()[at:]), "Bob", "33%", "1/3", "+33", "Website relaunch  Bob: Hello", "Charlie completed") == ""
	}, "the bar does not move")

	at = len(p.output())
	p.resize(30, 8)
	pgtest.Eventually(t, patience, func() bool {
		_, frame, found := strings.Cut(p.output()[at:], "\x1b[H")
		return found && missing(plain(frame), "…", "Brand gu", "0%") == ""
	}, "it does not see that the terminal has become smaller")

	p.press("\x03")
	p.exit(0)
	p.await("\x1b[?25h\x1b[?1049l", "Brand gu")
}

// TestWatchGivesTheTerminalBackWhateverEndsIt ends by itself.
func TestWatchGivesTheTerminalBackWhateverEndsIt(t *testing.T) {
	t.Parallel()
	db, _ := watched(t)
	p := startOnTerminal(t, 80, 24, []string{"DATABASE_URL=" + db.URL}, "watch", "--project", "42")
	p.exit(1)
	p.await("\x1b[?1049h", "\x1b[?25h\x1b[?1049l", "no project 42")
}

// TestWatchSaysThatThereIsNothingYet follows a database with no project in it, and then with one.
func TestWatchSaysThatThereIsNothingYet(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	p := startOnTerminal(t, 80, 24, []string{"DATABASE_URL=" + db.URL}, "watch")
	p.await("There are no projects yet.")
	at := len(p.output())
	pgtest.Execute(t, db.Conn(t), sqlWatched)
	pgtest.Eventually(t, patience, func() bool {
		frames := strings.Split(p.output()[at:], "\x1b[H")
		return len(frames) > 1 && missing(plain(frames[len(frames)-1]), "Website relaunch", "Brand guide") == "" && !strings.Contains(frames[len(frames)-1], "no projects")
	}, "it does not show the projects")
	p.press("\x03")
	p.exit(0)
}

func TestWatchHasNoColoursWhereNobodyWantsThem(t *testing.T) {
	t.Parallel()
	db, conn := watched(t)
	pgtest.Execute(t, conn, `select headway.complete_task(1, 3); select headway.fold()`)
	p := startOnTerminal(t, 80, 24, []string{"DATABASE_URL=" + db.URL, "NO_COLOR=1"}, "watch")
	p.await("listening", "Bob", "Charlie completed")
	if strings.Contains(p.output(), "m█") || !strings.Contains(p.output(), "█") {
		t.Error("it has colours")
	}
	p.signal(syscall.SIGTERM)
	p.exit(0)
}

func TestWatchSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	db, _ := watched(t)
	empty := pgtest.Empty(t)
	if _, _, err := headway(t, empty.URL, "watch"); !errors.As(err, new(*sql.VersionError)) {
		t.Errorf("without a schema: %v", err)
	}
	if _, _, err := headway(t, db.URL, "watch", "--project", "42"); err == nil || !strings.Contains(err.Error(), "no project 42") {
		t.Errorf("without the project: %v", err)
	}
	for _, value := range []string{"-1", "0", "one"} {
		_, _, err := headway(t, db.URL, "watch", "--project", value)
		if !errors.As(err, new(*usageError)) || !strings.Contains(err.Error(), fmt.Sprintf("%q", value)) {
			t.Errorf("--project %s: %v", value, err)
		}
	}
	pooled := db.PgBouncer(t)
	p := start(t, []string{"DATABASE_URL=" + pooled}, "watch")
	p.await("reading once a second", "HEADWAY_LISTEN_URL")
	direct := start(t, []string{"DATABASE_URL=" + pooled, "HEADWAY_LISTEN_URL=" + db.URL}, "watch")
	direct.await("  listening\n")
}
