package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/jackc/pgx/v5"

	"headway/internal/bar"
	"headway/internal/live"
	"headway/internal/postgres"
	"headway/internal/smtptest"
	"headway/internal/terminal"
	"headway/sql"
	"headway/worker"
)

// runDemo plays a story on a private PostgreSQL, or in a database that has no headway yet.
func runDemo(ctx context.Context, e env, args []string) error {
	flags := newFlags("headway demo [--once]",
		"Boots a private PostgreSQL, loads a project with three customers and Dora, who looks after them, starts the worker\n"+
			"and plays a short story with live bars; then it waits, so that you can play too. Ctrl-C ends it and leaves nothing\n"+
			"but the mail that was sent, in headway-demo.eml and headway-demo.html.\n"+
			"\nIf DATABASE_URL is set, it uses that database instead, if headway is not in it yet, and leaves the schema there.\n"+
			"If PostgreSQL is not installed, it downloads one; HEADWAY_POSTGRES_BINDIR names one in an unusual place.\n"+
			"Where HEADWAY_SMTP_URL is set, that server gets the mail.")
	once := flags.Bool("once", false, "end after the story; when the output is not a terminal, play it without pauses")
	if helped, err := parse(e, flags, args); helped || err != nil {
		return err
	}
	d := &demo{env: e, once: *once}
	err := d.run(ctx)
	if ctx.Err() != nil && *once && !d.told {
		return errors.Join(errors.New("interrupted before the end of the story"), unlessDone(ctx, err))
	}
	return unlessDone(ctx, err)
}

// demo is one performance.
type demo struct {
	env
	cast
	once bool
	told bool // the story was told to its end

	cluster   *postgres.Cluster // nil: DATABASE_URL
	url       string
	workerURL string // empty: url
	listenURL string
	smtpURL   string
	catcher   *smtptest.Server // nil: HEADWAY_SMTP_URL
	conn      *pgx.Conn        // the application's
	page      net.Listener     // where the live page is served
	view      *view
	screen    atomic.Pointer[view] // the view while it stands on a terminal
	stage     *stage
}

// run plays from the first line to the last. Whatever it started has ended when it returns.
func (d *demo) run(ctx context.Context) (err error) {
	if err := d.open(ctx); err != nil {
		return err
	}
	if d.cluster != nil {
		defer func() {
			err = errors.Join(err, d.cluster.Stop())
			if err == nil || ctx.Err() != nil {
				d.say("The private PostgreSQL has been stopped and removed.")
			}
		}()
	} else {
		defer d.say("The schema headway stays in your database: `headway migrate --to 0` removes it with all its data.")
	}
	defer disconnect(ctx, d.conn)

	if err := sql.Migrate(ctx, d.conn, sql.Latest(), nil); err != nil {
		return err
	}
	if err := d.makeWorkerLogin(ctx); err != nil {
		return err
	}
	if d.cast, err = loadDemo(ctx, d.conn); err != nil {
		return err
	}
	d.say("It holds a project with %d tasks for Abe, Bob and Charlie. Dora is staff.", len(d.tasks))
	return d.withCatcher(ctx, func(ctx context.Context) error {
		return d.withWorker(ctx, func(ctx context.Context) error {
			if err := d.readAll(ctx); err != nil {
				return err
			}
			return d.withView(ctx, d.play)
		})
	})
}

// say prints a line, or several if the terminal is narrow.
func (d *demo) say(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if tty := terminal.Of(d.stdout, d.getenv); tty != nil {
		columns, _ := terminal.Size(tty)
		text = strings.Join(bar.Wrap(text, columns), "\n")
	}
	fmt.Fprintln(d.stdout, text)
}

// open finds or creates the database and connects to it.
func (d *demo) open(ctx context.Context) (err error) {
	if d.url = d.getenv("DATABASE_URL"); d.url != "" {
		d.listenURL = d.getenv("HEADWAY_LISTEN_URL")
		return d.openGiven(ctx)
	}
	return d.openPrivate(ctx)
}

// openGiven connects to the database named by DATABASE_URL and refuses one that has headway in it.
func (d *demo) openGiven(ctx context.Context) (err error) {
	if d.conn, err = connect(ctx, d.env); err != nil {
		return err
	}
	var used bool
	err = d.conn.QueryRow(ctx, "select to_regnamespace('headway') is not null").Scan(&used)
	if err == nil && used {
		err = errors.New("this database already has a schema headway, and the demo does not touch existing data: name an empty database " +
			"in DATABASE_URL, or unset it and the demo boots a PostgreSQL of its own (`headway migrate --to 0` removes what an earlier demo left)")
	}
	if err != nil {
		disconnect(ctx, d.conn)
		return err
	}
	config := d.conn.Config()
	d.say("Playing in the database %s on %s:%d, in a schema of its own.", config.Database, config.Host, config.Port)
	return nil
}

// demoDatabase is the name of the private database, as in the article.
const demoDatabase = "demo"

