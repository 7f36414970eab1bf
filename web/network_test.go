package web

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"headway/internal/gatewaytest"
	"headway/internal/pgtest"
	"headway/internal/webtest"
	"headway/worker/gateway"
)

// portal answers everything as those who want a sign-in to a Wi-Fi first.
func portal(w http.ResponseWriter, r *http.Request) bool {
	if !strings.HasPrefix(r.URL.Path, "/api/") {
		return false
	}
	w.Header().Set("Content-Type", "text/html")
	_, _ = w.Write([]byte("<!doctype html><title>Sign in to the Wi-Fi</title>"))
	return true
}

// hasty makes a tenth of a second of three seconds that a request may take.
const hasty = `const timeout = AbortSignal.timeout; AbortSignal.timeout = (ms) => timeout.call(AbortSignal, ms / 30);`

// recorded has the page keep the delays it sets, in milliseconds.
const recorded = `window.delays = []; const later = setTimeout; window.setTimeout = (act, delay, ...more) => (delays.push(delay), later(act, delay, ...more));`

func TestAPageOfSomebodyElseIsNoAnswer(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	bob := s.open(t, webtest.Chromium(t), "#2", "WebSocket connection to", "ERR_", "200")
	bob.Shows("title", "Website")
	s.between(portal)
	bob.write("important")
	bob.until("it is taken for sent", webtest.In("chat", "textarea")+`.value.trim() === "important"`)
	bob.Shows("chat", "cannot be reached")
	bob.complete("Domain")
	bob.Shows("tasks", "cannot be reached")
	if told := webtest.Evaluate[string](bob.Tab, webtest.In("tasks", "[role=status]")+`.textContent`); told != "" {
		t.Errorf("a screen reader hears %q", told)
	}
}

func TestAPageOfSomebodyElseIsNoTicket(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	bob := s.made(t, webtest.Chromium(t), "", "", "WebSocket connection to", "ERR_", "200")
	s.between(portal)
	s.cut()
	bob.until("it goes on without a pause", `client.state === "waiting"`)
}

func TestWhatIsSwallowedIsGivenUp(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	bob := s.made(t, webtest.Chromium(t), `<headway-tasks id="tasks" project="1"></headway-tasks><headway-chat id="chat" channel="project_1"></headway-chat>`, hasty, "ERR_")
	bob.Shows("tasks", "Domain")
	over := make(chan struct{})
	t.Cleanup(func() { close(over) })
	var read, sent atomic.Bool
	s.between(func(_ http.ResponseWriter, r *http.Request) bool {
		read.Store(read.Load() || r.Method == http.MethodGet)
		sent.Store(sent.Load() || r.Method == http.MethodPost)
		select {
		case <-r.Context().Done():
		case <-over:
		}
		return true
	})
	bob.write("important")
	pgtest.Execute(t, s.conn, "select headway.complete_task(1, 1); select headway.fold()")
	bob.Until("nothing is asked for", func() bool { return read.Load() && sent.Load() })
	s.between(nil)
	bob.Shows("tasks", "Done")
	bob.until("it is being sent for ever", webtest.In("chat", ".send")+`.ariaDisabled === "false"`)
}

func TestATicketThatNeverComesIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	bob := s.made(t, webtest.Chromium(t), `<headway-chat id="chat" channel="project_1"></headway-chat>`, hasty, "WebSocket connection to", "ERR_", "502")
	over := make(chan struct{})
	var asked atomic.Bool
	t.Cleanup(func() { close(over) })
	s.between(func(w http.ResponseWriter, r *http.Request) bool {
		switch r.URL.Path {
		case "/api/ws":
			http.Error(w, "no", http.StatusBadGateway)
			return true
		case "/api/ticket":
			asked.Store(true)
			select {
			case <-r.Context().Done():
			case <-over:
			}
			return true
		}
		return false
	})
	s.cut()
	bob.Until("no ticket is asked for", asked.Load)
	s.between(nil)
	pgtest.Execute(t, s.conn, "select headway.post(1, 'project_1', 'back')")
	bob.Shows("chat", "back")
}

// TestAProxySwallowsWebSockets has one in between that answers their handshakes with nothing at all, rather than with a refusal.
func TestAProxySwallowsWebSockets(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	over := make(chan struct{})
	t.Cleanup(func() { close(over) })
	s.between(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/api/ws" {
			return false
		}
		select {
		case <-r.Context().Done():
		case <-over:
		}
		return true
	})
	bob := s.made(t, webtest.Chromium(t), `<headway-chat id="chat" channel="project_1"></headway-chat>`, `
		const later = setTimeout;
		window.setTimeout = (act, delay, ...more) => later(act, delay === 10_000 ? 100 : delay, ...more);`, "WebSocket connection to")
	pgtest.Execute(t, s.conn, "select headway.post(1, 'project_1', 'pushed')")
	bob.Shows("chat", "pushed")
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.events == 0 {
		t.Error("it does not listen to Server-Sent Events")
	}
}

