package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"mime"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/jackc/pgx/v5"

	"headway/internal/gatewaytest"
	"headway/internal/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// bench is a gateway on a database of its own with Abe, Bob and Charlie as customers and Dora as staff of a project.
type bench struct {
	*Gateway
	db     *pgtest.DB
	conn   *pgx.Conn
	server *httptest.Server
}

func setup(t *testing.T, change ...func(*Gateway)) *bench {
	t.Helper()
	db := pgtest.New(t)
	conn := db.Conn(t)
	pgtest.Execute(t, conn, gatewaytest.People)
	verifier, err := NewVerifier([]byte(gatewaytest.Secret), "", "headway", nil)
	if err != nil {
		t.Fatal(err)
	}
	g := New(db.Pool(t), gatewaytest.Connect(db), verifier, slog.New(slog.DiscardHandler))
	for _, c := range change {
		c(g)
	}
	return &bench{Gateway: g, db: db, conn: conn, server: gatewaytest.Serve(t, db, g)}
}

// client is a WebSocket and what has come over it.
type client struct {
	t  *testing.T
	ws *websocket.Conn
}

func (b *bench) dial(t *testing.T, userID int64, has *positions) *client {
	t.Helper()
	return b.dialUntil(t, userID, has, time.Now().Add(time.Hour))
}

func (b *bench) dialUntil(t *testing.T, userID int64, has *positions, expires time.Time) *client {
	t.Helper()
	ws, _, err := websocket.Dial(t.Context(), b.server.URL+"/api/ws", nil) //nolint:bodyclose // the library closes it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ws.CloseNow() })
	ws.SetReadLimit(1 << 20)
	text, err := json.Marshal(hello{Token: gatewaytest.Token(t, userID, expires), Position: has})
	if err != nil {
		t.Fatal(err)
	}
	if err := ws.Write(t.Context(), websocket.MessageText, text); err != nil {
		t.Fatal(err)
	}
	return &client{t: t, ws: ws}
}

// told is an event as a client reads it.
type told struct {
	Type      string `json:"type"`
	Channel   string `json:"channel"`
	Seq       int64  `json:"seq"`
	Content   string `json:"content"`
	ProjectID int64  `json:"project_id"`
	Version   int64  `json:"version"`
	Shared    struct{ Done, Total int64 }
	Progress  *bar            `json:"progress"`
	ReadSeq   int64           `json:"read_seq"`
	Muted     bool            `json:"muted"`
	Unread    int64           `json:"unread"`
	Snapshot  json.RawMessage `json:"snapshot"`
}

func (c *client) next() (told, error) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), 20*time.Second)
	defer cancel()
	_, text, err := c.ws.Read(ctx)
	if err != nil {
		return told{}, err
	}
	var e told
	return e, json.Unmarshal(text, &e)
}

// want reads until an event of a type comes.
func (c *client) want(kind string) told {
	c.t.Helper()
	for {
		e, err := c.next()
		if err != nil {
			c.t.Fatalf("waiting for %s: %v", kind, err)
		}
		if e.Type == kind {
			return e
		}
	}
}

// do asks the API and returns the status and the answer.
func (b *bench) do(t *testing.T, userID int64, method, path, body string) (int, string) {
	t.Helper()
	status, _, text := b.ask(t, userID, method, path, body)
	return status, string(text)
}

// ask asks the API and returns status, media type and answer.
func (b *bench) ask(t *testing.T, userID int64, method, path, body string) (int, string, []byte) {
	t.Helper()
	token := ""
	if userID != 0 {
		token = gatewaytest.Token(t, userID, time.Now().Add(time.Hour))
	}
	return b.askWith(t, token, method, path, body)
}

// askWith is [bench.ask] with any token, or with none.
func (b *bench) askWith(t *testing.T, token, method, path, body string) (int, string, []byte) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), strings.ToUpper(method), b.server.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var text bytes.Buffer
	if _, err := text.ReadFrom(response.Body); err != nil {
		t.Fatal(err)
	}
	kind, _, _ := mime.ParseMediaType(response.Header.Get("Content-Type"))
	return response.StatusCode, kind, text.Bytes()
}

