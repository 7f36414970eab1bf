package main

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"headway/internal/pgtest"
	"headway/internal/smtptest"
)

// story is what a demo tells, in order.
var story = []string{
	"Website relaunch  Bob  21%  3/14\n",
	"Charlie chooses the photographs",
	"Bob  21% -> 35%",
	`Charlie completed "Choose the photographs"`,
	"Charlie writes the product pages",
	"Bob  35% -> 57%",
	`Charlie completed "Write the product pages"`,
	"Abe: Which size",
	"unread: Abe 0, Bob 1, Charlie 1, Dora 3\n",
	"Dora: 2,000 pixels",
	"unread: Abe 1, Bob 2, Charlie 2, Dora 0\n",
	"PostgreSQL refuses",
	`"Write the page about us"`,
	`Abe completed "Write the page about us"`,
	"Bob  57% -> 78%",
	`Charlie completed "Proofread all pages"`,
	"Bob was away. He has 2 unread messages",
	"To: Bob <bob@example.com>",
	"Subject: Website relaunch: 2 new messages",
	"78 %",
	"Abe", "Which size",
	"Dora", "2,000 pixels",
}

func TestTheDemoTellsItsStoryAndLeavesNothing(t *testing.T) {
	t.Parallel()
	p := start(t, nil, "demo", "--once")
	p.exit(0)
	output := p.output()
	for name, text := range map[string]string{"headway-demo.eml": "Subject: Website relaunch", "headway-demo.html": "<html"} {
		if kept, err := os.ReadFile(filepath.Join(p.cmd.Dir, name)); err != nil || !strings.Contains(string(kept), text) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if text := missing(output, story...); text != "" {
		t.Errorf("%q is missing", text)
	}
	if missing(output, "without a password", "Each customer's bar", "has been stopped and removed") != "" {
		t.Error("it does not say that it trusts everybody, or that it is gone")
	}
	if strings.Contains(output, "\x1b") {
		t.Error("it sends escape sequences to a pipe")
	}
	p.leftNothing()
}

func TestTheDemoLeavesNothingWheneverItIsInterrupted(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		moment func(p *program) bool
		args   []string
		signal os.Signal
		code   int
	}{
		"at the beginning":        {func(p *program) bool { return strings.Contains(p.output(), "Booting") }, nil, os.Interrupt, 0},
		"in initdb":               {there("data"), nil, os.Interrupt, 0},
		"while the server starts": {there("data/postmaster.pid"), nil, syscall.SIGTERM, 0},
		"before the end":          {func(p *program) bool { return strings.Contains(p.output(), "listens on") }, []string{"--once"}, os.Interrupt, 1},
		"in the story":            {func(p *program) bool { return strings.Contains(p.output(), "Charlie chooses") }, nil, os.Interrupt, 0},
		"while it waits":          {func(p *program) bool { return strings.Contains(p.output(), "select complete_task(") }, nil, os.Interrupt, 0},
		"by SIGTERM":              {func(p *program) bool { return strings.Contains(p.output(), "select complete_task(") }, nil, syscall.SIGTERM, 0},
		"by SIGKILL":              {func(p *program) bool { return strings.Contains(p.output(), "select complete_task(") }, nil, syscall.SIGKILL, -1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := start(t, nil, append([]string{"demo"}, c.args...)...)
			pgtest.Eventually(t, patience, func() bool { return c.moment(p) }, "the moment does not come")
			p.signal(c.signal)
			p.exit(c.code)
			p.leftNothing()
			if c.code == 0 && strings.Contains(p.output(), "context canceled") {
				t.Error("it complains")
			}
		})
	}
}

// there is the moment when a file of the cluster appears.
func there(file string) func(*program) bool {
	return func(p *program) bool {
		found, _ := filepath.Glob(filepath.Join(p.dir, "headway-postgres-*", file))
		return len(found) > 0
	}
}

var psqlCommand = regexp.MustCompile(`(?m)^  psql "(postgres://\S+)"$`)

func TestTheDemoWaitsAndShowsWhatOneDoesAtPsql(t *testing.T) {
	t.Parallel()
	p := start(t, nil, "demo")
	p.await(append(story, "select complete_task(")...)
	invitation := p.output()
	match := psqlCommand.FindStringSubmatch(invitation)
	if match == nil {
		t.Fatal("no psql command")
	}
	const height, frame = 24, 12
	if lines := strings.Count(invitation[strings.Index(invitation, "The story is over"):], "\n"); lines > height-frame {
		t.Errorf("a terminal of %d lines does not show the first of its %d above the bars", height, lines)
	}
	// What it says one may type, word for word, through real psql.
	typed := invitation[strings.Index(invitation, "  listen headway_events"):]
	psql := exec.CommandContext(t.Context(), pgtest.Client(t, "psql"), "-X", "-v", "ON_ERROR_STOP=1", match[1])
	psql.Env = append(os.Environ(), "PGSSLMODE=require") // a habit that a private server has no use for
	psql.Stdin = strings.NewReader(typed)
	out, err := psql.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "Asynchronous notification") {
		t.Errorf("%v: %s", err, out)
	}
	p.awaitAfter(len(invitation), "broadcast  Abe: Hello, everyone!")
	p.awaitAfter(len(invitation), "Bob  78% -> 85%")
	p.awaitAfter(len(invitation), `Bob completed "Approve the design draft"`)
	conn := (&pgtest.DB{URL: match[1]}).Conn(t)
	if n := count(t, conn, "headway.appuser where digest_after is not null"); n != 0 {
		t.Errorf("%d people do not get mail as others do", n)
	}
	p.signal(os.Interrupt)
	p.exit(0)
	p.leftNothing()
}

