package sql

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/tern/v2/migrate"

	"headway/internal/sqlstate"
)

// StatementError is a statement that failed in a migration.
type StatementError struct {
	Migration string // file name of the migration
	File      string // file with the statement, below sql/migrations: the migration, or one of a snapshot
	Line      int    // line in File, starting with 1
	Excerpt   string // that line and those around it, numbered, with a caret
	Err       *pgconn.PgError
}

// Error says where, what and why, in several lines.
func (e *StatementError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, line %d", e.File, e.Line)
	if e.File != e.Migration {
		fmt.Fprintf(&b, " (installed by %s)", e.Migration)
	}
	fmt.Fprintf(&b, ": %v\n%s", e.Err, e.Excerpt)
	hint := e.Err.Hint
	if e.Err.Code == sqlstate.DependentObjectsStillExist { // PostgreSQL's advice is to drop them, too
		hint = "Drop what you made on top of headway's views and functions, migrate, and make it again."
	}
	for _, note := range []struct{ name, text string }{
		{"DETAIL", e.Err.Detail}, {"HINT", hint}, {"CONTEXT", e.Err.Where},
	} {
		if note.text != "" {
			fmt.Fprintf(&b, "\n%s: %s", note.name, note.text)
		}
	}
	return b.String()
}

// Unwrap returns the [*pgconn.PgError].
func (e *StatementError) Unwrap() error { return e.Err }

// explain turns a failed statement into a StatementError and wraps any other error.
func explain(err error, migrations fs.FS) error {
	if err == nil {
		return nil
	}
	failed, is := errors.AsType[*scriptError](err)
	if !is {
		single, is := errors.AsType[migrate.MigrationPgError](err) // from a migration outside a transaction
		if !is {
			return fmt.Errorf("migrate: %w", err)
		}
		failed = &scriptError{name: single.MigrationName, script: single.Sql, err: single.PgError}
	}

	offset := statementStart(failed.script, failed.completed)
	if failed.err.Position > 0 {
		offset = byteOffset(failed.script, int(failed.err.Position)-1)
	}
	line := strings.Count(failed.script[:offset], "\n")
	column := utf8.RuneCountInString(failed.script[strings.LastIndexByte(failed.script[:offset], '\n')+1 : offset])
	lines := strings.Split(failed.script, "\n")
	file, start := source(migrations, failed.name, lines, line)

	return &StatementError{
		Migration: failed.name,
		File:      file,
		Line:      start + 1,
		Excerpt:   excerpt(lines, line, column, start-line),
		Err:       failed.err,
	}
}

// byteOffset converts a position in characters, as PostgreSQL counts, to one in bytes.
func byteOffset(s string, characters int) int {
	for offset := range s {
		if characters == 0 {
			return offset
		}
		characters--
	}
	return len(s)
}

// excerpt shows a line with its neighbours, with a caret below it. shift converts line numbers to those of the file.
func excerpt(lines []string, line, column, shift int) string {
	const around = 2
	var b strings.Builder
	for i := max(0, line-around); i <= min(len(lines)-1, line+around); i++ {
		mark := ' '
		if i == line {
			mark = '>'
		}
		b.WriteString(strings.TrimRight(fmt.Sprintf("%c %4d | %s", mark, i+shift+1, lines[i]), " \r"))
		if i == line {
			// Tabs stay tabs, so that the caret lines up with its column on any terminal.
			blank := regexp.MustCompile(`[^\t]`).ReplaceAllString(string([]rune(lines[i])[:column]), " ")
			b.WriteString("\n       | " + blank + "^")
		}
		b.WriteByte('\n')
	}
	return strings.TrimRight(b.String(), "\n")
}

// source finds the file and the line, from 0, in which a line of an evaluated migration was written. A snapshot is
// inlined into its migration, and tern does not say from where, so the answer is the file, among the migration and the
// snapshots that it names, with the most matching lines around it. If a template produced the line, it is the migration
// and the line in what was run.
func source(migrations fs.FS, migration string, lines []string, line int) (file string, start int) {
	file, start = migration, line
	best := 0
	written, _ := fs.ReadFile(migrations, migration) // a file that cannot be read cannot have been run
	_ = fs.WalkDir(migrations, ".", func(name string, _ fs.DirEntry, _ error) error {
		snapshot := path.Base(path.Dir(name))
		if path.Ext(name) != ".sql" || name != migration && (snapshot == "." || !strings.Contains(string(written), snapshot)) {
			return nil
		}
		text, _ := fs.ReadFile(migrations, name)
		candidates := strings.Split(string(text), "\n")
		for i := range candidates {
			if n := agreement(candidates, i, lines, line); n > best {
				file, start, best = name, i, n
			}
		}
		return nil
	})
	return file, start
}

// agreement counts the equal lines around a[i] and b[j]; 0 if these two differ.
func agreement(a []string, i int, b []string, j int) (n int) {
	equal := func(d int) bool {
		return i+d >= 0 && i+d < len(a) && j+d >= 0 && j+d < len(b) && strings.TrimSpace(a[i+d]) == strings.TrimSpace(b[j+d])
	}
	if !equal(0) {
		return 0
	}
	n = 1
	for d := 1; equal(d); d++ {
		n++
	}
	for d := -1; equal(d); d-- {
		n++
	}
	return n
}