func TestTwoPeopleSeeEachOther(t *testing.T) {
	t.Parallel()
	b := setup(t)
	bob, charlie := b.dial(t, 2, nil), b.dial(t, 3, nil)
	bob.want("snapshot")
	charlie.want("snapshot")

	if status, answer := b.do(t, 3, "POST", "/api/channels/project_1/messages", `{"content": "Hello Bob"}`); status != http.StatusOK {
		t.Fatal(status, answer)
	}
	if e := bob.want("message"); e.Content != "Hello Bob" || e.Channel != "project_1" || e.Seq != 1 {
		t.Errorf("Bob is told %+v", e)
	}
	if status, answer := b.do(t, 3, "POST", "/api/tasks/1/complete", ""); status != http.StatusOK || answer != `{"changed" : true}` {
		t.Fatal(status, answer)
	}
	pgtest.Execute(t, b.conn, "select headway.fold()")
	if e := bob.want("progress"); e.ProjectID != 1 || e.Shared.Done != 1 || e.Shared.Total != 2 {
		t.Errorf("Bob is told %+v", e)
	}
	if status, answer := b.do(t, 3, "POST", "/api/tasks/2/complete", ""); status != http.StatusOK {
		t.Fatal(status, answer)
	}
	pgtest.Execute(t, b.conn, "select headway.fold()")
	for { // also what he had before may be told again, where the gateway looks
		if e := charlie.want("progress"); e.Progress != nil && e.Progress.Percent == 100 {
			break
		}
	}
	if status, answer := b.do(t, 2, "POST", "/api/channels/project_1/read", ""); status != http.StatusOK {
		t.Fatal(status, answer)
	}
	if e := bob.want("read"); e.Channel != "project_1" || e.ReadSeq != 1 || e.Unread != 0 {
		t.Errorf("Bob's other window is told %+v", e)
	}
	pgtest.Execute(t, b.conn, "update headway.subscription set muted = true where user_id = 2 and channel = 'project_1'")
	if e := bob.want("read"); e.Channel != "project_1" || !e.Muted {
		t.Errorf("Bob's other window is told %+v", e)
	}
}

func TestWhoComesBackGetsWhatTheyMissed(t *testing.T) {
	t.Parallel()
	b := setup(t)
	bob := b.dial(t, 2, nil)
	var snap snapshot
	if err := json.Unmarshal(bob.want("snapshot").Snapshot, &snap); err != nil {
		t.Fatal(err)
	}
	has := positions{Channels: map[string]int64{}, Projects: map[int64]int64{}}
	for _, c := range snap.Channels {
		has.Channels[c.Channel] = c.LastSeq
	}
	for _, p := range snap.Projects {
		has.Projects[p.ProjectID] = p.Version
	}
	_ = bob.ws.CloseNow()
	pgtest.Execute(t, b.conn, "select headway.post(1, 'project_1', 'one'), headway.post(1, 'project_1', 'two')")
	bob = b.dial(t, 2, &has)
	bob.want("resumed")
	pgtest.Execute(t, b.conn, "select headway.post(1, 'project_1', 'three')")
	for i, want := range []string{"one", "two", "three"} {
		if e := bob.want("message"); e.Content != want || e.Seq != int64(i+1) {
			t.Errorf("message %d is %+v", i+1, e)
		}
	}

	has.Channels["project_1"] = 1000
	bob = b.dial(t, 2, &has)
	bob.want("resync")
	bob.want("snapshot")
}

