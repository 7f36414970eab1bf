package mail

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"headway/internal/address"
	"headway/internal/pgtest"
)

// Whoever has an address gets a mail at it: the table takes what can be mailed to, up to what a server takes, and nothing else.
func FuzzEmail(f *testing.F) {
	for _, email := range []string{
		"abe@example.com", "a@b", "", "abe", "@", "a@", "@b", "a@b@c", "a@b, c@d", "a@b> NOTIFY=NEVER", "<a@b>", "a b@c", "a@b\r\nBcc: c@d", "a\tb@c",
		"åbe@exämple.com", "a\u00a0b@c", "a\u00adb@c", "a\u0085b@c", "a\u0600b@c", "a\u1680b@c", "a\u180eb@c", "a\u200bb@c", "a\u2028b@c",
		"a\u202eb@c", "a\u2060b@c", "a\u3000b@c", "a\ue000b@c", "a\ufeffb@c", "a\U000e0041b@c", "a\U0010fffdb@c", "a\u0378b@c", "\u0301a@c",
		`"a b"@c`, "a@[::1]", "a@b;c", "a..b@c", ".a@c", "a@-", "a@b.", "a@.b", "a@b..c", "a@b\u00ad", "a\u061cb@c", "a@\U0001f469", "%a@c", "'a'@c", "=?utf-8?q?a?=@c", "a@=?utf-8?q?b?=", "a@b\x7f",
		strings.Repeat("a", 252) + "@b", strings.Repeat("a", 253) + "@b", strings.Repeat("é", 126) + "@b",
	} {
		f.Add(email)
	}
	conn := pgtest.New(f).Conn(f)
	c, content := composer(f), golden(f, "plain")
	f.Fuzz(func(t *testing.T, email string) {
		email = pgtest.Typed(email)
		var err error
		pgtest.Rehearse(t, conn, func(tx pgx.Tx) {
			_, err = tx.Exec(t.Context(), "insert into headway.appuser (fullname, email) values ('Abe', $1)", email)
		})
		if refused := new(pgconn.PgError); errors.As(err, &refused) && refused.ConstraintName == "appuser_email_one_address" {
			if address.Plain(email) {
				t.Errorf("the table refuses %q", email)
			}
			return
		} else if err != nil {
			t.Fatal(err)
		}
		if !address.Plain(email) {
			t.Errorf("the table takes %q", email)
			return
		}
		content.Email = email
		compose(t, c, content)
	})
}

// Whatever an application says, and puts into data beside it, is notified and can be mailed.
func FuzzMessage(f *testing.F) {
	for _, said := range payloads {
		f.Add(uint8(0), said, `{}`)
	}
	for kind := range uint8(4) {
		for _, data := range []string{
			"null", "1", `"x"`, "[]", `[{"project_id": 1}]`, `{"project_id": "1"}`, `{"project_id": 1e3}`, `{"project_id": -1}`, `{"project_id": 2}`,
			`{"project_id": 99999999999999999999}`, `{"project_id": {"id": 1}}`, `{"title": null}`, `{"title": ["a"]}`, `{"title": 7, "reason": false}`,
			`{"title": "\u2028\ud83d\ude00\\"}`, `{"user_id": "me", "task_id": {}}`, `{"": ""}`, `{"kind": "progress", "version": 1}`,
			`{"reason": "` + strings.Repeat("é", 4000) + `"}`, `{"` + strings.Repeat("k", 8000) + `": 1}`,
		} {
			f.Add(kind, "Hello", data)
		}
	}
	for length := 7600; length < 8100; length += 53 { // about what a notification holds
		f.Add(uint8(0), strings.Repeat("x", length), "null")
		f.Add(uint8(0), strings.Repeat(`"`, length/2), "null")
		f.Add(uint8(0), strings.Repeat("é", length/2), `{"a": 1}`)
	}
	conn := pgtest.New(f).Conn(f)
	if _, err := conn.PgConn().Exec(f.Context(), `
		set jit = off;
		insert into headway.appuser (fullname, email) values ('Abe', 'abe@example.com'), ('Dora', null);
		insert into headway.project (name) values ('Website relaunch'), ('Intranet');
		insert into headway.member (project_id, user_id, role) values (1, 1, 'customer'), (1, 2, 'staff');
		insert into headway.task (project_id, title) values (1, 'Choose a domain');
		select headway.fold()`).ReadAll(); err != nil {
		f.Fatal(err)
	}
	c := composer(f)
	f.Fuzz(func(t *testing.T, kind uint8, said, data string) {
		if data = pgtest.Typed(data); !json.Valid([]byte(data)) || strings.Contains(data, `\u`) { // not every escape is one of jsonb's
			data = "null"
		}
		kinds := []string{"chat", "task_completed", "task_reopened", "task_assigned"}
		pgtest.Rehearse(t, conn, func(tx pgx.Tx) {
			var told []byte
			for _, step := range []struct {
				query string
				args  []any
				into  []any
			}{
				{"insert into headway.message (sender, channel, content, kind, data) values (2, 'project_1', $1, $2, $3::text::jsonb) returning 1",
					[]any{pgtest.Typed(said), kinds[int(kind)%len(kinds)], data}, []any{nil}},
				{"select headway.reserve_digest(1)", nil, []any{nil}},
				{"select headway.claim_digest('11111111-1111-1111-1111-111111111111')", nil, []any{&told}},
			} {
				if err := tx.QueryRow(t.Context(), step.query, step.args...).Scan(step.into...); err != nil {
					t.Fatalf("%s: %v", step.query, err)
				}
			}
			if told == nil { // of a project that is none of theirs
				var state string
				if err := tx.QueryRow(t.Context(), "select concat_ws(': ', state, error) from headway.digest").Scan(&state); err != nil || state != "read_before_sending" {
					t.Fatalf("%s, %v", state, err)
				}
				return
			}
			var content Content
			decode(t, told, &content)
			compose(t, c, content)
		})
	})
}