func TestTheDemoDrawsOnATerminalAndGivesItBack(t *testing.T) {
	t.Parallel()
	p := startOnTerminal(t, 60, 20, nil, "demo")
	p.await("\x1b[?25l", "Website relaunch", "█", "░")
	pgtest.Eventually(t, patience, func() bool { return missing(plain(p.output()), "Bob", "35%", "+14") == "" }, "Bob's bar does not move")
	at := len(p.output())
	p.resize(40, 12)
	p.awaitAfter(at, "Websit")
	p.press("\x03")
	p.exit(0)
	pgtest.Eventually(t, patience, func() bool {
		return missing(p.output(), "\x1b[?25h", "PostgreSQL has been stopped") == ""
	}, "the cursor stays hidden")
	p.leftNothing()
}

func TestTheDemoPlaysInAnEmptyDatabaseOnce(t *testing.T) {
	t.Parallel()
	db := pgtest.Empty(t)
	env := []string{"DATABASE_URL=" + db.URL}

	first := start(t, env, "demo", "--once")
	first.exit(0)
	if text := missing(first.output(), append(append([]string{db.Name}, story...), "headway migrate --to 0")...); text != "" {
		t.Errorf("%q is missing", text)
	}
	first.leftNothing()
	var differences, workers int
	if err := db.Conn(t).QueryRow(t.Context(), "select (select count(*) from headway.verify()), (select count(*) from headway.worker)").
		Scan(&differences, &workers); err != nil || differences != 0 || workers != 0 {
		t.Errorf("%v, %d differences, %d workers", err, differences, workers)
	}

	second := start(t, env, "demo", "--once")
	second.exit(1)
	if missing(second.output(), "already has a schema headway", "headway migrate --to 0") != "" {
		t.Error("it does not say why it refuses")
	}
	if _, _, err := headway(t, db.URL, "migrate", "--to", "0"); err != nil {
		t.Error(err)
	}
	third := start(t, env, "demo")
	third.await("select complete_task(")
	if missing(third.output(), `psql "$DATABASE_URL"`, "set search_path = headway") != "" {
		t.Error("it does not say how to get there")
	}
	third.signal(os.Interrupt)
	third.exit(0)
}

func TestTheDemoSendsItsMailToTheServerThatIsNamed(t *testing.T) {
	t.Parallel()
	server, err := smtptest.Start(smtptest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	p := start(t, []string{"HEADWAY_SMTP_URL=" + server.URL(), "HEADWAY_MAIL_FROM=digests@example.com"}, "demo", "--once")
	p.exit(0)
	if text := missing(p.output(), story...); text != "" {
		t.Errorf("%q is missing", text)
	}
	if got := server.Messages(); len(got) != 1 || got[0].To != "bob@example.com" || got[0].From != "digests@example.com" {
		t.Errorf("the server got %v", got)
	}
	p.leftNothing()
}

// TestTheDemoSaysWhyAServerTookNoMail has the one that is named refuse Bob.
func TestTheDemoSaysWhyAServerTookNoMail(t *testing.T) {
	t.Parallel()
	server := catcher(t, smtptest.Options{})
	server.Fail(func(step smtptest.Step) error {
		if step.Name == "RCPT" {
			return smtptest.Reply(550, "5.1.1", "no such user")
		}
		return nil
	})
	p := start(t, []string{"HEADWAY_SMTP_URL=" + server.URL()}, "demo", "--once")
	p.exit(1)
	p.await("550 5.1.1 no such user")
	p.leftNothing()
}

func TestWhoRunsTogetherEndsTogether(t *testing.T) {
	t.Parallel()
	failed, done := errors.New("failed"), func(ctx context.Context) error { <-ctx.Done(); return nil }
	canceled := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	at := func(err error) func(context.Context) error { return func(context.Context) error { return err } }
	for name, c := range map[string]struct {
		background, foreground func(context.Context) error
		want                   error
	}{
		"the background fails":   {at(failed), canceled, failed},
		"the foreground fails":   {done, at(failed), failed},
		"the foreground returns": {done, at(nil), nil},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		if err := together(ctx, c.background, c.foreground); err != c.want || ctx.Err() != nil { //nolint:errorlint // the very same
			t.Errorf("%s: %v", name, err)
		}
		cancel()
	}
}

func TestWhereThereIsNoPostgresTheDemoSaysWhatToDo(t *testing.T) {
	t.Parallel()
	p := start(t, []string{"HEADWAY_POSTGRES_BINDIR=" + t.TempDir()}, "demo")
	p.exit(1)
	if !strings.Contains(p.output(), "HEADWAY_POSTGRES_BINDIR") {
		t.Errorf("%s", p.output())
	}
	p.leftNothing()
}
