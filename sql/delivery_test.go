package sql_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"headway/internal/pgtest"
)

// listener hears what is notified.
type listener struct {
	t    *testing.T
	conn *pgx.Conn
}

func listen(t *testing.T, db *pgtest.DB, channels ...string) *listener {
	t.Helper()
	l := &listener{t: t, conn: db.Conn(t)}
	for _, channel := range append(channels, "the_end") {
		pgtest.Execute(t, l.conn, "listen "+channel)
	}
	return l
}

// heard returns everything that was notified until now, except for other listeners.
func (l *listener) heard() (notifications []*pgconn.Notification) {
	l.t.Helper()
	pgtest.Execute(l.t, l.conn, "notify the_end")
	ctx, cancel := context.WithTimeout(l.t.Context(), 20*time.Second)
	defer cancel()
	for {
		n, err := l.conn.WaitForNotification(ctx)
		if err != nil {
			l.t.Fatal(err)
		}
		if n.Channel == "the_end" {
			return notifications
		}
		notifications = append(notifications, n)
	}
}

// one expects one event, on project_1 and, the same to the byte, on headway_events.
func (l *listener) one() string {
	l.t.Helper()
	heard := l.heard()
	if len(heard) != 2 || heard[0].Channel != "project_1" || heard[1].Channel != "headway_events" || heard[0].Payload != heard[1].Payload {
		var all []string
		for _, n := range heard {
			all = append(all, n.Channel+" "+n.Payload[:min(len(n.Payload), 200)])
		}
		l.t.Fatalf("heard %q, not one event on project_1 and headway_events", all)
	}
	return heard[0].Payload
}

func object(t *testing.T, payload string) map[string]any {
	t.Helper()
	var o map[string]any
	if err := json.Unmarshal([]byte(payload), &o); err != nil {
		t.Fatalf("%s: %v", payload, err)
	}
	return o
}

const aProject = `
insert into headway.appuser (id, fullname) values (1, 'Abe'), (2, 'Bob'), (4, 'Dana');
insert into headway.project (id, name) values (1, 'Website');
insert into headway.member (project_id, user_id, role) values (1, 1, 'customer'), (1, 2, 'customer'), (1, 4, 'staff');
insert into headway.task (id, project_id, title, shared) values (1, 1, 'Send the logo', true), (2, 1, 'Sign the terms', false);
select headway.fold()`

func TestAMessageIsNotifiedAsItsRow(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	conn := db.Conn(t)
	pgtest.Execute(t, conn, aProject)
	l := listen(t, db, "project_1", "broadcast", "headway_events")

	pgtest.Execute(t, conn, "insert into headway.message (sender, channel, content) values (1, 'project_1', 'Where is \"the\" logo? \U0001F600')")
	payload := l.one()
	if row := value[string](t, conn, "select to_json(m)::text from headway.message m"); payload != row {
		t.Errorf("payload %s is not the row %s", payload, row)
	}
	// The article's fields come first, in its order.
	if !strings.HasPrefix(payload, `{"id":1,"sender":1,"channel":"project_1","content":"Where is \"the\" logo? `+"\U0001F600"+`","seq":1,"kind":"chat"`) {
		t.Error(payload)
	}

	pgtest.Execute(t, conn, "begin; insert into headway.message (sender, channel, content) values (1, 'project_1', 'Never'); rollback")
	pgtest.Execute(t, conn, "begin; savepoint s; insert into headway.message (sender, channel, content) values (1, 'project_1', 'Never'); rollback to s; commit")
	if heard := l.heard(); heard != nil {
		t.Errorf("heard %v of what was rolled back", heard)
	}
	pgtest.Execute(t, conn, "insert into headway.message (sender, channel, content) values (1, 'project_1', 'One'), (1, 'broadcast', 'Two'), (1, 'project_1', 'Three')")
	var contents []any
	for _, n := range l.heard() {
		if n.Channel != "headway_events" {
			contents = append(contents, object(t, n.Payload)["content"])
		}
	}
	if fmt.Sprint(contents) != "[One Two Three]" {
		t.Errorf("heard %v", contents)
	}
}

