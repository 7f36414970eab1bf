package web

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp/kb"
	"github.com/jackc/pgx/v5"

	"headway/internal/gatewaytest"
	"headway/internal/pgtest"
	"headway/internal/webtest"
	"headway/worker/gateway"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// site is the page as a browser sees it: a gateway, the files, and a backend that gives everybody a token. Abe, Bob and
// Charlie are customers of a project and Dora is its staff.
type site struct {
	conn    *pgx.Conn
	gateway *httptest.Server
	handler http.Handler
	address string
	config  string // what the server says of itself

	mu     sync.Mutex
	server *http.Server
	conns  map[net.Conn]struct{}
	mint   func(userID int64) string
	minted int
	opened int                                               // WebSockets
	closed bool                                              // lets no WebSocket through
	meddle func(w http.ResponseWriter, r *http.Request) bool // answers some requests itself, and says which
	events int                                               // streams of Server-Sent Events
}

func newSite(t *testing.T, change ...func(*gateway.Gateway)) *site {
	t.Helper()
	db := pgtest.New(t)
	conn := db.Conn(t)
	pgtest.Execute(t, conn, gatewaytest.People)
	s := &site{conn: conn, gateway: webtest.Gateway(t, db, change...), address: "127.0.0.1:0", conns: map[net.Conn]struct{}{}}
	s.config = `{"token_url": "token", "people": [
		{"id": 2, "name": "Bob", "role": "customer"}, {"id": 3, "name": "Charlie", "role": "customer"}, {"id": 4, "name": "Dora", "role": "staff"}
	]}`
	s.mint = func(userID int64) string { return gatewaytest.Token(t, userID, time.Now().Add(time.Hour)) }
	mux := http.NewServeMux()
	mux.Handle("/", Handler())
	mux.HandleFunc("/api/", func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		closed := s.closed && r.URL.Path == "/api/ws"
		switch r.URL.Path {
		case "/api/ws":
			s.opened++
		case "/api/events":
			s.events++
		}
		s.mu.Unlock()
		if closed {
			http.Error(w, "no protocols are switched here", http.StatusForbidden)
			return
		}
		s.gateway.Config.Handler.ServeHTTP(w, r)
	})
	mux.HandleFunc("GET /page.json", func(w http.ResponseWriter, _ *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		_, _ = w.Write([]byte(s.config))
	})
	mux.HandleFunc("POST /token", func(w http.ResponseWriter, r *http.Request) {
		var asked struct {
			UserID int64 `json:"user_id"`
		}
		if err := json.NewDecoder(r.Body).Decode(&asked); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		s.mu.Lock()
		s.minted++
		text := s.mint(asked.UserID)
		s.mu.Unlock()
		_ = json.NewEncoder(w).Encode(map[string]string{"token": text})
	})
	s.handler = mux
	s.start(t)
	t.Cleanup(s.stop)
	return s
}

// start listens, after the first time at the same address.
func (s *site) start(t *testing.T) {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", s.address)
	if err != nil {
		t.Fatal(err)
	}
	s.address = listener.Addr().String()
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		meddle := s.meddle
		s.mu.Unlock()
		if meddle == nil || !meddle(w, r) {
			s.handler.ServeHTTP(w, r)
		}
	})
	server := &http.Server{Handler: handler, ReadHeaderTimeout: webtest.Soon, ConnState: func(c net.Conn, state http.ConnState) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if state == http.StateClosed {
			delete(s.conns, c)
		} else {
			s.conns[c] = struct{}{}
		}
	}}
	s.server = server
	go func() { _ = server.Serve(listener) }()
}

// stop closes everything, WebSockets too, as a machine does that goes away.
func (s *site) stop() {
	_ = s.server.Close()
	s.cut()
}

// cut closes all connections.
func (s *site) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		_ = c.Close()
	}
	clear(s.conns)
}

// between has something between the browser and the site answer requests; nil: nothing.
func (s *site) between(meddle func(w http.ResponseWriter, r *http.Request) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.meddle = meddle
}