func TestWhoLosesTheProjectIsToldNothingMore(t *testing.T) {
	t.Parallel()
	b := setup(t)
	bob, charlie := b.dial(t, 2, nil), b.dial(t, 3, nil)
	bob.want("snapshot")
	charlie.want("snapshot")
	pgtest.Execute(t, b.conn, "delete from headway.member where user_id = 2; select headway.post(1, 'project_1', 'not for Bob')")
	charlie.want("message")
	pgtest.Execute(t, b.conn, "select headway.post(1, 'broadcast', 'for all')")
	for {
		e, err := bob.next()
		if err != nil {
			t.Fatal(err)
		}
		if e.Type == "message" {
			if e.Channel != "broadcast" {
				t.Errorf("Bob is told %+v", e)
			}
			break
		}
	}
	pgtest.Execute(t, b.conn, "insert into headway.member (project_id, user_id, role) values (1, 2, 'customer')")
	if e := bob.want("joined"); e.Channel != "project_1" {
		t.Errorf("Bob is told %+v", e)
	}
	pgtest.Execute(t, b.conn, "select headway.post(1, 'project_1', 'welcome back')")
	if e := bob.want("message"); e.Content != "welcome back" {
		t.Errorf("Bob is told %+v", e)
	}
}

func TestATokenThatExpiresEndsTheConnection(t *testing.T) {
	t.Parallel()
	var c gatewaytest.Clock
	b := setup(t, func(g *Gateway) { g.Now = c.Now })
	bob := b.dial(t, 2, nil)
	bob.want("snapshot")
	c.Forward(2 * time.Hour)
	pgtest.Execute(t, b.conn, "select headway.post(1, 'project_1', 'too late')")
	if e, err := bob.next(); websocket.CloseStatus(err) != websocket.StatusCode(statusUnauthorized) {
		t.Errorf("Bob is told %+v, %v", e, err)
	}
}

func TestNobodyElseGetsIn(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for what, tokenText := range map[string]string{
		"expired":      gatewaytest.Token(t, 2, time.Now().Add(-time.Minute)),
		"nothing":      "",
		"of no person": gatewaytest.Token(t, 99, time.Now().Add(time.Hour)),
		"not a number": strings.Repeat("x", 100),
	} {
		ws, _, err := websocket.Dial(t.Context(), b.server.URL+"/api/ws", nil) //nolint:bodyclose // the library closes it
		if err != nil {
			t.Fatal(err)
		}
		text, _ := json.Marshal(hello{Token: tokenText})
		if err := ws.Write(t.Context(), websocket.MessageText, text); err != nil {
			t.Fatal(err)
		}
		c := &client{t: t, ws: ws}
		if e, err := c.next(); websocket.CloseStatus(err) != websocket.StatusCode(statusUnauthorized) {
			t.Errorf("%s: told %+v, %v", what, e, err)
		}
		_ = ws.CloseNow()
	}
	if _, _, err := websocket.Dial(t.Context(), b.server.URL+"/api/ws", &websocket.DialOptions{ //nolint:bodyclose // the library closes it
		HTTPHeader: http.Header{"Origin": {"https://elsewhere.example.com"}},
	}); err == nil {
		t.Error("a page from elsewhere may connect")
	}
	if status, _ := b.do(t, 0, "GET", "/api/snapshot", ""); status != http.StatusUnauthorized {
		t.Errorf("without a token: %d", status)
	}
}

// TestAFirstMessageThatIsTooLongIsNoBadToken has a client come with the positions of too many channels, which no other token
// would make fewer, and of so many that it is still sending them when it is told.
func TestAFirstMessageThatIsTooLongIsNoBadToken(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, size := range []int{maxHello + 1, 64 * maxHello} {
		ws, _, err := websocket.Dial(t.Context(), b.server.URL+"/api/ws", nil) //nolint:bodyclose // the library closes it
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = ws.CloseNow() }()
		began := time.Now()
		if err := ws.Write(t.Context(), websocket.MessageText, make([]byte, size)); err != nil && time.Since(began) < lingering {
			t.Fatalf("%d bytes: %v", size, err)
		} else if err != nil {
			continue // a machine on which that takes longer than the gateway waits
		}
		c := &client{t: t, ws: ws}
		if _, err := c.next(); websocket.CloseStatus(err) != websocket.StatusMessageTooBig {
			t.Errorf("%d bytes: told %v", size, err)
		}
	}
}