func TestAPayloadOf8000BytesIsTruncated(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	conn := db.Conn(t)
	pgtest.Execute(t, conn, aProject)
	l := listen(t, db, "project_1", "headway_events")

	// The length of sent_at varies with its microseconds, so each length is aimed at until it is met.
	met := map[int]bool{}
	around := 7800
	for attempt := 0; !met[7999] || !met[8000]; attempt++ {
		if attempt > 200 {
			t.Fatalf("met %v", met)
		}
		pgtest.Execute(t, conn, fmt.Sprintf("insert into headway.message (sender, channel, content) values (1, 'project_1', repeat('x', %d))", around))
		payload := l.one()
		row := value[string](t, conn, "select to_json(m)::text from headway.message m order by m.id desc limit 1")
		met[len(row)] = true
		want := len(row) < 8000
		if whole := payload == row; whole != want {
			t.Fatalf("a row of %d bytes was notified as %d bytes: %.300s", len(row), len(payload), payload)
		}
		if !want {
			truncated(t, payload, row)
		}
		around += 8000 - attempt%2 - len(row)
	}
}

// truncated expects all of the row but what is long.
func truncated(t *testing.T, payload, row string) {
	t.Helper()
	got, want := object(t, payload), object(t, row)
	delete(want, "content")
	delete(want, "data")
	want["truncated"] = true
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("truncated to %v, not %v", got, want)
	}
}

func TestLongMessagesAreStoredAndNotifiedTruncated(t *testing.T) {
	t.Parallel()
	for name, content := range map[string]string{
		"a megabyte":                    strings.Repeat("0123456789abcdef", 1<<16),
		"8000 characters of four bytes": strings.Repeat("\U0001F600", 8000),
		"2000 characters of four bytes": strings.Repeat("\U0001F600", 2000),
		"quotes and control characters": strings.Repeat("\"\\\x01\n", 2000),
	} {
		db := pgtest.New(t)
		conn := db.Conn(t)
		pgtest.Execute(t, conn, aProject)
		l := listen(t, db, "project_1", "headway_events")
		if _, err := conn.Exec(t.Context(), "select headway.post(1, 'project_1', $1)", content); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got := value[string](t, conn, "select content from headway.messages_since('project_1')"); got != content {
			t.Errorf("%s: %d bytes are stored, not %d", name, len(got), len(content))
		}
		truncated(t, l.one(), value[string](t, conn, "select to_json(m)::text from headway.message m"))
		pgtest.Execute(t, conn, "select headway.post(1, 'project_1', 'and on')")
		l.one()
	}
}

func TestALongActivityIsTruncatedToo(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	conn := db.Conn(t)
	pgtest.Execute(t, conn, aProject)
	l := listen(t, db, "project_1_staff")
	pgtest.Execute(t, conn, "update headway.task set title = repeat('\u00e9', 100000); select headway.complete_task(1, 1); select headway.fold()")
	pgtest.Execute(t, conn, "select headway.reopen_task(1, 1, 4, repeat('why ', 2500)); select headway.fold()")
	for _, n := range l.heard() {
		if o := object(t, n.Payload); o["truncated"] != true || o["task_id"] != 1. {
			t.Errorf("heard %.300s", n.Payload)
		}
	}
	if got := value[int](t, conn, "select count(*) from headway.message where length(content) > 10000"); got != 3 {
		t.Errorf("%d messages, not 3", got)
	}
}

