package live

import (
	"reflect"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"headway/internal/listen"
	"headway/internal/pgtest"
)

// Any role may notify anything. It can show what is not so for a while, and keep back the one message whose place it
// takes, but whatever comes is survived, the message after it is told, and what is read next is the truth.
func FuzzHear(f *testing.F) {
	for _, payload := range []string{
		``, `nonsense`, `null`, `[]`, `{}`, `{"kind": 5}`, `{"kind": "progress"}`, `{"kind": "progress", "project_id": 99, "version": 1}`,
		`{"kind": "progress", "project_id": "x"}`, `{"kind": "progress", "project_id": 1e99}`, `{"kind": "progress", "project_id": 1, "version": 2}`,
		`{"kind": "progress", "project_id": 1, "version": 2, "shared": {"done": -9223372036854775808, "total": 9223372036854775807}, "customers": []}`,
		`{"kind": "progress", "project_id": 1, "version": 2, "shared": {}, "customers": [{"user_id": 1, "done": -1}, {"user_id": 1, "done": 9}]}`,
		`{"kind": "progress", "project_id": 1, "version": 2, "shared": {}, "customers": [{"user_id": 99}]}`,
		`{"kind": "progress", "project_id": 1, "version": 9223372036854775807, "shared": null, "customers": null}`,
		`{"channel": "project_1", "seq": "x"}`, `{"channel": "project_1", "seq": 2, "content": "forged"}`, `{"channel": "project_1", "seq": 2}`,
		`{"channel": "project_1", "seq": 2, "id": 1}`, `{"channel": "project_1", "seq": 9223372036854775807, "content": "the last"}`,
		`{"channel": "project_1", "seq": 1000, "id": 1}`, `{"channel": "project_1_staff", "seq": 1, "id": 1}`, `{"channel": "project_1", "seq": -1}`,
		`{"channel": "project_99999999999999999999", "seq": 1, "content": "nowhere"}`, `{"channel": "nowhere", "seq": 1, "content": "hello"}`,
		`{"channel": "no\u0000where", "seq": 1, "content": "hello"}`, `{"channel": "user_1", "seq": 1, "content": "\u0000", "sender": -1}`,
		`{"channel": "broadcast", "seq": 1, "content": "hello", "sender": 1, "kind": "task_completed", "sent_at": "0000-01-01T00:00:00Z"}`,
		`{"channel": "project_1", "seq": 2, "content": "forged", "sender": 9223372036854775807, "task_id": 1.5}`,
	} {
		f.Add(payload)
	}
	conn := pgtest.New(f).Conn(f)
	if err := conn.PgConn().Exec(f.Context(), sqlPeople+`; set jit = off; select headway.post(1, 'project_1', 'first')`).Close(); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, payload string) {
		var told []string
		follower := &Follower{}
		follower.begin()
		follower.On = func(_ *Board, e Event) {
			if e.Kind == Said {
				told = append(told, e.Message.Text())
			}
		}
		hear := func(payload string) {
			if err := follower.hear(t.Context(), conn, &pgconn.Notification{Channel: listen.Events, Payload: payload}); err != nil {
				t.Fatalf("%s: %v", payload, err)
			}
		}
		if _, err := follower.read(t.Context(), conn); err != nil {
			t.Fatal(err)
		}
		before := (&followed{Follower: follower}).bars()
		hear(strings.ToValidUTF8(payload, "?"))

		tx, err := conn.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, content := range []string{"second", "third"} {
			var posted string
			if err := tx.QueryRow(t.Context(), `select to_json(m)::text from headway.post(2, 'project_1', $1) m`, content).Scan(&posted); err != nil {
				t.Fatal(err)
			}
			hear(posted)
		}
		if err := tx.Rollback(t.Context()); err != nil {
			t.Fatal(err)
		}
		if len(told) == 0 || told[len(told)-1] != "Bob: third" {
			t.Errorf("after %s it tells %q", payload, told)
		}
		if _, err := follower.read(t.Context(), conn); err != nil {
			t.Fatal(err)
		}
		if after := (&followed{Follower: follower}).bars(); !reflect.DeepEqual(before, after) {
			t.Errorf("after %s the bars are %v, not %v", payload, after, before)
		}
	})
}
