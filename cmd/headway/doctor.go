package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"headway/internal/bar"
	"headway/internal/sqlstate"
	"headway/internal/terminal"
	"headway/sql"
	"headway/worker"
)

// runDoctor examines everything that headway depends on and says what to do.
func runDoctor(ctx context.Context, e env, args []string) error {
	flags := newFlags("headway doctor",
		"Checks the configuration, the database, LISTEN, the worker, the mail server and the numbers, and says what to do.\n"+
			"It reads the same environment variables as the worker, changes nothing, and fails if something is broken.")
	if helped, err := parse(e, flags, args); helped || err != nil {
		return err
	}
	tty := terminal.Of(e.stdout, e.getenv)
	d := &doctor{env: e, palette: terminal.Palette(tty, e.getenv), columns: 100}
	if tty != nil {
		columns, _ := terminal.Size(tty)
		d.columns = min(columns-1, d.columns)
	}
	defer d.close(ctx)
	for _, c := range d.checks() {
		d.report(c.name, c.examine(ctx))
		if ctx.Err() != nil {
			return errors.New("interrupted")
		}
	}
	switch {
	case d.failed == 1:
		return errors.New("one check failed")
	case d.failed > 1:
		return fmt.Errorf("%d checks failed", d.failed)
	}
	return nil
}

// doctor is one examination.
type doctor struct {
	env
	palette bar.Palette
	columns int

	number, failed int

	config   worker.Config
	conn     *pgx.Conn // nil: there is none
	listener *pgx.Conn // nil: there is none
	schema   bool      // the schema is this binary's, and can be examined
	barred   bool      // the login may not even read the schema's version
	workers  int
}

// check is one thing to examine.
type check struct {
	name    string
	examine func(context.Context) finding
}

func (d *doctor) checks() []check {
	return []check{
		{"configuration", d.configuration},
		{"connection", d.connection},
		{"server", d.connected(d.server)},
		{"clock", d.connected(d.clock)},
		{"schema", d.connected(d.checkSchema)},
		{"listen", d.connected(d.listen)},
		{"rights", d.connected(d.rights)},
		{"worker", d.installed(d.worker)},
		{"queue", d.installed(d.queue)},
		{"notifications", d.connected(d.notifications)},
		{"mail", d.mail},
		{"digests", d.installed(d.digests)},
		{"numbers", d.installed(d.numbers)},
	}
}

// finding is the result of an examination.
type finding struct {
	grade grade
	lines []string
}

type grade int

const (
	ok grade = iota
	warning
	failed
	skipped // it needs something that failed earlier
)

func found(g grade, format string, args ...any) finding {
	return finding{g, []string{fmt.Sprintf(format, args...)}}
}

// report prints a finding, with its text in a column of its own.
func (d *doctor) report(name string, f finding) {
	d.number++
	marks := []string{d.palette.Good("ok"), d.palette.Warn("warning"), d.palette.Bad("failed"), d.palette.Dim("skipped")}
	if f.grade == failed {
		d.failed++
	}
	head := fmt.Sprintf("%2d  ", d.number) + bar.Pad(marks[f.grade], 9) + bar.Pad(name, 15)
	indent := strings.Repeat(" ", bar.Width(head))
	if d.columns-len(indent) < 30 { // narrow: the text goes below
		fmt.Fprintln(d.stdout, strings.TrimRight(head, " "))
		head, indent = "    ", "    "
	}
	for _, line := range f.lines {
		for _, part := range bar.Wrap(bar.Clean(line), max(d.columns-len(indent), 20)) {
			fmt.Fprintln(d.stdout, head+part)
			head = indent
		}
	}
}

func (d *doctor) close(ctx context.Context) {
	if d.conn != nil {
		disconnect(ctx, d.conn)
	}
	if d.listener != nil {
		disconnect(ctx, d.listener)
	}
}

// ask runs a query that returns one row. Doctors are often superusers: see [sql.InCatalog].
func ask(ctx context.Context, conn *pgx.Conn, query string, into ...any) error {
	return sql.InCatalog(ctx, conn, func(tx pgx.Tx) error { return tx.QueryRow(ctx, query).Scan(into...) })
}

// connected skips a check if there is no connection, or no more: a pooler in statement mode ends it.
func (d *doctor) connected(examine func(context.Context) finding) func(context.Context) finding {
	return func(ctx context.Context) finding {
		if d.conn == nil || d.conn.IsClosed() {
			return found(skipped, "there is no connection")
		}
		return examine(ctx)
	}
}

const noSchema = "there is no schema of this version"

// installed skips a check if the schema cannot be examined.
func (d *doctor) installed(examine func(context.Context) finding) func(context.Context) finding {
	return d.connected(func(ctx context.Context) finding {
		switch {
		case d.barred:
			return found(skipped, "the login may not read the schema: see schema and rights")
		case !d.schema:
			return found(skipped, noSchema)
		}
		return examine(ctx)
	})
}

// hidden is the finding if the login lacks the rights, or sees none of the rows that exist, or if there was another
// failure.
func (d *doctor) hidden(err error) finding {
	if errors.Is(err, pgx.ErrNoRows) || sqlstate.Of(err) == sqlstate.InsufficientPrivilege {
		return found(skipped, "%s may not read it: members of headway_worker and headway_monitor may", d.conn.Config().User)
	}
	return found(failed, "%v", err)
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return bar.Count(n) + " " + many
}

// configuration reads the environment as the worker does.
func (d *doctor) configuration(context.Context) finding {
	config, err := worker.LoadConfig(d.getenv)
	var unknown []string
	for _, name := range worker.Unknown(d.environ) {
		unknown = append(unknown, name+": unknown variable; `headway worker -help` lists the known ones")
	}
	if err != nil {
		return finding{failed, append(strings.Split(err.Error(), "\n"), unknown...)}
	}
	d.config = config
	if unknown != nil {
		return finding{warning, unknown}
	}
	return found(ok, "the worker would accept it")
}