func TestProgressIsNotified(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	conn := db.Conn(t)
	pgtest.Execute(t, conn, aProject)
	l := listen(t, db, "project_1", "headway_events")
	progress := func(change string) string {
		t.Helper()
		pgtest.Execute(t, conn, change+"; select headway.fold()")
		var heard []*pgconn.Notification
		for _, n := range l.heard() {
			if object(t, n.Payload)["kind"] == "progress" {
				heard = append(heard, n)
			}
		}
		if len(heard) != 2 || heard[0].Channel != "project_1" || heard[1].Channel != "headway_events" || heard[0].Payload != heard[1].Payload {
			t.Fatalf("%s: heard %d", change, len(heard))
		}
		return heard[0].Payload
	}
	version := value[int](t, conn, "select version from headway.shared_progress")

	for i, test := range []struct{ change, want string }{
		{"insert into headway.completion (task_id, user_id) values (1, 1)", `"shared":{"done":1,"total":2},"customers":[]`},
		{"insert into headway.completion (task_id, user_id) values (2, 2)", `"shared":{"done":1,"total":2},"customers":[{"user_id":2,"done":2,"total":2,"percent":100}]`},
		{"insert into headway.completion (task_id, user_id) values (2, 1); delete from headway.completion where task_id = 1", `"shared":{"done":0,"total":2},"customers":[{"user_id":1,"done":1,"total":2,"percent":50}]`},
		// Whoever has left has no bar; whoever has done nothing any more has one.
		{"delete from headway.member where project_id = 1 and user_id = 2", `"shared":{"done":0,"total":2},"customers":[]`},
		{"insert into headway.member (project_id, user_id, role) values (1, 2, 'customer')", `"shared":{"done":0,"total":2},"customers":[{"user_id":2,"done":1,"total":2,"percent":50}]`},
		{"delete from headway.completion where user_id = 2", `"shared":{"done":0,"total":2},"customers":[{"user_id":2,"done":0,"total":2,"percent":0}]`},
		// Somebody may have read what was so in between.
		{"insert into headway.completion (task_id, user_id) values (1, 1), (2, 2); delete from headway.completion where user_id = 2 or task_id = 1", `"shared":{"done":0,"total":2},"customers":[{"user_id":2,"done":0,"total":2,"percent":0}]`},
		{"insert into headway.completion (task_id, user_id) values (2, 2); delete from headway.completion where user_id = 2; delete from headway.member where user_id = 1; insert into headway.member (project_id, user_id, role) values (1, 1, 'customer')", `"shared":{"done":0,"total":2},"customers":[{"user_id":1,"done":1,"total":2,"percent":50},{"user_id":2,"done":0,"total":2,"percent":0}]`},
		{"insert into headway.completion (task_id, user_id) values (1, 1)", `"shared":{"done":1,"total":2},"customers":[]`},
	} {
		want := fmt.Sprintf(`{"kind":"progress","project_id":1,"version":%d,%s}`, version+i+1, test.want)
		if got := progress(test.change); got != want {
			t.Errorf("%s:\n%s, not\n%s", test.change, got, want)
		}
	}

	// Where no bar has moved at any time, no progress is notified.
	pgtest.Execute(t, conn, "insert into headway.completion (task_id, user_id) values (1, 2); select headway.fold()")
	for _, n := range l.heard() {
		if object(t, n.Payload)["kind"] == "progress" {
			t.Errorf("heard %s of nothing", n.Payload)
		}
	}

	// So many customers do not fit.
	pgtest.Execute(t, conn, `insert into headway.appuser (id, fullname) select n, 'Person' from generate_series(1000, 1999) n;
		insert into headway.member (project_id, user_id, role) select 1, n, 'customer' from generate_series(1000, 1999) n;
		select headway.fold()`)
	l.heard()
	got := object(t, progress("insert into headway.completion (task_id, user_id) select 2, n from generate_series(1000, 1999) n"))
	if got["truncated"] != true || got["customers"] != nil || got["version"] == nil || got["shared"] == nil {
		t.Errorf("heard %v of a thousand customers", got)
	}
}

