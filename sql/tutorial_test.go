package sql_test

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"headway/internal/pgtest"
)

// psql is a psql that stays open, with search_path = headway, as somebody has it who follows a tutorial.
type psql struct {
	t      *testing.T
	stdin  io.Writer
	output chan string
}

func openPsql(t *testing.T, db *pgtest.DB) *psql {
	t.Helper()
	program := pgtest.Client(t, "psql")
	cmd := exec.CommandContext(t.Context(), program, "-X", "-d", db.URL)
	cmd.Env = append(os.Environ(), "PGOPTIONS=-c search_path=headway", "LC_ALL=C", "PAGER=")
	stdin, err := cmd.StdinPipe()
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
	p := &psql{t: t, stdin: stdin, output: make(chan string)}
	go func() {
		defer close(p.output)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			p.output <- lines.Text()
		}
	}()
	t.Cleanup(func() {
		_ = stdin.Close()
		for range p.output { // until psql has gone
		}
		if err := cmd.Wait(); err != nil && t.Context().Err() == nil {
			t.Errorf("psql: %v", err)
		}
	})
	return p
}

// types types statements and returns what psql prints.
func (p *psql) types(statements string) (lines []string) {
	p.t.Helper()
	const end = "that was it"
	if _, err := fmt.Fprintf(p.stdin, "%s\n\\echo %s\n", statements, end); err != nil {
		p.t.Fatal(err)
	}
	timeout := time.After(20 * time.Second)
	for {
		select {
		case line, open := <-p.output:
			if !open {
				p.t.Fatalf("psql has gone after %s: %q", statements, lines)
			}
			if line == end {
				return lines
			}
			if line = strings.TrimRight(line, " "); line != "" {
				lines = append(lines, line)
			}
		case <-timeout:
			p.t.Fatalf("psql does not answer %s: %q", statements, lines)
		}
	}
}

var (
	serverProcess = regexp.MustCompile(`from server process with PID \d+\.$`)
	spaces        = regexp.MustCompile(` +`)
)