// Whatever the database may say in another version, a mail is made of it.
func FuzzContent(f *testing.F) {
	for _, name := range goldenNames {
		content, err := os.ReadFile(filepath.Join("testdata", name+".json"))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(content)
	}
	for _, content := range []string{
		`{}`, `null`, `[]`, `{"projects": null}`, `{"projects": [null]}`, `{"projects": [{"lines": [{}]}]}`, `{"digest_id": 9223372036854775808}`,
		`{"time_zone": "../../etc/passwd", "projects": [{"lines": [{}]}]}`, `{"time_zone": "Local", "projects": [{"lines": [{"kind": "chat"}]}]}`,
		`{"more": -9223372036854775808, "projects": [{"project_id": -1, "lines": [{"messages": -9223372036854775808, "titles": ["a", "b"]}]}]}`,
		`{"since": "0000-01-01T00:00:00Z", "projects": [{"lines": [{"sent_at": "9999-12-31T23:59:59.999999999+14:00"}]}]}`,
		`{"counts": {"chat": -1, "completed": 9223372036854775807}}`, `{"name": "\u0000\ud800", "projects": [{"name": "\u2028", "lines": []}]}`,
		`{"projects": [{"name": "x", "from": {"percent": -9223372036854775808}, "to": {"total": -1, "percent": 9223372036854775807}, "lines": [{}]}]}`,
	} {
		f.Add([]byte(content))
	}
	c, plain := composer(f), golden(f, "plain")
	f.Fuzz(func(t *testing.T, said []byte) {
		var content Content
		if json.Unmarshal(said, &content) != nil {
			return
		}
		content.Token, content.Email = plain.Token, plain.Email
		compose(t, c, content)
	})
}

// asked is a database that remembers which tokens it was asked to unsubscribe.
type asked struct{ tokens []any }

func (a *asked) QueryRow(_ context.Context, _ string, args ...any) pgx.Row {
	a.tokens = append(a.tokens, args...)
	return known{}
}

type known struct{}

func (known) Scan(into ...any) error {
	*into[0].(*bool) = true
	return nil
}

// Only a POST of the form with a token reaches the database, and nothing that a visitor sends is shown.
func FuzzUnsubscribe(f *testing.F) {
	const token, form = "00000000-0000-4000-8000-000000000000", "application/x-www-form-urlencoded"
	f.Add("POST", "/headway/unsubscribe/"+token, "", form, "List-Unsubscribe=One-Click")
	f.Add("POST", token, "List-Unsubscribe=One-Click", form, "")
	f.Add("POST", "/a/../"+token+"/", "", form, "x=%&List-Unsubscribe=One-Click&List-Unsubscribe=Two")
	f.Add("POST", "/"+strings.ToUpper("a0000000-0000-4000-8000-000000000000"), "", form, "List-Unsubscribe=One-Click")
	f.Add("POST", "/{"+token+"}", "", form, "List-Unsubscribe=One-Click")
	f.Add("POST", "/"+token+"\n", "", form, "List-Unsubscribe=One-Click")
	f.Add("POST", "/"+token, "", "multipart/form-data; boundary=x", "--x\r\nContent-Disposition: form-data; name=\"List-Unsubscribe\"\r\n\r\nOne-Click\r\n--x--\r\n")
	f.Add("POST", "/"+token, "", "multipart/form-data", "--")
	f.Add("POST", "", "", ";", "")
	f.Add("GET", "/<script>alert(1)</script>", "<script>", "", "")
	f.Add("HEAD", "/"+token, "", "", "")
	f.Add("BREW", "/"+token, "", "", "")
	unsubscriber := &Unsubscriber{Log: slog.New(slog.DiscardHandler)}
	shown := map[string]bool{"method not allowed\n": true}
	for _, p := range []page{askPage, donePage, formPage, gonePage} {
		w := httptest.NewRecorder()
		unsubscriber.show(w, p)
		shown[w.Body.String()] = true
	}
	f.Fuzz(func(t *testing.T, method, path, query, contentType, body string) {
		db := &asked{}
		w := httptest.NewRecorder()
		(&Unsubscriber{DB: db, Log: unsubscriber.Log}).ServeHTTP(w, (&http.Request{
			Method: method,
			URL:    &url.URL{Path: path, RawQuery: query},
			Header: http.Header{"Content-Type": {contentType}},
			Body:   io.NopCloser(bytes.NewReader([]byte(body))),
		}).WithContext(t.Context()))
		if !shown[w.Body.String()] {
			t.Errorf("it shows %s", w.Body)
		}
		if len(db.tokens) == 0 {
			return
		}
		asked, _ := db.tokens[0].(string)
		if method != http.MethodPost || !strings.Contains(body, "One-Click") || !strings.Contains(path, asked) || !validToken.MatchString(asked) || w.Code != http.StatusOK {
			t.Errorf("%s %q, %q: the database is asked for %q", method, path, body, db.tokens)
		}
	})
}