func TestNotifyPayload(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	conn := db.Conn(t)
	pgtest.Execute(t, conn, aProject)
	l := listen(t, db, "project_1", "project_1_staff", "user_1", "broadcast", "headway_events", "headway_doorbell")
	const everything = "select headway.post(1, 'project_1', 'a secret'); insert into headway.completion (task_id, user_id) values (1, 1); " +
		"select headway.fold(); delete from headway.completion; select headway.fold()"

	pgtest.Execute(t, conn, "select headway.set_setting('notify_payload', 'reference'); "+everything)
	events := 0
	for _, n := range l.heard() {
		events++
		if strings.Contains(n.Payload, "secret") || strings.Contains(n.Payload, "logo") || strings.Contains(n.Payload, "total") {
			t.Errorf("a reference says %s", n.Payload)
		}
		o := object(t, n.Payload)
		if o["kind"] == "progress" && o["version"] == nil || o["kind"] != "progress" && (o["seq"] == nil || o["id"] == nil || o["channel"] == nil) {
			t.Errorf("a reference lacks something: %s", n.Payload)
		}
	}
	if events != 2*(1+2+3) {
		t.Errorf("%d events", events)
	}

	// Nor is a worker woken that sleeps: no commit may fail because the queue is full.
	pgtest.Execute(t, db.Conn(t), "select pg_advisory_lock(headway.lock_key('doorbell'))")
	pgtest.Execute(t, conn, "select headway.set_setting('notify_payload', 'off'); "+everything+"; delete from headway.member where user_id = 2")
	if heard := l.heard(); heard != nil {
		t.Errorf("heard %d with notifications off", len(heard))
	}
	if got := value[int](t, conn, "select count(*) from headway.message"); got != 8 {
		t.Errorf("%d messages, not 8", got)
	}
}

