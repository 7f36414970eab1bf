package web

import (
	"fmt"
	"net/http"
	"testing"

	"headway/internal/pgtest"
	"headway/internal/webtest"
)

// polled has the page wait little for the first event, and poll when the test calls poll(), and not by itself. A poll is known
// by the name of what it calls: an element that is slow to read waits about as long before it reads again.
const polled = `
	const later = setTimeout;
	window.setTimeout = (act, delay, ...more) =>
		act.name === "next" ? (window.poll = act, 0) : later(act, delay === 10_000 ? 100 : delay, ...more);
	client.markRead = () => new Promise(() => {}); // it would poll, or be tried again, at a time of its own
	window.told = [];
	client.addEventListener("message", ({ detail: { message } }) => told.push(message.seq));
	client.addEventListener("snapshot", ({ detail }) => told.push(detail.anew ? "anew" : "again"));`

// holding lets no WebSocket through, and answers a request for events by itself.
func holding(events http.HandlerFunc) func(w http.ResponseWriter, r *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		switch r.URL.Path {
		case "/api/ws":
			http.Error(w, "no protocols are switched here", http.StatusForbidden)
		case "/api/events":
			events(w, r)
		default:
			return false
		}
		return true
	}
}

// TestWhereNoEventComesThroughItIsPolled has proxies in between that let no events through, in two ways.
func TestWhereNoEventComesThroughItIsPolled(t *testing.T) {
	t.Parallel()
	for name, events := range map[string]http.HandlerFunc{
		"held back": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"refused":   func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			s.between(holding(events))
			bob := s.made(t, webtest.Chromium(t), `
				<headway-progress id="progress" project="1"></headway-progress>
				<headway-tasks id="tasks" project="1"></headway-tasks>
				<headway-chat id="chat" channel="project_1"></headway-chat>`, polled, "WebSocket connection to", "ERR_", "502")
			bob.complete("Profile")
			bob.Until("nothing is asked after his own click", func() bool { return bob.percent() == "50" })
			poll := func(expected string) {
				webtest.Evaluate[any](bob.Tab, "told.splice(0), poll()")
				bob.until("it is not told "+expected, fmt.Sprintf("told.join() === %q", expected))
			}
			pgtest.Execute(t, s.conn, "select headway.post(1, 'project_1', 'one'), headway.post(1, 'project_1', 'two'), headway.complete_task(1, 3)")
			poll("again,1,2")
			bob.Shows("chat", "two")
			bob.Until("the bar does not move", func() bool { return bob.percent() == "100" })

			// What was missed is too much, or the database has less than before, as after a failover.
			pgtest.Execute(t, s.conn, "select headway.post(1, 'project_1', 'more') from generate_series(1, 500); select headway.post(1, 'project_1', 'enough')")
			poll("anew")
			bob.Shows("chat", "enough")
			pgtest.Execute(t, s.conn, `
begin; set local session_replication_role = replica;
delete from headway.message where channel = 'project_1' and seq > 2; update headway.channel set last_seq = 2 where name = 'project_1';
commit`)
			poll("anew")

			// After a while it tries again.
			s.between(nil)
			webtest.Evaluate[any](bob.Tab, "((now) => { Date.now = () => now() + 600_000; poll(); })(Date.now)")
			bob.Until("it does not connect", func() bool {
				s.mu.Lock()
				defer s.mu.Unlock()
				return s.opened > 0
			})
			bob.until("it is not connected", `client.state === "open"`)
			pgtest.Execute(t, s.conn, "select headway.post(1, 'project_1', 'pushed')")
			bob.Shows("chat", "pushed")
		})
	}
}

// TestPollingEnds closes while an answer is on its way, and has the gateway be away.
func TestPollingEnds(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.between(holding(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }))
	bob := s.made(t, webtest.Chromium(t), "", polled, "WebSocket connection to", "ERR_", "502")
	webtest.Evaluate[any](bob.Tab, `(async () => {
		const snapshot = await client.snapshot();
		let answer;
		client.snapshot = () => new Promise((resolve) => { answer = resolve; });
		poll();
		client.close();
		delete client.snapshot;
		answer(snapshot);
		setTimeout(() => { window.after = client.state; });
	})()`)
	bob.until("it goes on after it was closed", `window.after === "closed"`)
	webtest.Evaluate[any](bob.Tab, "client.connect()")
	bob.until("it does not come back", `client.state === "open"`)
	s.between(func(w http.ResponseWriter, _ *http.Request) bool {
		w.WriteHeader(http.StatusBadGateway)
		return true
	})
	webtest.Evaluate[any](bob.Tab, "poll()")
	bob.until("it takes no answer for one", `client.state === "waiting"`)
}