func TestWhatCannotBeReadIsNamed(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for body, want := range map[string]string{
		`{"user_id": "2"}`: `"user_id" cannot be a JSON string.`,
		`{"user_id": `:     "Send JSON, at most 1 MiB of it.",
		`[1]`:              "Send a JSON object instead of a JSON array.",
	} {
		status, answer := b.do(t, 4, "POST", "/api/tasks/1/complete", body)
		var problem struct{ Detail string }
		if err := json.Unmarshal([]byte(answer), &problem); err != nil || status != http.StatusBadRequest || problem.Detail != want {
			t.Errorf("%s is answered with %d %s, want %q", body, status, answer, want)
		}
	}
}

// TestPreferencesThatCannotBeAreRefused has each answered with what to do, which is what the four take where the database
// has nothing to say, and none half taken.
func TestPreferencesThatCannotBeAreRefused(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, before := b.do(t, 2, "GET", "/api/account", "")
	for body, title := range map[string]string{
		`{"digest_after": "soon"}`:                         "soon",
		`{"digest_after": "200 years"}`:                    "appuser",
		`{"digest_after": "99999999999 years"}`:            "99999999999 years",
		`{"digest_after": 7}`:                              "digest_after is not a string",
		`{"quiet_from": "25:00", "quiet_until": "07:00"}`:  "25:00",
		`{"quiet_from": "22:00"}`:                          "appuser",
		`{"time_zone": null}`:                              "time_zone is not a string",
		`{"email": "a@b.c"}`:                               `unknown preference \"email\"`,
		`{"digest_after": "2 hours", "Time_zone": "Mars"}`: `unknown preference \"Time_zone\"`,
		`[1]`:            "account is not an object",
		`"digest_after"`: "account is not an object",
	} {
		status, answer := b.do(t, 2, "PATCH", "/api/account", `{"account": `+body+`}`)
		if status != http.StatusUnprocessableEntity || !strings.Contains(answer, title) {
			t.Errorf("%s: %d %s", body, status, answer)
		}
		for _, field := range []string{"digest_after", "time_zone", "quiet_from", "quiet_until"} {
			if _, detail, _ := strings.Cut(answer, `"detail":`); !strings.Contains(detail, field) {
				t.Errorf("%s: the detail says nothing of %s: %s", body, field, answer)
			}
		}
	}
	status, answer := b.do(t, 2, "PATCH", "/api/account", `{"account": {"digest_after": "2 hours", "time_zone": "Mars"}}`)
	if status != http.StatusUnprocessableEntity || !strings.Contains(answer, `"title":"there is no time zone \"Mars\""`) || !strings.Contains(answer, "Europe/Lisbon") {
		t.Errorf("a time zone on Mars: %d %s", status, answer)
	}
	if _, after := b.do(t, 2, "GET", "/api/account", ""); after != before {
		t.Errorf("the account became %s", after)
	}
	if status, answer := b.do(t, 2, "PATCH", "/api/account", "{}"); status != http.StatusBadRequest {
		t.Errorf("no account: %d %s", status, answer)
	}
	for _, body := range []string{`{"account": {}}`, `{"account": {"digest_after": null, "quiet_from": null, "quiet_until": null}}`} {
		if status, answer := b.do(t, 2, "PATCH", "/api/account", body); status != http.StatusOK {
			t.Errorf("%s: %d %s", body, status, answer)
		}
	}
}