// TestTheTutorial types the tutorial of the article that headway began with, "PostgreSQL Pub/Sub", and expects what is
// printed there. Where headway prints more, the test says so.
func TestTheTutorial(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	p := openPsql(t, db)

	// Its demo.sql.
	p.types("insert into appuser (fullname) values ('Abe'), ('Bob'), ('Charlie');")

	for _, step := range []struct {
		statements string
		printed    []string
	}{
		{"listen foo;", []string{"LISTEN"}},
		{"notify foo, 'Hello, world';", []string{
			"NOTIFY",
			`Asynchronous notification "foo" with payload "Hello, world" received from server process with PID 60807.`,
		}},
		{"notify foo, 'This will ' || 'not work.';", []string{
			`ERROR: syntax error at or near "||"`,
			`LINE 1: notify foo, 'This will ' || 'not work.';`,
			` ^`,
		}},
		// The article leaves out the row that psql prints first.
		{"select pg_notify('foo', 'This ' || 'is a ' || 'computed value!');", []string{
			" pg_notify", "-----------", "(1 row)",
			`Asynchronous notification "foo" with payload "This is a computed value!" received from server process with PID 60807.`,
		}},
		{"unlisten foo;", []string{"UNLISTEN"}},
		{"notify foo, 'Hello, world';", []string{"NOTIFY"}},

		{"listen foo;", []string{"LISTEN"}},
		{"begin;", []string{"BEGIN"}},
		{"notify foo, 'This will not be delivered if we rollback!';", []string{"NOTIFY"}},
		{"rollback;", []string{"ROLLBACK"}},
		{"begin;", []string{"BEGIN"}},
		{"notify foo, 'This will be delivered when we commit!';", []string{"NOTIFY"}},
		{"commit;", []string{
			"COMMIT",
			`Asynchronous notification "foo" with payload "This will be delivered when we commit!" received from server process with PID 60807.`,
		}},

		{"LISTEN broadcast;", []string{"LISTEN"}},
		// The article's id is 2; the fields after content are headway's.
		{`-- Abe saves a message:
insert into message (sender, channel, content)
select id, 'broadcast', 'Hello, everone!'
from appuser where fullname = 'Abe';`, []string{
			"INSERT 0 1",
			`Asynchronous notification "broadcast" with payload "{"id":1,"sender":1,"channel":"broadcast","content":"Hello, everone!",` +
				`"seq":1,"kind":"chat","task_id":null,"data":null,"sent_at":"…"}" received from server process with PID 61006.`,
		}},

		{"begin;", []string{"BEGIN"}},
		{`-- insert lots of work in the transaction here

-- Bob saves a message:
insert into message (sender, channel, content)
select id, 'broadcast', 'I just completed the...'
from appuser where fullname = 'Bob';`, []string{"INSERT 0 1"}},
		{`
-- insert lots more work in the transaction here that fails
rollback;`, []string{"ROLLBACK"}},

		// In another terminal.
		{`insert into message (sender, channel, content)
select id, 'broadcast', 'Hello, demo application!'
from appuser where fullname = 'Abe';`, []string{
			"INSERT 0 1",
			`Asynchronous notification "broadcast" with payload "{"id":3,"sender":1,"channel":"broadcast","content":"Hello, demo application!",` +
				`"seq":2,"kind":"chat","task_id":null,"data":null,"sent_at":"…"}" received from server process with PID 61006.`,
		}},
	} {
		got, want := printed(p.types(step.statements)), printed(step.printed)
		if got != want {
			t.Errorf("%s\nprints\n%s\nnot\n%s", step.statements, got, want)
		}
	}

	// select * shows what headway knows of people besides; id and fullname are the first.
	lines := p.types("select * from appuser;")
	var people []string
	for _, line := range lines {
		columns := strings.Split(line, "|")
		if len(columns) > 2 {
			people = append(people, strings.TrimSpace(columns[0])+"|"+strings.TrimSpace(columns[1]))
		}
	}
	if got := strings.Join(people, " "); got != "id|fullname 1|Abe 2|Bob 3|Charlie" || lines[len(lines)-1] != "(3 rows)" {
		t.Errorf("select * from appuser:\n%s", strings.Join(lines, "\n"))
	}
	listed := strings.Join(p.types(`\d`), "\n")
	for _, relation := range []string{"appuser", "appuser_id_seq", "message", "message_id_seq"} {
		if !regexp.MustCompile(`headway +\| ` + relation + ` +\| (table|sequence)`).MatchString(listed) {
			t.Errorf("\\d does not list %s:\n%s", relation, listed)
		}
	}
}

// printed makes what is different each time the same: process ids, times, the width of columns.
func printed(lines []string) string {
	text := strings.Join(lines, "\n")
	text = spaces.ReplaceAllString(text, " ")
	text = regexp.MustCompile(`"sent_at":"[^"]*"`).ReplaceAllString(text, `"sent_at":"…"`)
	var kept []string
	for line := range strings.SplitSeq(text, "\n") {
		kept = append(kept, serverProcess.ReplaceAllString(line, "from server process with PID n."))
	}
	return strings.Join(kept, "\n")
}

// TestThePsqlSideOfAdministration looks at what an administrator sees first.
func TestThePsqlSideOfAdministration(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	p := openPsql(t, db)
	for command, want := range map[string]string{
		`\dn+ headway`:                                          `Live progress, chat`,
		`\dt+ headway.*`:                                        `completion .*Who completed what`,
		`\dv+ headway.*`:                                        `progress .*Every customer's bar`,
		`\d+ headway.task`:                                      `weight .*How much of the bar it fills`,
		`\df+ headway.complete_task`:                            `Errors: no_data_found`,
		`select * from headway.status \gx`:                      `pending_facts +\| 0`,
		`select name, value from setting;`:                      `notify_payload +\| row`,
		`select headway.complete_task(99, 1);`:                  `HINT: `,
		`insert into completion (task_id, user_id) values (1);`: `ERROR: `,
	} {
		if got := strings.Join(p.types(command), "\n"); !regexp.MustCompile(want).MatchString(got) {
			t.Errorf("%s has no %q:\n%s", command, want, got)
		}
	}
}