func TestCopy(t *testing.T) {
	t.Parallel()
	const count = 2000
	db := pgtest.New(t)
	conn := db.Conn(t)
	pgtest.Execute(t, conn, aProject+"; insert into headway.appuser (id, fullname) values (5, 'Erin')")

	var taskRows, assignmentRows, completionRows [][]any
	for n := range count {
		id := 1000 + n
		taskRows = append(taskRows, []any{id, 1, "Task", 1 + n%5, n%3 > 0, map[bool]string{true: "everyone", false: "assigned"}[n%7 > 0]})
		for user := 1; user <= 2; user++ {
			if n%7 == 0 {
				assignmentRows = append(assignmentRows, []any{id, user})
			}
			if (n+user)%2 == 0 {
				completionRows = append(completionRows, []any{id, user})
			}
		}
	}
	bulk := func(table string, columns []string, rows [][]any) {
		t.Helper()
		copied, err := conn.CopyFrom(t.Context(), pgx.Identifier{"headway", table}, columns, pgx.CopyFromRows(rows))
		if err != nil || int(copied) != len(rows) {
			t.Fatalf("copy %s: %d rows, %v", table, copied, err)
		}
		exact(t, conn, "after the copy of "+table)
	}
	bulk("task", []string{"id", "project_id", "title", "weight", "shared", "audience"}, taskRows)
	bulk("assignment", []string{"task_id", "user_id"}, assignmentRows)
	bulk("completion", []string{"task_id", "user_id"}, completionRows)
	bulk("member", []string{"project_id", "user_id", "role"}, [][]any{{1, 5, "customer"}})
	for value[int](t, conn, "select headway.fold()") > 0 {
		exact(t, conn, "folding")
	}

	// With one row that is refused, none goes in.
	before := value[int](t, conn, "select count(*) from headway.completion")
	_, err := conn.CopyFrom(t.Context(), pgx.Identifier{"headway", "completion"}, []string{"task_id", "user_id"}, pgx.CopyFromRows([][]any{{1, 1}, {1, 4}}))
	if code(err) != "42501" || value[int](t, conn, "select count(*) from headway.completion") != before {
		t.Errorf("a copy with a staff member in it: %v", err)
	}

	// As people type it. In CSV, a psql that is older than the server cannot end what follows the command.
	tasks := filepath.Join(t.TempDir(), "tasks.csv")
	if err := os.WriteFile(tasks, []byte("5000,1,\"One, by psql\"\n5001,1,Two\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := pgtest.Cluster(t).Psql(t.Context(), db.Name, "\\copy headway.task (id, project_id, title) from '"+tasks+"' csv\n"+
		"\\copy headway.completion (task_id, user_id) from stdin\n5000\t1\n5001\t2\n\\.\n")
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	exact(t, conn, "after psql")
	pgtest.Execute(t, conn, "select headway.fold()")
	exact(t, conn, "after psql, folded")
}

// TestWhatIsReadIsToldOnce reads and mutes through functions and as plain rows; what changes nothing is told to nobody.
func TestWhatIsReadIsToldOnce(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	conn := db.Conn(t)
	pgtest.Execute(t, conn, aProject)
	pgtest.Execute(t, conn, `select headway.post(1, 'project_1', 'Hello') from generate_series(1, 6)`)
	l := listen(t, db, "headway_events")
	const bobReads = `{"kind" : "read", "channel" : "project_1", "user_id" : 2}`
	for _, c := range []struct {
		statement string
		told      int
	}{
		{`select headway.mark_seen(2, array(select id from headway.message where seq = 2))`, 1}, // the cursor stays
		{`select headway.mark_seen(2, array(select id from headway.message where seq = 2))`, 0},
		{`insert into headway.seen (channel, user_id, seq) values ('project_1', 2, 2) on conflict do nothing`, 0},
		{`insert into headway.seen (channel, user_id, seq) values ('project_1', 2, 3), ('project_1', 2, 4)`, 1},
		{`select headway.mark_read(2, 'project_1', 1)`, 1}, // over the marks
		{`select headway.mark_read(2, 'project_1', 1)`, 0},
		{`update headway.subscription set read_seq = 5 where user_id = 2 and channel = 'project_1'`, 1},
		{`update headway.subscription set read_seq = 5 where user_id = 2 and channel = 'project_1'`, 0},
		{`select headway.mark_read(2, 'project_1')`, 1},
		{`select headway.mark_read(2, 'project_1')`, 0},
		{`select headway.mark_seen(2, array(select id from headway.message))`, 0},
		{`update headway.subscription set mailed_seq = 6 where user_id = 2 and channel = 'project_1'`, 0},
		{`select headway.mute(2, 'project_1')`, 1},
		{`select headway.mute(2, 'project_1')`, 0},
		{`update headway.subscription set muted = false where user_id = 2 and channel = 'project_1'`, 1},
		{`select headway.post(2, 'project_1', 'Hello yourself')`, 0}, // the message itself is told
		{`select headway.set_setting('notify_payload', 'off'), headway.mute(2, 'project_1')`, 0},
	} {
		pgtest.Execute(t, conn, c.statement)
		told := 0
		for _, n := range l.heard() {
			if n.Payload == bobReads {
				told++
			} else if !strings.Contains(n.Payload, `"kind":"chat"`) {
				t.Errorf("%s: heard %s", c.statement, n.Payload)
			}
		}
		if told != c.told {
			t.Errorf("%s is told %d times, want %d", c.statement, told, c.told)
		}
	}
	if read := value[int](t, conn, "select read_seq from headway.subscription where user_id = 2 and channel = 'project_1'"); read != 7 {
		t.Errorf("Bob has read up to %d", read)
	}
}

// TestWhateverIsQueuedRings changes all from which bars follow while a worker sleeps, in transactions of their own.
func TestWhateverIsQueuedRings(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	worker, conn := db.Conn(t), db.Conn(t)
	pgtest.Execute(t, conn, aProject+"; insert into headway.appuser (id, fullname) values (5, 'Eve'), (6, 'Finn')")
	pgtest.Execute(t, worker, "select pg_advisory_lock(headway.lock_key('doorbell'))")
	l := listen(t, db, "headway_doorbell")
	for _, change := range []string{
		"insert into headway.completion (task_id, user_id) values (1, 1)",
		"delete from headway.completion",
		"insert into headway.task (id, project_id, title) values (3, 1, 'Write the imprint')",
		"insert into headway.task (id, project_id, title) select n, 1, 'Task' from generate_series(11, 111) n",
		"update headway.task set weight = 2 where id = 1",
		"update headway.task set audience = 'assigned' where id = 3",
		"delete from headway.task where id > 3",
		"insert into headway.assignment (task_id, user_id) values (3, 1)",
		"update headway.assignment set user_id = 2",
		"delete from headway.assignment",
		"insert into headway.member (project_id, user_id, role) values (1, 5, 'customer'), (1, 6, 'staff')",
		"update headway.member set role = 'staff' where user_id = 5",
		"delete from headway.member where user_id = 5",
		"truncate headway.completion",
		"truncate headway.assignment",
		"truncate headway.member",
	} {
		pgtest.Execute(t, conn, change)
		if len(l.heard()) == 0 {
			t.Errorf("the worker sleeps on after %s", change)
		}
		pgtest.Execute(t, conn, "select headway.fold()")
		l.heard()
	}
}

// TestProgressIsNotifiedOfCustomersWhoHaveABar has many leave, and some become staff, in one fold with others whose bars move.
func TestProgressIsNotifiedOfCustomersWhoHaveABar(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	conn := db.Conn(t)
	pgtest.Execute(t, conn, aProject+`;
		insert into headway.appuser (id, fullname) select n, 'Person' from generate_series(101, 399) n;
		insert into headway.member (project_id, user_id, role) select 1, n, 'customer' from generate_series(101, 399) n;
		insert into headway.completion (task_id, user_id) select 2, n from generate_series(101, 399) n;
		insert into headway.completion (task_id, user_id) values (2, 2);
		select headway.fold()`)
	l := listen(t, db, "project_1")
	customers := func(change string) string {
		t.Helper()
		pgtest.Execute(t, conn, change+"; select headway.fold()")
		for _, n := range l.heard() {
			if o := object(t, n.Payload); o["kind"] == "progress" {
				return fmt.Sprint(o["customers"])
			}
		}
		t.Fatalf("%s: nothing heard", change)
		return ""
	}
	if got := customers("update headway.member set role = 'staff' where user_id = 2"); got != "[]" {
		t.Errorf("staff has a bar: %s", got)
	}
	const want = "[map[done:1 percent:50 total:2 user_id:399]]"
	pgtest.Execute(t, conn, "delete from headway.completion where user_id = 399; select headway.fold()")
	l.heard()
	if got := customers("delete from headway.member where user_id between 101 and 398; insert into headway.completion (task_id, user_id) values (2, 399)"); got != want {
		t.Errorf("where many leave: %s, not %s", got, want)
	}
}

// TestAMessageIsAsOldAsItsPlace has somebody wait for their turn to post while another says more.
func TestAMessageIsAsOldAsItsPlace(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	a, b, watcher := db.Conn(t), db.Conn(t), db.Conn(t)
	pgtest.Execute(t, watcher, "insert into headway.appuser (id, fullname) values (1, 'Abe'), (2, 'Bob')")
	pgtest.Execute(t, a, "begin; select headway.post(1, 'broadcast', 'First')")
	post := start(t.Context(), b, "select headway.post(2, 'broadcast', 'Third')")
	post.waits(t, watcher, b)
	pgtest.Execute(t, a, "select headway.post(1, 'broadcast', 'Second'); commit")
	if err := post.wait(t); err != nil {
		t.Fatal(err)
	}
	if !value[bool](t, watcher, "select array_agg(content order by seq) = array_agg(content order by sent_at) from headway.message") {
		t.Error("what came later is said to be older")
	}
}
