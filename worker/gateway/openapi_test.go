package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"headway/internal/gatewaytest"
	"headway/internal/pgtest"
)

// api is openapi.json, closed: what it does not mention is wrong.
type api struct {
	document map[string]any
	compiler *jsonschema.Compiler
}

func readAPI(t *testing.T) *api {
	t.Helper()
	parsed, err := jsonschema.UnmarshalJSON(bytes.NewReader(description))
	if err != nil {
		t.Fatal(err)
	}
	a := &api{document: parsed.(map[string]any), compiler: jsonschema.NewCompiler()}
	closeObjects(a.document, false)
	a.compiler.AssertFormat()
	if err := a.compiler.AddResource("openapi.json", a.document); err != nil {
		t.Fatal(err)
	}
	return a
}

// closeObjects lets no object have a property that its schema does not name. A client should not be that strict, so the
// document is not. fixed: the schema is part of another, or closed where it is used.
func closeObjects(node any, fixed bool) {
	switch node := node.(type) {
	case map[string]any:
		target, _ := node["$ref"].(string)
		_, object := node["properties"].(map[string]any)
		_, composed := node["allOf"]
		if !fixed && (object || composed || strings.HasPrefix(target, "#/components/schemas/")) {
			node["unevaluatedProperties"] = false
		}
		for key, child := range node {
			if key != "schemas" {
				closeObjects(child, key == "allOf")
				continue
			}
			for _, schema := range child.(map[string]any) {
				closeObjects(schema, true)
			}
		}
	case []any:
		for _, child := range node {
			closeObjects(child, fixed)
		}
	}
}

// at returns what a pointer (RFC 6901) in the document leads to, across references, and where that is. Nil: nothing.
func (a *api) at(tokens ...string) (node map[string]any, pointer string) {
	node, pointer = a.document, "#"
	for _, token := range tokens {
		node, _ = node[token].(map[string]any)
		pointer += "/" + url.PathEscape(strings.ReplaceAll(token, "/", "~1"))
		if target, ok := node["$ref"].(string); ok && strings.HasPrefix(target, "#/components/responses/") {
			node, pointer = a.at(strings.Split(target, "/")[1:]...)
		}
	}
	return node, pointer
}