// TestTwoWindowsChangeTwoPreferences has one of them be committed while the other waits for it.
func TestTwoWindowsChangeTwoPreferences(t *testing.T) {
	t.Parallel()
	b := setup(t)
	pgtest.Execute(t, b.conn, "begin; update headway.appuser set digest_after = '2 hours' where id = 2")
	watcher := b.db.Conn(t)
	var asking sync.WaitGroup
	asking.Go(func() {
		if status, answer := b.do(t, 2, "PATCH", "/api/account", `{"account": {"time_zone": "Europe/Lisbon"}}`); status != http.StatusOK {
			t.Errorf("%d %s", status, answer)
		}
	})
	pgtest.Eventually(t, 20*time.Second, func() bool {
		var waits bool
		err := watcher.QueryRow(t.Context(), "select exists (select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock')").Scan(&waits)
		return err == nil && waits
	}, "it does not wait")
	pgtest.Execute(t, b.conn, "commit")
	asking.Wait()
	if _, answer := b.do(t, 2, "GET", "/api/account", ""); !strings.Contains(answer, `"digest_after":"02:00:00","time_zone":"Europe/Lisbon"`) {
		t.Errorf("the account is %s", answer)
	}
}

func TestTheAPIShowsNothingOfOthers(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, c := range []struct {
		method, path, body string
		status             int
	}{
		{"GET", "/api/snapshot", "", 200},
		{"GET", "/api/account", "", 200},
		{"GET", "/api/projects/1/tasks", "", 200},
		{"GET", "/api/projects/1/progress", "", 200},
		{"GET", "/api/projects/1/people", "", 200},
		{"GET", "/api/channels/project_1/messages", "", 200},
		{"GET", "/api/channels/project_1/messages?limit=x", "", 400},
		{"POST", "/api/tasks/3/complete", "", 404},
		{"POST", "/api/tasks/999/complete", "", 404},
		{"POST", "/api/tasks/2/complete", `{"user_id": 3}`, 403},
		{"POST", "/api/tasks/x/complete", "", 400},
		{"POST", "/api/channels/project_2/messages", `{"content": "Hi"}`, 404},
		{"POST", "/api/channels/nowhere/messages", `{"content": "Hi"}`, 404},
		{"POST", "/api/channels/project_1/messages", `{"content": " "}`, 400},
		{"POST", "/api/channels/project_1/messages", `{`, 400},
		{"POST", "/api/channels/project_2/read", "", 404},
		{"PUT", "/api/channels/project_1/muted", `{"muted": true}`, 200},
		{"PATCH", "/api/account", `{"account": {"digest_after": "2 hours"}}`, 200},
		{"PATCH", "/api/account", `{"account": {"digest_after": "soon"}}`, 422},
		{"PATCH", "/api/account", `{"account": {"time_zone": "Mars"}}`, 422},
		{"POST", "/api/seen", `{"message_ids": [1]}`, 200},
		{"GET", "/api/nowhere", "", 404},
	} {
		status, answer := b.do(t, 2, c.method, c.path, c.body)
		if status != c.status {
			t.Errorf("%s %s %s: %d %s", c.method, c.path, c.body, status, answer)
		}
		if strings.Contains(answer, "Hidden") || strings.Contains(answer, "Eve") {
			t.Errorf("%s %s %s tells of others: %s", c.method, c.path, c.body, answer)
		}
	}
	for _, path := range []string{"/api/projects/2/tasks", "/api/projects/2/progress", "/api/channels/project_2/messages"} {
		if _, answer := b.do(t, 2, "GET", path, ""); strings.TrimSpace(answer) != "[]" {
			t.Errorf("%s: %s", path, answer)
		}
	}
}

// TestNothingIsReadForWhoHasLeft has the gateway, whose own login may read everything, read for somebody whom it has not
// yet heard to have left.
func TestNothingIsReadForWhoHasLeft(t *testing.T) {
	t.Parallel()
	b := setup(t)
	pgtest.Execute(t, b.conn, `
select headway.post(1, 'project_1', 'Among us');
delete from headway.member where user_id = 2`)
	if found, err := b.hub.store.messages(t.Context(), 2, "project_1", 0, page); err != nil || len(found) > 0 {
		t.Errorf("%d messages, %v", len(found), err)
	}
	if found, err := b.hub.store.shared(t.Context(), 2, 1); !errors.Is(err, pgx.ErrNoRows) {
		t.Errorf("progress %+v, %v", found, err)
	}
	if all, own, err := b.hub.store.own(t.Context(), 2, 1); !errors.Is(err, pgx.ErrNoRows) {
		t.Errorf("progress %+v, %+v, %v", all, own, err)
	}
}