func TestWhatIsTooMuchForNowIsReadLater(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	refused := map[string]bool{}
	s.meddle = func(w http.ResponseWriter, r *http.Request) bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		if r.Method != http.MethodGet || !strings.HasPrefix(r.URL.Path, "/api/") || r.URL.Path == "/api/ws" || refused[r.URL.Path] {
			return false
		}
		refused[r.URL.Path] = true
		http.Error(w, "slow down", http.StatusTooManyRequests)
		return true
	}
	pgtest.Execute(t, s.conn, "select headway.post(1, 'project_1', 'Hello')")
	bob := s.open(t, webtest.Chromium(t), "#2", "429")
	bob.Shows("tasks", "Domain")
	bob.Shows("chat", "Hello")
}

// TestATokenIsUsedForAsLongAsItIsGood has the backend be away when the next one is due, which is soon rather than in most of an hour.
func TestATokenIsUsedForAsLongAsItIsGood(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	bob := s.made(t, webtest.Chromium(t), `<headway-chat id="chat" channel="project_1"></headway-chat>`, `
		const later = setTimeout;
		window.setTimeout = (act, delay, ...more) => later(act, delay > 600_000 ? 1_000 : delay, ...more);
		window.asked = 0;
		window.client = new Headway({ token: async () => {
			if (++asked > 1) throw new Error("away");
			return tokens[2];
		} });`)
	bob.until("no other token is asked for", "asked > 1")
	bob.write("important")
	s.does(t, bob, "it is not sent", "exists (select from headway.message where content = 'important')")
}

// TestWhoHasSignedOutSendsNothing has nobody be signed in any more when the next token is due: the one before is good for most of
// an hour.
func TestWhoHasSignedOutSendsNothing(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	bob := s.made(t, webtest.Chromium(t), "", `
		const later = setTimeout;
		window.setTimeout = (act, delay, ...more) => later(act, delay > 600_000 ? 1_000 : delay, ...more);
		window.client = new Headway({ token: async () => window.left ? null : tokens[2] });`, "401")
	webtest.Evaluate[any](bob.Tab, `window.left = true`)
	bob.until("it is not told", `client.state === "unauthorized"`)
	webtest.Evaluate[any](bob.Tab, `void client.post("project_1", "Hello").then(() => { window.answer = "sent"; }, (error) => { window.answer = String(error.status); })`)
	bob.until("there is no answer", `"answer" in window`)
	if answer := webtest.Evaluate[string](bob.Tab, "answer"); answer != "401" {
		t.Errorf("what is posted then is %s", answer)
	}
}

// TestWhoIsOneTooManyComesBackLater has connections end for several reasons, and looks at the pause.
func TestWhoIsOneTooManyComesBackLater(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	got := clientTold(s.open(t, webtest.Chromium(t), ""), `
		const later = setTimeout;
		const pause = (code) => new Promise((resolve) => {
			let closed = false;
			globalThis.setTimeout = (act, delay) => (closed && resolve(delay), later(act, delay));
			globalThis.WebSocket = class {
				constructor() { queueMicrotask(() => { this.onopen(); closed = true; this.onclose({ code }); }); }
				close() {}
				send() {}
			};
			new Headway({ token: async () => "token" }).connect();
		}).finally(() => { globalThis.setTimeout = later; });
		const stopping = await pause(1012), tooMany = await pause(4429);
		return [stopping < 5_000, tooMany >= 15_000 && tooMany < 45_000];`)
	if got != "[true,true]" {
		t.Errorf("the pauses are right: %s", got)
	}
}

// TestWhatWentWrongBeforeIsForgotten has ten connections work, and each end with a token that is refused.
func TestWhatWentWrongBeforeIsForgotten(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	got := clientTold(s.open(t, webtest.Chromium(t), ""), `
		const later = setTimeout, pauses = [], snapshot = { user_id: 2, fullname: "Bob", channels: [], projects: [] };
		let opened = 0, closing = false;
		const client = new Headway({ token: async () => "token" });
		await new Promise((resolve) => {
			globalThis.setTimeout = (act, delay) => (closing && pauses.push(delay), later(act, closing ? 0 : delay));
			globalThis.WebSocket = class {
				constructor() { queueMicrotask(() => this.onopen()); }
				close() {}
				send() {
					this.onmessage({ data: JSON.stringify({ type: "snapshot", snapshot }) });
					if (++opened === 10) return resolve();
					queueMicrotask(() => { closing = true; this.onclose({ code: 4401 }); closing = false; });
				}
			};
			client.addEventListener("state", ({ detail }) => detail === "unauthorized" && resolve());
			client.connect();
		}).finally(() => { globalThis.setTimeout = later; client.close(); });
		return [opened, Math.max(...pauses) < 1_000];`)
	if got != "[10,true]" {
		t.Errorf("how many work, and whether the pauses are short: %s", got)
	}
}

