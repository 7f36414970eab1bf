package mail

import (
	"strings"
	"testing"

	"headway/internal/pgtest"
)

// sqlStory has people complete, reopen, assign and talk; the last statement reserves the digest of the reader.
const sqlStory = `
insert into headway.appuser (id, fullname, email, time_zone) overriding system value values
  (1, 'Abe', 'abe@example.com', 'Europe/Lisbon'), (2, 'Bob', 'bob@example.com', 'UTC'), (3, 'Charlie', null, 'UTC'), (4, 'Dora', 'dora@example.com', 'UTC');
insert into headway.project (id, name) overriding system value values (42, 'Website relaunch');
insert into headway.member (project_id, user_id, role) values (42, 1, 'customer'), (42, 2, 'customer'), (42, 4, 'staff');
insert into headway.task (id, project_id, title, audience) overriding system value select n, 42, 'Task ' || n, 'everyone' from generate_series(1, 20) n;
insert into headway.task (id, project_id, title, audience) overriding system value values (21, 42, 'Review', 'assigned');
select headway.fold();
insert into headway.completion (task_id, user_id) select n, 2 from generate_series(1, 12) n;
select headway.fold();
insert into headway.assignment (task_id, user_id) values (21, 1);
insert into headway.completion (task_id, user_id) values (13, 1);
select headway.fold();
select headway.reopen_task(13, 1, 4, 'a typo');
select headway.fold();
insert into headway.message (sender, channel, content) values (2, 'project_42', 'Hello'), (4, 'broadcast', 'Closed on Friday.');`

func TestContentIsWhatTheDatabaseSays(t *testing.T) {
	t.Parallel()
	conn := pgtest.New(t).Conn(t)
	if _, err := conn.PgConn().Exec(t.Context(), sqlStory).ReadAll(); err != nil {
		t.Fatal(err)
	}
	digest := func(user int) (content Content) {
		var id int64
		var said []byte
		if err := conn.QueryRow(t.Context(), "select headway.reserve_digest($1)", user).Scan(&id); err != nil {
			t.Fatal(err)
		}
		if err := conn.QueryRow(t.Context(), "select headway.digest_content($1)", id).Scan(&said); err != nil {
			t.Fatal(err)
		}
		decode(t, said, &content)
		return content
	}

	abe := digest(1)
	if abe.Name != "Abe" || abe.Email != "abe@example.com" || abe.TimeZone != "Europe/Lisbon" || abe.UserID != 1 || abe.Since.IsZero() {
		t.Errorf("the reader is %+v", abe)
	}
	if want := (Counts{Chat: 2, Reopened: 1, Assigned: 1}); abe.Counts != want || abe.More != 0 {
		t.Errorf("%+v and %d more, want %+v", abe.Counts, abe.More, want)
	}
	if mail := compose(t, composer(t), abe); mail.Subject != "Website relaunch: 1 task reopened, 1 task assigned to you, 2 new messages" {
		t.Errorf("Abe's mail: %s\n%s", mail.Subject, mail.Text)
	}

	mail := compose(t, composer(t), digest(4))
	for _, want := range []string{
		"- Bob completed 12 tasks: Task 1, Task 2, Task 3, Task 4, Task 5 and 7\n  more (",
		"- Abe completed “Task 13” (", "- Bob (", "  Hello\n", " 0 % → ",
	} {
		if !strings.Contains(mail.Text, want) {
			t.Errorf("Dora's mail lacks %q:\n%s", want, mail.Text)
		}
	}
	if want := "Website relaunch: 13 tasks completed, 1 new message"; mail.Subject != want {
		t.Errorf("Dora's subject is %s, want %s", mail.Subject, want)
	}
}