// holds has some requests wait until they are let go.
func (s *site) holds(is func(r *http.Request) bool) (asked <-chan struct{}, letGo func()) {
	came, answered := make(chan struct{}, 10), make(chan struct{})
	s.between(func(_ http.ResponseWriter, r *http.Request) bool {
		if is(r) {
			came <- struct{}{}
			<-answered
		}
		return false
	})
	return came, func() { close(answered) }
}

// open shows the site to somebody.
func (s *site) open(t *testing.T, browser context.Context, person string, expected ...string) *tab {
	t.Helper()
	return &tab{webtest.Open(t, browser, "http://"+s.address+"/"+person, expected...)}
}

// tab is the page, opened.
type tab struct{ *webtest.Tab }

func (v *tab) percent() string       { return v.Percent("progress") }
func (v *tab) complete(title string) { v.Complete("tasks", title) }
func (v *tab) reopen(title string)   { v.Reopen("tasks", title) }
func (v *tab) write(text string)     { v.Type(webtest.In("chat", "textarea"), text+kb.Enter) }

// leave signs out. The button moves while the preferences above it are loading.
func (v *tab) leave() {
	v.Click(`document.getElementById("who")`)
	v.until("there are no preferences", `!!document.querySelector("headway-preferences")?.shadowRoot.querySelector(".form")`)
	v.Click(`document.getElementById("leave")`)
}

// keepsBack keeps back the first answer to a request whose path ends so, which letCome lets come. held is null until there
// is such an answer. late is true once the page has taken it.
func (v *tab) keepsBack(path string) {
	webtest.Evaluate[any](v.Tab, fmt.Sprintf(`(() => {
		window.held = null;
		window.late = false;
		const real = fetch;
		window.fetch = async (url, options) => {
			const answer = await real(url, options);
			if (held || !String(url).endsWith(%q)) return answer;
			const value = await answer.json();
			await new Promise((resolve) => { window.held = resolve; });
			answer.json = async () => (setTimeout(() => { window.late = true; }), value);
			return answer;
		};
	})()`, path))
}

// letCome lets the answer come that was kept back.
func (v *tab) letCome() {
	webtest.Evaluate[any](v.Tab, "void held()")
	v.until("it does not come", "late")
}

// folded has what was completed counted, as the worker would.
func (s *site) folded(t *testing.T, is func() bool) func() bool {
	return func() bool {
		pgtest.Execute(t, s.conn, "select headway.fold()")
		return is()
	}
}

// does waits until the database says so.
func (s *site) does(t *testing.T, v *tab, what, condition string) {
	t.Helper()
	v.Until(what, func() bool {
		var is bool
		if err := s.conn.QueryRow(t.Context(), "select coalesce((select "+condition+"), false)").Scan(&is); err != nil {
			t.Fatal(err)
		}
		return is
	})
}

// clientTold has clients in the page, with nobody to connect to, told events by the script, and returns what it returns, as JSON.
func clientTold(v *tab, script string) string {
	webtest.Evaluate[any](v.Tab, `(async () => {
		const { Headway } = await import("/headway.js");
		const told = (...events) => new Promise((resolve) => {
			const snapshot = {
				user_id: 2, fullname: "Bob",
				channels: [{ channel: "project_1", project_id: 1, last_seq: 7, read_seq: 7, unread: 0, muted: false }],
				projects: [{ project_id: 1, name: "Website", role: "customer", version: 5, shared: { done: 1, total: 2 }, progress: { done: 1, total: 4, percent: 25 } }],
			};
			globalThis.WebSocket = class {
				constructor() { queueMicrotask(() => this.onopen()); }
				close() {}
				send() {
					for (const event of [{ type: "snapshot", snapshot }, ...events]) this.onmessage({ data: JSON.stringify(event) });
					resolve(client);
					client.close();
				}
			};
			const client = new Headway({ token: async () => "x" });
			client.connect();
		});
		window.told = JSON.stringify(await (async () => {`+script+`})());
	})()`)
	v.Until("the client was not told", func() bool { return webtest.Evaluate[bool](v.Tab, `"told" in window`) })
	return webtest.Evaluate[string](v.Tab, `window.told`)
}
