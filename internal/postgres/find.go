package postgres

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// minMajor is the oldest PostgreSQL that headway runs on.
const minMajor = 15

// errNotFound is one sentence that says what to do.
var errNotFound = errors.New("no PostgreSQL 15 or newer found: install one (`apt install postgresql`, `brew install postgresql@17`), " +
	"name its directory in HEADWAY_POSTGRES_BINDIR, or set DATABASE_URL to a server that is already running")

// Find returns the directory that holds the programs of an installed PostgreSQL 15 or newer.
//
// HEADWAY_POSTGRES_BINDIR alone decides if it is set. Otherwise it is the first suitable one of: PATH, `pg_config
// --bindir`, and the places where distributions, Homebrew and Postgres.app install it, newest version first. The error
// is one sentence that says what to do.
func Find() (bindir string, err error) {
	if dir := os.Getenv("HEADWAY_POSTGRES_BINDIR"); dir != "" {
		if err := usable(dir); err != nil {
			return "", fmt.Errorf("HEADWAY_POSTGRES_BINDIR: %w", err)
		}
		return dir, nil
	}

	for _, dir := range slices.Concat(onPath(), usualPlaces()) {
		if err := usable(dir); err == nil {
			return dir, nil
		}
	}
	return "", errNotFound
}

// Client returns the path of a client program, such as psql or pg_dump. A server's directory need not have them, but
// psql works with servers of every version, and pg_dump with those not newer than itself. It looks where [Find] looks,
// and then, even if HEADWAY_POSTGRES_BINDIR is set, in the other places, and prefers one with a server next to it.
func Client(program string) (path string, err error) {
	dirs := slices.Concat(onPath(), usualPlaces())
	if dir := os.Getenv("HEADWAY_POSTGRES_BINDIR"); dir != "" {
		dirs = slices.Insert(dirs, 0, dir)
	}
	for _, dir := range dirs {
		path := filepath.Join(dir, program)
		if _, err := exec.LookPath(path); err == nil && usable(dir) == nil {
			return path, nil
		}
	}
	path, err = exec.LookPath(program)
	if err != nil {
		return "", fmt.Errorf("find a client of PostgreSQL: %w", err)
	}
	return path, nil
}

// onPath returns the directories that PATH and pg_config point to, if any.
func onPath() (dirs []string) {
	if path, err := exec.LookPath("postgres"); err == nil {
		// Often a link into the real directory, where the other programs are.
		if path, err := filepath.EvalSymlinks(path); err == nil {
			dirs = append(dirs, filepath.Dir(path))
		}
	}
	if out, err := exec.Command("pg_config", "--bindir").Output(); err == nil {
		dirs = append(dirs, strings.TrimSpace(string(out)))
	}
	return dirs
}

// usualPlaces returns the installations found on disk, newest first.
func usualPlaces() (dirs []string) {
	for _, pattern := range []string{
		"/usr/lib/postgresql/*/bin",
		"/usr/pgsql-*/bin",
		"/opt/homebrew/opt/postgresql*/bin",
		"/usr/local/opt/postgresql*/bin",
		"/Applications/Postgres.app/Contents/Versions/*/bin",
		"/usr/local/pgsql/bin",
	} {
		found, _ := filepath.Glob(pattern) // fails only on a malformed pattern
		dirs = append(dirs, found...)
	}
	slices.SortStableFunc(dirs, func(a, b string) int { return cmp.Compare(numberIn(b), numberIn(a)) })
	return dirs
}

var digits = regexp.MustCompile(`[0-9]+`)

// numberIn returns the first number in s; 0 if there is none.
func numberIn(s string) int {
	n, _ := strconv.Atoi(digits.FindString(s))
	return n
}

// usable returns why the PostgreSQL in dir cannot be used: a program is missing, or its version is too old.
func usable(dir string) error {
	for _, program := range []string{"initdb", "pg_ctl"} {
		if _, err := exec.LookPath(filepath.Join(dir, program)); err != nil {
			return err
		}
	}
	out, err := exec.Command(filepath.Join(dir, "postgres"), "--version").Output()
	if err != nil {
		return fmt.Errorf("ask %s for its version: %w", filepath.Join(dir, "postgres"), err)
	}
	if numberIn(string(out)) < minMajor {
		return fmt.Errorf("%s is too old: headway needs PostgreSQL %d or newer", strings.TrimSpace(string(out)), minMajor)
	}
	return nil
}