// openPrivate boots a PostgreSQL that nobody else knows.
func (d *demo) openPrivate(ctx context.Context) (err error) {
	if _, err := postgres.Find(); err != nil {
		d.say("No PostgreSQL is installed here: downloading one ...")
	} else {
		d.say("Booting a private PostgreSQL ...")
	}
	if d.cluster, err = postgres.Start(ctx, postgres.Options{
		Download: true,
		Settings: map[string]string{"jit": "off"}, // compiling a query takes longer than running any query here
	}); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.cluster.Stop())
		}
	}()
	// Lets unqualified names work in psql, as in the article.
	if err := execute(ctx, d.cluster.URL("postgres"),
		"create database "+demoDatabase,
		"alter database "+demoDatabase+" set search_path = headway, public",
	); err != nil {
		return err
	}
	d.url = d.cluster.URL(demoDatabase)
	if d.conn, err = connectTo(ctx, "DATABASE_URL", d.url); err != nil {
		return err
	}
	d.say("PostgreSQL %s listens on 127.0.0.1:%d.",
		shortVersion(d.conn.PgConn().ParameterStatus("server_version")), d.cluster.Port())
	d.say("While it runs, anyone on this machine can connect to it without a password.")
	return nil
}

// shortVersion omits the packager: "15.18 (Debian 15.18-1)" becomes 15.18.
func shortVersion(version string) string {
	short, _, _ := strings.Cut(version, " ")
	return short
}

// makeWorkerLogin gives the worker a login that may fold, send, and act as people for the page, and nothing more. In a
// database that is not the demo's own, the worker makes do with the existing login: the demo leaves nothing there but
// the schema.
func (d *demo) makeWorkerLogin(ctx context.Context) error {
	if d.cluster == nil {
		return nil
	}
	const login = "headway_worker_login"
	if _, err := d.conn.Exec(ctx, "create role "+login+" login in role headway_worker, headway_user"); err != nil {
		return fmt.Errorf("make the worker's login: %w", err)
	}
	d.workerURL = fmt.Sprintf("postgres://%s@127.0.0.1:%d/%s?sslmode=disable", login, d.cluster.Port(), demoDatabase)
	return nil
}

// execute runs statements on a connection of their own.
func execute(ctx context.Context, url string, statements ...string) error {
	conn, err := connectTo(ctx, "DATABASE_URL", url)
	if err != nil {
		return err
	}
	defer disconnect(ctx, conn)
	for _, s := range statements {
		if _, err := conn.Exec(ctx, s); err != nil {
			return fmt.Errorf("%s: %w", s, err)
		}
	}
	return nil
}

// withWorker runs a worker in this process while do runs, and starts do once the worker has nothing left to do.
func (d *demo) withWorker(ctx context.Context, do func(context.Context) error) error {
	tokens := &demoTokens{secret: rand.Text() + rand.Text(), people: d.people}
	var err error
	if d.page, err = listenForPage(); err != nil {
		return err
	}
	config, err := worker.LoadConfig(func(name string) string {
		switch name {
		case "HEADWAY_TOKEN_SECRET":
			return tokens.secret
		case "HEADWAY_HTTP_ADDR":
			return d.page.Addr().String()
		case "DATABASE_URL":
			return cmp.Or(d.workerURL, d.url)
		case "HEADWAY_ALLOW_MORE_RIGHTS":
			return strconv.FormatBool(d.workerURL == "")
		case "HEADWAY_LISTEN_URL":
			return d.listenURL
		case "HEADWAY_SMTP_URL":
			return d.smtpURL
		case "HEADWAY_MAIL_FROM":
			return cmp.Or(d.getenv(name), "Headway <headway@example.com>")
		case "HEADWAY_APP_URL":
			return d.getenv(name)
		case "HEADWAY_DIGEST_SCHEDULE":
			return "@every 1s"
		}
		return ""
	})
	if err != nil {
		return err
	}
	idle := make(chan struct{}, 1)
	w := worker.New(config, slog.New(slog.NewTextHandler(demoLog{d}, &slog.HandlerOptions{Level: slog.LevelWarn})), programVersion())
	if !d.once {
		d.say("The live page: http://%s/ - be Bob in one tab, Charlie in another and Dora in a third.", d.page.Addr())
	}
	w.Listener, w.Handlers = d.page, tokens.handlers()
	w.Observe = func(event worker.Event) {
		if event == worker.Asleep || event == worker.Deaf {
			select {
			case idle <- struct{}{}:
			default:
			}
		}
	}
	return together(ctx, w.Run, func(ctx context.Context) error {
		select {
		case <-idle:
			return do(ctx)
		case <-ctx.Done():
			return ctx.Err()
		}
	})
}

// together runs both until the second has returned or the first has failed. When it returns, both have.
func together(ctx context.Context, background, foreground func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		err := background(ctx)
		if err != nil {
			cancel()
		}
		ended <- err
	}()
	err := foreground(ctx)
	cancel()
	if failed := <-ended; failed != nil {
		return failed // the rest follows from it
	}
	return err
}