// TestTheAPIAnswersWithWhatThereIs compares what is answered, in which order, and how much of it at a time: that the answers
// have the form that is described is in TestAnswersAreAsDescribed.
func TestTheAPIAnswersWithWhatThereIs(t *testing.T) {
	t.Parallel()
	b := setup(t)
	pgtest.Execute(t, b.conn, `
update headway.appuser set fullname = 'Zoe' where id = 1;
update headway.appuser set quiet_from = '22:00', quiet_until = '07:00' where id = 2;
update headway.task set position = 9 where id = 1;
insert into headway.task (id, project_id, title, position) values (4, 1, 'Launch', 10);
insert into headway.prerequisite (task_id, requires_id) values (4, 2);
select headway.complete_task(2, 2), headway.complete_task(1, 1), headway.fold();
insert into headway.message (channel, sender, content) select 'project_1', 1, 'x' from generate_series(1, 600)`)
	if status, answer := b.do(t, 4, "POST", "/api/tasks/1/reopen", `{"user_id": 1, "reason": "The wrong one"}`); status != http.StatusOK {
		t.Fatal(status, answer)
	}
	pgtest.Execute(t, b.conn, "select headway.fold()")
	numbers := func(n int) string { return strings.TrimSuffix(strings.Repeat(`[0-9]+ `, n), " ") }
	for _, c := range []struct {
		userID             int64
		method, path, body string
		field, want        string
	}{
		{4, "GET", "/api/projects/1/tasks?user_id=2", "", "title", "Profile Domain Launch"},
		{4, "GET", "/api/projects/1/tasks?user_id=2", "", "blocked_by", `\[\] \[\] \[\]`},
		{4, "GET", "/api/projects/1/tasks?user_id=3", "", "blocked_by", `\[\] \[\] \[map\[id:2 title:Profile\]\]`},
		{4, "GET", "/api/projects/1/progress", "", "fullname", "Bob Charlie Zoe"},
		{4, "GET", "/api/projects/1/people", "", "fullname", "Bob Charlie Dora Zoe"},
		{2, "GET", "/api/channels/project_1/messages", "", "seq", "551 " + numbers(48) + " 600"},
		{2, "GET", "/api/channels/project_1/messages?limit=1000", "", "seq", "101 " + numbers(498) + " 600"},
		{2, "GET", "/api/channels/project_1/messages?limit=0", "", "seq", "600"},
		{2, "GET", "/api/channels/project_1/messages?limit=-1", "", "seq", "600"},
		{2, "GET", "/api/channels/project_1/messages?after=7&limit=2", "", "seq", "8 9"},
		{2, "GET", "/api/channels/project_1/messages?before=7&limit=2", "", "seq", "5 6"},
		{1, "GET", "/api/channels/user_1/messages", "", "content", `reopened "Domain": The wrong one`},
		{2, "PATCH", "/api/account", `{"account": {"digest_after": "2 hours"}}`, "id", "2"},
		{2, "GET", "/api/account", "", "quiet_from", "22:00:00"},
		{2, "GET", "/api/account", "", "quiet_until", "07:00:00"},
		{2, "POST", "/api/read", `{"through": {"project_1": 17, "user_2": 99, "project_2": 1, "nowhere": 1}}`, "read", `map\[project_1:17 user_2:0\]`},
		{2, "POST", "/api/read", `{"through": {"project_1": 5}}`, "read", `map\[project_1:17\]`},
		{2, "POST", "/api/read", `{"through": {}}`, "read", `map\[\]`},
		{2, "POST", "/api/seen", `{"message_ids": []}`, "status", "400"},
		{2, "POST", "/api/seen", "", "status", "400"},
	} {
		_, answer := b.do(t, c.userID, c.method, c.path, c.body)
		if !strings.HasPrefix(answer, "[") {
			answer = "[" + answer + "]"
		}
		var rows []map[string]any
		if err := json.Unmarshal([]byte(answer), &rows); err != nil {
			t.Fatalf("%s %s: %s: %v", c.method, c.path, answer, err)
		}
		var got []string
		for _, row := range rows {
			got = append(got, fmt.Sprint(row[c.field]))
		}
		if all := strings.Join(got, " "); !regexp.MustCompile("^" + c.want + "$").MatchString(all) {
			t.Errorf("%s %s %s: %s is %s, want %s", c.method, c.path, c.body, c.field, all, c.want)
		}
	}
}