// check reports whether a text is as the schema at a pointer says.
func (a *api) check(t *testing.T, what, pointer string, text []byte) {
	t.Helper()
	schema, err := a.compiler.Compile("openapi.json" + pointer)
	if err != nil {
		t.Fatal(err)
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err == nil {
		err = schema.Validate(value)
	}
	if err != nil {
		t.Errorf("%s: %s\nis not as described: %v", what, text, err)
	}
}

// operations returns the operations as patterns of [http.ServeMux].
func (a *api) operations() []string {
	var found []string
	paths, _ := a.at("paths")
	for path, item := range paths {
		for method := range item.(map[string]any) {
			if method != "parameters" {
				found = append(found, strings.ToUpper(method)+" "+path)
			}
		}
	}
	return found
}

func TestTheDescriptionNamesWhatIsServed(t *testing.T) {
	t.Parallel()
	a := readAPI(t)
	described, served := a.operations(), slices.Collect(maps.Keys((&Gateway{}).routes()))
	slices.Sort(described)
	slices.Sort(served)
	if !slices.Equal(described, served) {
		t.Errorf("described:\n%s\nserved:\n%s", strings.Join(described, "\n"), strings.Join(served, "\n"))
	}
	schemas, _ := a.at("components", "schemas")
	for name := range schemas {
		_, pointer := a.at("components", "schemas", name)
		if _, err := a.compiler.Compile("openapi.json" + pointer); err != nil {
			t.Error(err)
		}
	}
}

func TestAnswersAreAsDescribed(t *testing.T) {
	t.Parallel()
	a, b := readAPI(t), setup(t)
	pgtest.Execute(t, b.conn, `
update headway.appuser set email = 'bob@example.com', quiet_from = '22:00', quiet_until = '07:00', digest_after = '1 day' where id = 2;
update headway.task set detail = 'Which one?', due_at = '2027-01-01' where id = 1;
insert into headway.task (id, project_id, title) values (4, 1, 'Launch');
insert into headway.task (id, project_id, title, due_at) values
  (5, 1, 'Some day', 'infinity'), (6, 1, 'Long ago', '-infinity'), (7, 1, 'In Rome', '0044-03-15 BC'), (8, 1, 'In space', '20000-01-01');
insert into headway.prerequisite (task_id, requires_id) values (4, 1);
select headway.complete_task(2, 1), headway.fold(), headway.post(1, 'project_1', 'Hello');`)

	answered := map[string]bool{}
	for _, c := range []struct {
		userID             int64
		pattern, url, body string
		status             int
	}{
		{0, "GET /api/openapi.json", "/api/openapi.json", "", 200},
		{2, "GET /api/snapshot", "/api/snapshot", "", 200},
		{4, "GET /api/snapshot", "/api/snapshot", "", 200},
		{0, "GET /api/snapshot", "/api/snapshot", "", 401},
		{99, "GET /api/snapshot", "/api/snapshot", "", 404},
		{2, "GET /api/account", "/api/account", "", 200},
		{3, "GET /api/account", "/api/account", "", 200},
		{2, "GET /api/projects/{id}/tasks", "/api/projects/1/tasks", "", 200},
		{4, "GET /api/projects/{id}/tasks", "/api/projects/1/tasks?user_id=1", "", 200},
		{2, "GET /api/projects/{id}/tasks", "/api/projects/x/tasks", "", 400},
		{4, "GET /api/projects/{id}/progress", "/api/projects/1/progress", "", 200},
		{4, "GET /api/projects/{id}/people", "/api/projects/1/people", "", 200},
		{2, "GET /api/channels/{name}/messages", "/api/channels/project_1/messages", "", 200},
		{4, "GET /api/channels/{name}/messages", "/api/channels/project_1_staff/messages?after=0&before=9&limit=5", "", 200},
		{2, "GET /api/channels/{name}/messages", "/api/channels/project_1/messages?limit=x", "", 400},
		{2, "POST /api/tasks/{id}/complete", "/api/tasks/4/complete", "", 409},
		{2, "POST /api/tasks/{id}/complete", "/api/tasks/1/complete", "", 200},
		{2, "POST /api/tasks/{id}/complete", "/api/tasks/2/complete", `{"user_id": 3}`, 403},
		{2, "POST /api/tasks/{id}/complete", "/api/tasks/3/complete", "", 404},
		{4, "POST /api/tasks/{id}/reopen", "/api/tasks/1/reopen", `{"user_id": 2, "reason": "The wrong one"}`, 200},
		{2, "POST /api/channels/{name}/messages", "/api/channels/project_1/messages", `{"content": "Hi"}`, 200},
		{2, "POST /api/channels/{name}/messages", "/api/channels/project_1/messages", `{}`, 400},
		{2, "POST /api/channels/{name}/messages", "/api/channels/project_2/messages", `{"content": "Hi"}`, 404},
		{2, "POST /api/channels/{name}/messages", "/api/channels/project_1/messages", `{"content": "a \u0000"}`, 422},
		{2, "POST /api/channels/{name}/read", "/api/channels/project_1/read", `{"through_seq": 1}`, 200},
		{2, "POST /api/channels/{name}/read", "/api/channels/project_2/read", "", 404},
		{2, "POST /api/read", "/api/read", `{"through": {"project_1": 1}}`, 200},
		{2, "POST /api/read", "/api/read", `{"through": null}`, 400},
		{2, "POST /api/read", "/api/read", `{"through": {"\u0000": 1}}`, 422},
		{2, "POST /api/seen", "/api/seen", `{"message_ids": [1, 2]}`, 200},
		{2, "PUT /api/channels/{name}/muted", "/api/channels/project_1/muted", `{"muted": true}`, 200},
		{2, "PATCH /api/account", "/api/account", `{"account": {"digest_after": null, "time_zone": "Europe/Lisbon", "quiet_from": "23:00", "quiet_until": "06:30"}}`, 200},
		{2, "PATCH /api/account", "/api/account", `{"account": {"time_zone": "Mars"}}`, 422},
		{2, "PATCH /api/account", "/api/account", `{"account": {"email": "bob@example.com"}}`, 422},
		{2, "POST /api/ticket", "/api/ticket", "", 200},
		{0, "POST /api/ticket", "/api/ticket", "", 401},
		{0, "GET /api/events", "/api/events?ticket=x", "", 401},
		{0, "GET /api/ws", "/api/ws", "", 426},
	} {
		what := fmt.Sprintf("%s as %d", c.pattern, c.userID)
		method, path, _ := strings.Cut(c.pattern, " ")
		method = strings.ToLower(method)
		status, kind, text := b.ask(t, c.userID, method, c.url, c.body)
		if status != c.status {
			t.Errorf("%s: %d rather than %d: %s", what, status, c.status, text)
			continue
		}
		content, pointer := a.at("paths", path, method, "responses", fmt.Sprint(status), "content")
		if content[kind] == nil {
			t.Errorf("%s: %d with %s is not described", what, status, kind)
			continue
		}
		if kind != "text/plain" {
			a.check(t, what, pointer+"/"+url.PathEscape(strings.ReplaceAll(kind, "/", "~1"))+"/schema", text)
		}
		if status == http.StatusOK {
			answered[c.pattern] = true
			if c.body != "" {
				_, pointer := a.at("paths", path, method, "requestBody", "content", "application/json", "schema")
				a.check(t, what+", the request", pointer, []byte(c.body))
			}
		}
	}
	for _, pattern := range a.operations() {
		if stream := pattern == "GET /api/ws" || pattern == "GET /api/events"; !stream && !answered[pattern] {
			t.Errorf("%s was not asked", pattern)
		}
	}
}

func TestEventsAreAsDescribed(t *testing.T) {
	t.Parallel()
	a := readAPI(t)
	b := setup(t)
	_, pointer := a.at("components", "schemas", "Event")
	seen := map[string]bool{}
	// until reads a client's events until one of each type has come, and compares each with its description.
	until := func(c *client, want ...string) {
		t.Helper()
		for len(want) > 0 {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			_, text, err := c.ws.Read(ctx)
			cancel()
			if err != nil {
				t.Fatalf("waiting for %v: %v", want, err)
			}
			a.check(t, "an event", pointer, text)
			var e told
			if err := json.Unmarshal(text, &e); err != nil {
				t.Fatal(err)
			}
			seen[e.Type] = true
			want = slices.DeleteFunc(want, func(kind string) bool { return kind == e.Type })
		}
	}

	bob, dora := b.dial(t, 2, nil), b.dial(t, 4, nil)
	until(bob, "snapshot")
	until(dora, "snapshot")
	pgtest.Execute(t, b.conn, "select headway.complete_task(1, 2), headway.complete_task(2, 2); select headway.fold()")
	until(bob, "progress")
	until(dora, "progress", "message") // the message in the staff's channel: what was completed
	pgtest.Execute(t, b.conn, "select headway.post(1, 'project_1', 'Hello'), headway.mark_read(2, 'project_1')")
	until(bob, "message", "read")
	pgtest.Execute(t, b.conn, "delete from headway.member where user_id = 2")
	until(bob, "left")
	pgtest.Execute(t, b.conn, "insert into headway.member (project_id, user_id, role) values (1, 2, 'customer')")
	until(bob, "joined")

	for want, has := range map[string]*positions{
		"resumed": {Channels: map[string]int64{"broadcast": 0, "user_3": 0, "project_1": 0}, Projects: map[int64]int64{1: 1}},
		"resync":  {Channels: map[string]int64{"broadcast": 1000}, Projects: map[int64]int64{}},
	} {
		greeting, err := json.Marshal(hello{Token: gatewaytest.Token(t, 3, time.Now().Add(time.Hour)), Position: has})
		if err != nil {
			t.Fatal(err)
		}
		_, first := a.at("components", "schemas", "Hello")
		a.check(t, "the first message", first, greeting)
		charlie := b.dial(t, 3, has)
		until(charlie, want)
		_ = charlie.ws.CloseNow()
	}

	mapping, _ := a.at("components", "schemas", "Event", "discriminator", "mapping")
	seen["beat"] = true // which TestBeatsAreAsDescribed waits for
	for kind := range mapping {
		if !seen[kind] {
			t.Errorf("no %s came", kind)
		}
	}
	if len(seen) != len(mapping) {
		t.Errorf("%v came, described are %v", slices.Collect(maps.Keys(seen)), slices.Collect(maps.Keys(mapping)))
	}
}

// TestBeatsAreAsDescribed waits for one over each transport.
func TestBeatsAreAsDescribed(t *testing.T) {
	t.Parallel()
	a := readAPI(t)
	b := setup(t, func(g *Gateway) { g.PingInterval = 5 * time.Second })
	_, event := a.at("components", "schemas", "Event")
	_, positions := a.at("components", "schemas", "Positions")
	stream := b.listen(t, b.ticket(t, 2), "")
	for beat := false; !beat; {
		if !stream.lines.Scan() {
			t.Fatal("the stream ends before a beat")
		}
		switch field, value, _ := strings.Cut(stream.lines.Text(), ": "); field {
		case "data":
			a.check(t, "an event", event, []byte(value))
			beat = strings.Contains(value, `"beat"`)
		case "id":
			a.check(t, "the id of an event", positions, []byte(value))
		}
	}
	for bob := b.dial(t, 2, nil); ; {
		_, text, err := bob.ws.Read(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		a.check(t, "an event", event, text)
		if strings.Contains(string(text), `"beat"`) {
			return
		}
	}
}

// ticket exchanges a token for one.
func (b *bench) ticket(t *testing.T, userID int64) string {
	t.Helper()
	status, answer := b.do(t, userID, "POST", "/api/ticket", "")
	var issued struct{ Ticket string }
	if err := json.Unmarshal([]byte(answer), &issued); err != nil || status != http.StatusOK {
		t.Fatalf("%d %s: %v", status, answer, err)
	}
	return issued.Ticket
}