// TestAPositionIsPutIntoAURLUnlessItIsLong has no WebSocket come through any more, where somebody has few channels or many.
func TestAPositionIsPutIntoAURLUnlessItIsLong(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	got := clientTold(s.open(t, webtest.Chromium(t), ""), `
		const later = setTimeout;
		const opened = (channels) => new Promise((resolve) => {
			const snapshot = { user_id: 2, fullname: "Bob", projects: [],
				channels: Array.from({ length: channels }, (_, i) => ({ channel: "project_" + (i + 1), last_seq: 7, read_seq: 7, unread: 0, muted: false })) };
			let first = true;
			globalThis.setTimeout = (act, delay) => later(act, delay < 5_000 ? 0 : delay);
			globalThis.fetch = async () => new Response('{"ticket": "one"}');
			globalThis.WebSocket = class {
				constructor() {
					queueMicrotask(() => {
						if (first) this.onmessage({ data: JSON.stringify({ type: "snapshot", snapshot }) });
						first = false;
						this.onclose({ code: 1006 });
					});
				}
				close() {}
			};
			globalThis.EventSource = class {
				constructor(address) { resolve(address); }
				close() {}
			};
			const client = new Headway({ token: async () => "token" });
			client.connect();
		}).finally(() => { globalThis.setTimeout = later; });
		const few = await opened(1), many = await opened(1_000);
		return [few.searchParams.get("position"), few.searchParams.get("ticket"), many.searchParams.get("position"), many.searchParams.get("ticket")];`)
	if want := `["{\"channels\":{\"project_1\":7},\"projects\":{}}","one",null,"one"]`; got != want {
		t.Errorf("the addresses have %.300s", got)
	}
}

// TestAClockThatIsAheadAsksForFewTokens has each seem to have expired.
func TestAClockThatIsAheadAsksForFewTokens(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	bob := s.made(t, webtest.Chromium(t), "", recorded+`const now = Date.now; Date.now = () => now() + 2 * 3600_000;`)
	bob.until("the pause is always the same", "delays.includes(5_000) && delays.includes(10_000)")
}

func TestAPageWorksWithoutStorage(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.config = "{}"
	s.meddle = func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/page.js" {
			return false
		}
		content, err := files.ReadFile("page.js")
		if err != nil {
			t.Error(err)
		}
		w.Header().Set("Content-Type", "text/javascript")
		// What Chromium does where all cookies are blocked.
		_, _ = fmt.Fprintf(w, `Object.defineProperty(globalThis, "sessionStorage", { get() { throw new DOMException("Access is denied for this document.", "SecurityError"); } });%s`, content)
		return true
	}
	bob := s.open(t, webtest.Chromium(t), "")
	bob.until("nobody can sign in", `!document.getElementById("sign-in").hidden`)
	webtest.Evaluate[any](bob.Tab, fmt.Sprintf(`(document.getElementById("token").value = %q, document.getElementById("token-form").requestSubmit())`,
		gatewaytest.Token(t, 2, time.Now().Add(time.Hour))))
	bob.Shows("title", "Website")
	bob.leave()
	bob.until("nobody can leave", `!document.getElementById("sign-in").hidden`)
}

// TestAProxyLetsNoWebSocketThrough has a page listen to Server-Sent Events where nothing else comes through, and to a
// WebSocket as soon as one does.
func TestAProxyLetsNoWebSocketThrough(t *testing.T) {
	t.Parallel()
	var c gatewaytest.Clock
	s := newSite(t, func(g *gateway.Gateway) { g.Now = c.Now })
	s.mint = func(userID int64) string { return gatewaytest.Token(t, userID, c.Now().Add(time.Hour)) }
	s.closed = true
	bob := s.open(t, webtest.Chromium(t), "#2", "WebSocket connection to", "ERR_", "401")
	bob.Shows("title", "Website")
	bob.write("Hello")
	bob.Shows("chat", "Hello")
	bob.complete("Domain")
	bob.Until("the bar does not move", s.folded(t, func() bool { return bob.percent() == "50" }))

	// The stream ends with its token, and goes on with the next where it was.
	c.Forward(2 * time.Hour)
	pgtest.Execute(t, s.conn, "select headway.post(1, 'project_1', 'one'); select headway.post(1, 'project_1', 'two')")
	bob.Shows("chat", "two")
	streams := func() (opened, events int) { s.mu.Lock(); defer s.mu.Unlock(); return s.opened, s.events }
	bob.Until("the stream does not end", func() bool { _, n := streams(); return n >= 2 })
	pgtest.Execute(t, s.conn, "select headway.post(1, 'project_1', 'three')")
	bob.Shows("chat", "three")
	said := bob.Text("chat")
	for _, text := range []string{"Hello", "one", "two", "three"} {
		if n := strings.Count(said, text); n != 1 {
			t.Errorf("%q is shown %d times", text, n)
		}
	}

	s.mu.Lock()
	s.closed = false
	s.mu.Unlock()
	_, before := streams()
	c.Forward(2 * time.Hour)
	pgtest.Execute(t, s.conn, "select headway.post(1, 'project_1', 'four')")
	bob.Shows("chat", "four")
	bob.Until("the page is not connected", func() bool { return bob.Text("state") == "" })
	if _, after := streams(); after != before {
		t.Errorf("%d streams were opened where a WebSocket comes through", after-before)
	}
}
