// Package docs holds the manual. Its test runs every command and every SQL block in the README and in this folder:
// prose that is not true any more fails.
package docs

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"headway/internal/pgtest"
	"headway/internal/smtptest"
)

var update = flag.Bool("update", false, "write what psql printed into the documents")

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// TestSQL runs the sql blocks of each document, in order, in one psql session on a database of its own, with a worker
// running. Where a text block follows, it is what psql prints.
func TestSQL(t *testing.T) {
	headway := build(t)
	for _, path := range documents(t) {
		t.Run(filepath.Base(path), func(t *testing.T) {
			doc := read(t, path)
			if !slices.ContainsFunc(doc.blocks, func(b *block) bool { return b.language == "sql" }) {
				return
			}
			db := pgtest.New(t)
			startWorker(t, headway, "DATABASE_URL="+db.WorkerURL())
			dropLogins(t, db)
			psql := openPsql(t, db)
			conn := db.Conn(t)
			settled := func() bool {
				var settled bool
				err := conn.QueryRow(t.Context(), `select not exists (select from headway.pending_fact)`).Scan(&settled)
				return err == nil && settled
			}
			for i, b := range doc.blocks {
				if b.language != "sql" {
					continue
				}
				pgtest.Eventually(t, 20*time.Second, settled, "facts were not folded before line %d", b.line)
				got := psql.run(t, b.text)
				if i+1 == len(doc.blocks) || doc.blocks[i+1].language != "text" {
					if strings.Contains(got, "ERROR:") {
						t.Errorf("%s:%d fails:\n%s", path, b.line, got)
					}
					continue
				}
				want := doc.blocks[i+1]
				if *update {
					want.text = got
				} else if want.text != got {
					t.Errorf("%s:%d prints\n%s\nrather than\n%s", path, b.line, got, want.text)
				}
			}
			if *update {
				doc.write(t)
			}
		})
	}
}

// TestCommands runs the lines of the sh blocks of each document, in order, on an empty database.
func TestCommands(t *testing.T) {
	headway := build(t)
	for _, path := range documents(t) {
		t.Run(filepath.Base(path), func(t *testing.T) {
			r := &reader{headway: headway, db: pgtest.Empty(t), dir: t.TempDir()}
			dropLogins(t, r.db)
			for _, b := range read(t, path).blocks {
				if b.language != "sh" {
					continue
				}
				for line := range strings.Lines(b.text) {
					if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
						r.run(t, line)
					}
				}
			}
		})
	}
}

// reader is somebody who types what a document says.
type reader struct {
	headway string
	db      *pgtest.DB
	exports []string // NAME=value
	dir     string   // where dumps go
}

// run runs one line, or knows why it cannot be.
func (r *reader) run(t *testing.T, line string) {
	t.Helper()
	program := strings.Replace(line, "go run ./cmd/headway", r.headway, 1)
	environment := append([]string{"DATABASE_URL=" + r.db.URL}, r.exports...)
	switch {
	case line == "go test ./...", line == "bash .ci/run":
		return // runs this test
	case strings.HasPrefix(line, "export DATABASE_URL="):
		return // the reader's own; here it is r.db.URL
	case strings.HasPrefix(line, "export NEW_DATABASE_URL="):
		r.move(t)
	case strings.HasPrefix(line, "export "):
		name, value, _ := strings.Cut(strings.TrimPrefix(line, "export "), "=")
		r.exports = append(r.exports, name+"="+strings.Trim(value, "'"))
	case strings.HasPrefix(line, "docker "):
		return // needs images from a registry
	case line == "go run ./cmd/headway demo":
		program += " --once" // rather than until Ctrl-C
		fallthrough
	case line == "go run ./cmd/headway demo --once":
		execute(t, program, "DATABASE_URL=")
	case strings.HasSuffix(line, "go run ./cmd/headway worker"):
		for _, assignment := range strings.Fields(strings.TrimSuffix(line, "go run ./cmd/headway worker")) {
			_, login, found := strings.Cut(strings.TrimSuffix(assignment, "@localhost/app"), "DATABASE_URL=postgres://")
			switch {
			case strings.HasPrefix(assignment, "HEADWAY_HTTP_ADDR="):
				assignment = "HEADWAY_HTTP_ADDR=127.0.0.1:0" // another may be taken
			case found:
				assignment = "DATABASE_URL=" + strings.Replace(r.db.URL, "postgres@", login+"@", 1)
			}
			environment = append(environment, assignment)
		}
		startWorker(t, r.headway, environment...)
	case strings.HasPrefix(line, "pg_dump "), strings.HasPrefix(line, "psql "):
		execute(t, regexp.MustCompile(`--(file|output)=`).ReplaceAllString(line, "--$1="+r.dir+"/"), environment...)
	case strings.HasPrefix(line, "go run ./cmd/headway digest "):
		r.digest(t, program, environment)
	default:
		execute(t, program, environment...)
	}
}

// dropLogins drops the logins that a document makes when the test ends: they are the server's, not the database's.
func dropLogins(t *testing.T, db *pgtest.DB) {
	t.Helper()
	conn := db.Conn(t)
	t.Cleanup(func() {
		err := conn.PgConn().Exec(context.WithoutCancel(t.Context()), `
			do $$
			declare
				v_login text;
			begin
				for v_login in select rolname from pg_roles where rolname ~ '_login$' loop
					execute format('drop role %I', v_login);
				end loop;
			end $$`).Close()
		if err != nil {
			t.Errorf("drop the logins: %v", err)
		}
	})
}