// TestABrowserIsToldWhatAPageMayDo asks as browsers do before a page of another origin may ask, and after it.
func TestABrowserIsToldWhatAPageMayDo(t *testing.T) {
	t.Parallel()
	const page = "https://app.example.com"
	b := setup(t, func(g *Gateway) { g.Origins, g.MaxPerPerson = []string{page}, 0 })
	token := gatewaytest.Token(t, 2, time.Now().Add(time.Hour))
	common := map[string]string{
		"Access-Control-Allow-Origin": page, "Vary": "Origin", "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff",
	}
	for _, c := range []struct {
		method, path, origin, authorization string
		status                              int
		want                                map[string]string
	}{
		{"OPTIONS", "/api/account", page, "", http.StatusNoContent, map[string]string{
			"Access-Control-Allow-Headers": "Authorization, Content-Type",
			"Access-Control-Allow-Methods": "GET, POST, PUT, PATCH",
			"Access-Control-Max-Age":       "600",
		}},
		{"OPTIONS", "/api/account", "https://elsewhere.example.com", "", http.StatusForbidden, map[string]string{"Access-Control-Allow-Origin": ""}},
		{"GET", "/api/snapshot", page, "Bearer " + token, http.StatusOK, nil},
		{"GET", "/api/snapshot", page, "", http.StatusUnauthorized, map[string]string{"WWW-Authenticate": "Bearer"}},
		{"GET", "/api/snapshot", page, token, http.StatusUnauthorized, map[string]string{"WWW-Authenticate": "Bearer"}},
		{"GET", "/api/events?ticket=" + b.ticket(t, 2), page, "", http.StatusTooManyRequests, map[string]string{"Retry-After": "30"}},
	} {
		r, err := http.NewRequestWithContext(t.Context(), c.method, b.server.URL+c.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Origin", c.origin)
		if c.authorization != "" {
			r.Header.Set("Authorization", c.authorization)
		}
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		want := maps.Clone(common)
		if c.status == http.StatusForbidden {
			clear(want)
		}
		maps.Copy(want, c.want)
		for name, value := range want {
			if got := response.Header.Get(name); got != value {
				t.Errorf("%s %s from %s: %s is %q, want %q", c.method, c.path, c.origin, name, got, value)
			}
		}
		if response.StatusCode != c.status {
			t.Errorf("%s %s from %s: %s, want %d", c.method, c.path, c.origin, response.Status, c.status)
		}
	}
}

// TestAnIntervalIsWrittenAsDocumented has the database write intervals as other clients of it like them.
func TestAnIntervalIsWrittenAsDocumented(t *testing.T) {
	t.Parallel()
	for _, style := range []string{"sql_standard", "iso_8601", "postgres_verbose"} {
		t.Run(style, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			pgtest.Execute(t, b.conn, "alter database "+b.db.Name+" set intervalstyle = "+style)
			b.hub.store.pool.Reset()
			if status, answer := b.do(t, 2, "PATCH", "/api/account", `{"account": {"digest_after": "3 days 4 hours"}}`); status != http.StatusOK {
				t.Fatalf("%d %s", status, answer)
			}
			if _, answer := b.do(t, 2, "GET", "/api/account", ""); !strings.Contains(answer, `"digest_after":"3 days 04:00:00"`) {
				t.Errorf("the page could not read %s", answer)
			}
		})
	}
}