// withView shows what is notified while do runs.
func (d *demo) withView(ctx context.Context, do func(context.Context) error) error {
	follower := &live.Follower{
		Listen: func(ctx context.Context) (*pgx.Conn, error) {
			if d.listenURL != "" {
				return connectTo(ctx, "HEADWAY_LISTEN_URL", d.listenURL)
			}
			return connectTo(ctx, "DATABASE_URL", d.url)
		},
		Read: func(ctx context.Context) (*pgx.Conn, error) { return connectTo(ctx, "DATABASE_URL", d.url) },
	}
	d.view = newView(follower, d.env)
	d.stage = newStage(d)
	follower.On = d.stage.on
	d.view.note, d.view.notes = d.stage.note, len("+10  Dora: 1 unread")
	d.view.frame = d.stage.frame

	if tty := terminal.Of(d.stdout, d.getenv); tty != nil {
		fmt.Fprintln(d.stdout)
		d.view.block = terminal.NewBlock(tty, false)
		defer func() { d.view.block.Close(d.view.lines()) }()
		d.screen.Store(d.view)
		defer d.screen.Store(nil)
	}

	return together(ctx, follower.Run, func(ctx context.Context) error {
		if err := d.stage.await(ctx, "reading the bars", func(s *stage) bool { return s.ready }); err != nil {
			return err
		}
		if d.view.block == nil {
			return do(ctx)
		}
		return d.view.redrawWhile(ctx, do)
	})
}

// readAll marks read, for everybody, what loading the project sent them, so that the story starts without badges.
func (d *demo) readAll(ctx context.Context) error {
	_, err := d.conn.Exec(ctx, `select headway.mark_read(s.user_id, s.channel) from headway.subscription s`)
	if err != nil {
		return fmt.Errorf("mark everything read: %w", err)
	}
	return nil
}

// play tells the story and then waits, unless it is to be told once.
func (d *demo) play(ctx context.Context) error {
	if err := d.tell(ctx); err != nil {
		return err
	}
	d.told = true
	if d.once {
		return nil
	}
	d.stage.setCaption("Your turn: the bars above move with what you do. Ctrl-C ends the demo.", false)
	d.print(d.invitation())
	<-ctx.Done()
	return ctx.Err()
}

// print puts text above the bars, or after what was printed so far.
func (d *demo) print(text string) {
	if d.view.block != nil {
		d.view.block.Print(text, d.view.lines())
		return
	}
	fmt.Fprint(d.stdout, text)
}

// invitation explains how to connect and what to try, in few enough lines to stay above the bars on a terminal of 24.
func (d *demo) invitation() string {
	p := d.view.palette
	var b strings.Builder
	fmt.Fprintf(&b, "\nThe story is over; the database is still running. In tabs of a browser:\n")
	for _, who := range []struct {
		name string
		id   int64
	}{{"Bob", d.bob}, {"Charlie", d.charlie}, {"Dora", d.dora}} {
		fmt.Fprintf(&b, "  %s  %s\n", p.Strong(fmt.Sprintf("http://%s/#%d", d.page.Addr(), who.id)), who.name)
	}
	fmt.Fprintf(&b, "In another terminal:\n")
	command, missing := d.psql()
	fmt.Fprintf(&b, "  %s\n", p.Strong(command))
	if missing {
		fmt.Fprintf(&b, "  (psql is not installed here: `apt install postgresql-client`)\n")
	}
	if d.cluster == nil {
		fmt.Fprintf(&b, "  set search_path = headway, public;\n")
	}
	fmt.Fprintf(&b, "  listen headway_events;\n")
	fmt.Fprintf(&b, "  insert into message (sender, channel, content)\n")
	fmt.Fprintf(&b, "    values (%d, 'broadcast', 'Hello, everyone!');  -- Abe\n", d.abe)
	fmt.Fprintf(&b, "  select complete_task(%d, %d);  -- %q, for Bob\n\n", d.tasks[approveDraft], d.bob, approveDraft)
	return b.String()
}

// psql returns the command that connects, and whether psql was not found.
func (d *demo) psql() (command string, missing bool) {
	program := "psql"
	if _, err := exec.LookPath(program); err != nil {
		missing = true
		if d.cluster != nil {
			path := filepath.Join(d.cluster.BinDir(), program)
			if _, err := os.Stat(path); err == nil {
				program, missing = path, false
			}
		}
	}
	if d.cluster == nil {
		return program + ` "$DATABASE_URL"`, missing
	}
	// psql and DATABASE_URL both accept it.
	return fmt.Sprintf("%s %q", program, d.cluster.URL(demoDatabase)), missing
}

// demoLog prints the worker's warnings where they do not disturb the bars.
type demoLog struct{ demo *demo }

// Write implements [io.Writer].
func (l demoLog) Write(line []byte) (int, error) {
	if v := l.demo.screen.Load(); v != nil {
		v.block.Print(string(line), v.lines())
		return len(line), nil
	}
	return l.demo.stderr.Write(line)
}