// move gives the reader something to move, and an empty database to move it to.
func (r *reader) move(t *testing.T) {
	t.Helper()
	execute(t, r.headway+" migrate", "DATABASE_URL="+r.db.URL)
	if err := r.db.Conn(t).PgConn().Exec(t.Context(), `insert into headway.appuser (fullname) values ('Bob')`).Close(); err != nil {
		t.Fatal(err)
	}
	r.exports = append(r.exports, "NEW_DATABASE_URL="+pgtest.Empty(t).URL)
}

// digest runs headway digest where there is a Bob with something unread, and a mail server. It leaves its files
// elsewhere.
func (r *reader) digest(t *testing.T, program string, environment []string) {
	t.Helper()
	err := r.db.Conn(t).PgConn().Exec(t.Context(), `
		insert into headway.appuser (fullname, email)
		select n, lower(n) || '@example.com' from unnest(array['Bob', 'Dora']) n where not exists (select from headway.appuser);
		select headway.post((select id from headway.appuser where fullname = 'Dora'), 'broadcast', 'Hello, Bob.')`).Close()
	if err != nil {
		t.Fatal(err)
	}
	server, err := smtptest.Start(smtptest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	program = regexp.MustCompile(`(--html|--eml) `).ReplaceAllString(program, "$1 "+t.TempDir()+"/")
	execute(t, program, append(environment, "HEADWAY_SMTP_URL="+server.URL(), "HEADWAY_MAIL_FROM=headway@example.com")...)
}

// execute runs a shell line at the top of the repository, with PostgreSQL's programs at hand; it must succeed.
func execute(t *testing.T, line string, environment ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-c", line)
	cmd.Dir = ".."
	path := filepath.Dir(pgtest.Client(t, "pg_dump")) + string(os.PathListSeparator) + os.Getenv("PATH")
	cmd.Env = append(append(os.Environ(), "PATH="+path), environment...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%s: %v\n%s", line, err, out)
	}
}

// build builds the binary that the documents run with go run.
func build(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "headway")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", path, "./cmd/headway")
	cmd.Dir = ".."
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return path
}

// startWorker starts a worker and waits until it leads. At the end of the test it must stop by itself.
func startWorker(t *testing.T, headway string, environment ...string) {
	t.Helper()
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), headway, "worker")
	cmd.Env = append(os.Environ(), environment...)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := make(chan string, 1000)
	go func() {
		defer close(lines)
		for scanner := bufio.NewScanner(stderr); scanner.Scan(); {
			lines <- scanner.Text()
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		for range lines {
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("worker: %v", err)
		}
	})
	var said strings.Builder
	timeout := time.After(30 * time.Second)
	for {
		select {
		case line, open := <-lines:
			fmt.Fprintln(&said, line)
			if strings.Contains(line, "lead") {
				return
			}
			if !open {
				t.Fatalf("the worker ended:\n%s", said.String())
			}
		case <-timeout:
			t.Fatalf("the worker does not lead:\n%s", said.String())
		}
	}
}

// psql is a session that stays open, so that settings and notifications are as a person would have them.
type psql struct {
	in  io.Writer
	out *bufio.Reader
}

func openPsql(t *testing.T, db *pgtest.DB) *psql {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), pgtest.Client(t, "psql"),
		"-X", "-q", "-v", "SHOW_CONTEXT=never", db.URL)
	cmd.Env = append(os.Environ(), "PAGER=", "PGTZ=UTC", "LC_ALL=C.UTF-8")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = in.Close(); _, _ = io.Copy(io.Discard, out); _ = cmd.Wait() })
	return &psql{in: in, out: bufio.NewReader(out)}
}

// run returns what psql prints for a block, without what differs from run to run.
func (p *psql) run(t *testing.T, block string) string {
	t.Helper()
	const end = "-- end of block --"
	if _, err := fmt.Fprintf(p.in, "%s\n\\echo '%s'\n", block, end); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	for {
		line, err := p.out.ReadString('\n')
		if err != nil {
			t.Fatalf("psql ended: %v\n%s", err, out.String())
		}
		if strings.TrimSpace(line) == end {
			break
		}
		if strings.HasPrefix(line, "Asynchronous notification") {
			continue // carries a process id and times; the tutorial's test compares those
		}
		out.WriteString(strings.TrimRight(line, " \n") + "\n")
	}
	return strings.Trim(regexp.MustCompile(`\n\n+`).ReplaceAllString(out.String(), "\n\n"), "\n") + "\n"
}

// document is a Markdown file, as its fenced blocks and the lines between.
type document struct {
	path   string
	parts  []any // string or *block
	blocks []*block
}

type block struct {
	language, text string
	line           int
}

// documents returns the README and the manual's files.
func documents(t *testing.T) []string {
	t.Helper()
	paths, err := filepath.Glob("*.md")
	if err != nil {
		t.Fatal(err)
	}
	return append([]string{"../README.md"}, paths...)
}

func read(t *testing.T, path string) *document {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	doc := &document{path: path}
	var open *block
	number := 0
	for line := range strings.Lines(string(content)) {
		number++
		fence, found := strings.CutPrefix(line, "```")
		switch {
		case found && open == nil:
			open = &block{language: strings.TrimSpace(fence), line: number + 1}
		case found:
			doc.parts, doc.blocks = append(doc.parts, open), append(doc.blocks, open)
			open = nil
		case open != nil:
			open.text += line
		default:
			doc.parts = append(doc.parts, line)
		}
	}
	if open != nil {
		t.Fatalf("%s:%d: a block that does not end", path, open.line)
	}
	return doc
}

func (d *document) write(t *testing.T) {
	t.Helper()
	var out strings.Builder
	for _, part := range d.parts {
		switch part := part.(type) {
		case string:
			out.WriteString(part)
		case *block:
			fmt.Fprintf(&out, "```%s\n%s```\n", part.language, part.text)
		}
	}
	if err := os.WriteFile(d.path, []byte(out.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}
