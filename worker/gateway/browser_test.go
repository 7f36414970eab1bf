package gateway

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	osexec "os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/cdproto/audits"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"headway/internal/pgtest"
	"headway/web"
)

// soon is how long a browser may take for something on a machine that does much else. All waits end with a condition.
const soon = 60 * time.Second

// site is the page as a browser sees it: the gateway, the files, and a backend that gives everybody a token.
type site struct {
	*bench
	handler http.Handler
	address string

	mu     sync.Mutex
	server *http.Server
	conns  map[net.Conn]struct{}
	mint   func(userID int64) string
	minted int
}

func newSite(t *testing.T, b *bench) *site {
	t.Helper()
	s := &site{bench: b, address: "127.0.0.1:0", conns: map[net.Conn]struct{}{}}
	s.mint = func(userID int64) string { return token(t, userID, time.Now().Add(time.Hour)) }
	mux := http.NewServeMux()
	mux.Handle("/", web.Handler())
	mux.Handle("/api/", b.Handler())
	mux.HandleFunc("GET /page.json", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"token_url": "token", "people": [
			{"id": 2, "name": "Bob", "role": "customer"}, {"id": 3, "name": "Charlie", "role": "customer"}, {"id": 4, "name": "Dora", "role": "staff"}
		]}`))
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
	server := &http.Server{Handler: s.handler, ReadHeaderTimeout: soon, ConnState: func(c net.Conn, state http.ConnState) {
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
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		_ = c.Close()
	}
	clear(s.conns)
}

// chromium starts a browser without a window.
func chromium(t *testing.T) context.Context {
	t.Helper()
	var path string
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if found, err := osexec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	if path == "" {
		t.Fatal("the test needs a browser: apt-get install chromium")
	}
	options := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]),
		chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.UserDataDir(t.TempDir()),
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true), chromedp.Flag("lang", "en-GB"),
		chromedp.WSURLReadTimeout(soon),
	)
	allocator, stop := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(stop)
	browser, closeBrowser := chromedp.NewContext(allocator)
	t.Cleanup(closeBrowser)
	if err := chromedp.Do(browser); err != nil {
		t.Fatal(err)
	}
	return browser
}

// tab is a page that somebody has open, and what the browser had to complain about in it.
type tab struct {
	t   *testing.T
	ctx context.Context

	mu       sync.Mutex
	problems []string
}

// open shows the site to somebody. Everything that goes wrong in the page fails the test in the end, unless some of the
// words are in it.
func (s *site) open(t *testing.T, browser context.Context, person string, expected ...string) *tab {
	t.Helper()
	ctx, closeTab := chromedp.NewContext(browser)
	t.Cleanup(closeTab)
	v := &tab{t: t, ctx: ctx}
	if err := chromedp.Do(ctx); err != nil {
		t.Fatal(err)
	}
	err := chromedp.Listen(ctx, func(event any) {
		switch e := event.(type) {
		case *runtime.EventExceptionThrown:
			v.complain("exception", e.ExceptionDetails)
		case *runtime.EventConsoleAPICalled:
			if e.Type == "error" || e.Type == "warning" {
				v.complain("console", e.Args)
			}
		case *log.EventEntryAdded:
			if e.Entry.Level == "error" || e.Entry.Level == "warning" {
				v.complain("log", e.Entry)
			}
		case *audits.EventIssueAdded:
			if e.Issue.Code == "ContentSecurityPolicyIssue" {
				v.complain("policy", e.Issue)
			}
		case *page.EventJavascriptDialogOpening:
			v.complain("dialog", e.Message)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	call(v, audits.Enable, cdp.Empty{})
	v.focus(true)
	v.do(chromedp.EmulateViewport(1280, 1000), chromedp.Navigate("http://"+s.address+"/"+person))
	t.Cleanup(func() {
		v.mu.Lock()
		defer v.mu.Unlock()
		for _, p := range v.problems {
			if !slices.ContainsFunc(expected, func(word string) bool { return strings.Contains(p, word) }) {
				t.Errorf("the browser of %s complains: %s", person, p)
			}
		}
	})
	return v
}

func (v *tab) complain(kind string, about any) {
	text, _ := json.Marshal(about)
	v.mu.Lock()
	defer v.mu.Unlock()
	v.problems = append(v.problems, kind+" "+string(text))
}

func (v *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	v.t.Helper()
	ctx, cancel := context.WithTimeout(v.ctx, soon)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		v.t.Fatal(err)
	}
}

// evaluate returns what an expression is in the page.
func evaluate[T any](v *tab, expression string) T {
	v.t.Helper()
	ctx, cancel := context.WithTimeout(v.ctx, soon)
	defer cancel()
	found, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		v.t.Fatal(err)
	}
	return found
}

// call has the browser do something that a page cannot.
func call[P, R any](v *tab, command cdp.Command[P, R], params P) R {
	v.t.Helper()
	ctx, cancel := context.WithTimeout(v.ctx, soon)
	defer cancel()
	result, err := chromedp.Call(ctx, command, params)
	if err != nil {
		v.t.Fatal(err)
	}
	return result
}

// focus has the page believe that somebody is at its window, or leaves it to the browser to say.
func (v *tab) focus(is bool) {
	v.t.Helper()
	call(v, emulation.SetFocusEmulationEnabled, emulation.SetFocusEmulationEnabledParams{Enabled: is})
}

// text is what an element shows, with what is in its shadow.
func (v *tab) text(id string) string {
	v.t.Helper()
	return evaluate[string](v, fmt.Sprintf(`(() => {
		const found = document.getElementById(%q);
		const inner = (root) => [...root.children].filter((c) => c.tagName !== "STYLE").map((c) => c.innerText).join("\n");
		return found.hidden ? "" : found.shadowRoot ? inner(found.shadowRoot) : found.innerText;
	})()`, id))
}

// shows waits until an element shows something.
func (v *tab) shows(id, want string) {
	v.t.Helper()
	v.until(id+" does not show "+want, func() bool { return strings.Contains(v.text(id), want) })
}

// percent is how far the bar is, as a screen reader says it.
func (v *tab) percent() string {
	v.t.Helper()
	return evaluate[string](v, `document.getElementById("progress").shadowRoot.querySelector("[role=progressbar]")?.ariaValueNow ?? ""`)
}

func (v *tab) until(what string, is func() bool) {
	v.t.Helper()
	pgtest.Eventually(v.t, soon, is, "%s", what)
}

// in is an element in the shadow of another.
func in(id, selector string) string {
	return fmt.Sprintf("document.getElementById(%q).shadowRoot.querySelector(%q)", id, selector)
}

// click waits for an element and clicks on it as a mouse does.
func (v *tab) click(path string) {
	v.t.Helper()
	v.do(chromedp.Click(chromedp.JSPath(path)))
}

// write types a message and sends it.
func (v *tab) write(text string) {
	v.t.Helper()
	v.do(chromedp.SendKeys(chromedp.JSPath(in("chat", "textarea")), text+kb.Enter))
}

// complete ticks a task off, with the keyboard; reopen takes the tick away.
func (v *tab) complete(title string) { v.t.Helper(); v.tick(title, "!") }
func (v *tab) reopen(title string)   { v.t.Helper(); v.tick(title, "") }

func (v *tab) tick(title, not string) {
	v.t.Helper()
	v.until("there is no such task "+title, func() bool {
		return evaluate[bool](v, fmt.Sprintf(`((box) => !!box && %sbox.checked)(%s)`, not, box(title)))
	})
	v.do(chromedp.SendKeys(chromedp.JSPath(box(title)), " "))
}

func box(title string) string {
	return fmt.Sprintf(`[...document.getElementById("tasks").shadowRoot.querySelectorAll("label")].find((l) => l.querySelector(".title").textContent === %q)?.querySelector("input")`, title)
}

// folded has what was completed counted, as the worker would.
func (s *site) folded(t *testing.T, is func() bool) func() bool {
	return func() bool {
		exec(t, s.conn, "select headway.fold()")
		return is()
	}
}

func TestTabsSeeEachOther(t *testing.T) {
	s := newSite(t, setup(t))
	browser := chromium(t)
	bob, charlie, dora := s.open(t, browser, "#2"), s.open(t, browser, "#3"), s.open(t, browser, "#4")
	for _, v := range []*tab{bob, charlie, dora} {
		v.shows("title", "Website")
		evaluate[string](v, `window.loaded = "once"`)
	}

	charlie.complete("Domain")
	bob.until("Bob's bar does not move", s.folded(t, func() bool { return bob.percent() == "50" }))
	bob.shows("tasks", "Done")
	charlie.shows("progress", "Done 1 of 2")
	dora.shows("activity", "Charlie completed “Domain”")
	dora.shows("progress", "Done 3 of 6 · 3 customers")

	// For a customer who cannot.
	dora.click(`[...document.getElementById("tasks").shadowRoot.querySelectorAll(".customer")].find((c) => c.innerText.includes("Bob"))`)
	dora.complete("Profile")
	bob.until("Bob's bar is not full", s.folded(t, func() bool { return bob.percent() == "100" }))
	bob.shows("progress", "All 2 done")
	dora.shows("activity", "Dora completed “Profile” for Bob")

	// And back.
	bob.reopen("Profile")
	bob.until("Bob's bar does not move back", s.folded(t, func() bool { return bob.percent() == "50" }))

	bob.write("Hello Charlie")
	charlie.shows("chat", "Hello Charlie")
	charlie.write("Hello Bob")
	bob.shows("chat", "Hello Bob")

	// What nobody looks at is unread.
	bob.until("Bob has not read what he sees", func() bool { return !strings.Contains(bob.text("inbox"), "1") })
	bob.focus(false)
	call(dora, page.BringToFront, cdp.Empty{})
	dora.write("Hello all")
	bob.shows("chat", "Hello all")
	bob.shows("inbox", "1")
	bob.focus(true)
	bob.until("Bob has not read what he sees", func() bool { return !strings.Contains(bob.text("inbox"), "1") })

	for _, v := range []*tab{bob, charlie, dora} {
		if evaluate[string](v, `window.loaded ?? "again"`) != "once" {
			t.Error("a page was loaded again")
		}
	}
}

func TestAPageComesBack(t *testing.T) {
	s := newSite(t, setup(t))
	bob := s.open(t, chromium(t), "#2", "WebSocket connection to", "ERR_CONNECTION")
	bob.shows("title", "Website")
	bob.write("before")
	bob.shows("chat", "before")

	s.stop()
	bob.shows("state", "Reconnecting…")
	exec(t, s.conn, `
select headway.post(1, 'project_1', 'meanwhile ' || n) from generate_series(1, 3) n;
select headway.complete_task(1, 1);
select headway.fold();`)
	s.start(t)
	bob.shows("chat", "meanwhile 3")
	bob.until("the page does not say that it is back", func() bool { return bob.text("state") == "" })
	bob.until("the bar does not come back", func() bool { return bob.percent() == "50" })
	bob.write("after")
	bob.shows("chat", "after")
	said := bob.text("chat")
	for _, text := range []string{"before", "meanwhile 1", "meanwhile 2", "meanwhile 3", "after"} {
		if n := strings.Count(said, text); n != 1 {
			t.Errorf("%q is shown %d times", text, n)
		}
	}
}

func TestAPageWhoseTokenExpires(t *testing.T) {
	var mu sync.Mutex
	now := time.Now()
	clock := func() time.Time { mu.Lock(); defer mu.Unlock(); return now }
	jump := func() { mu.Lock(); defer mu.Unlock(); now = now.Add(2 * time.Hour) }
	s := newSite(t, setup(t, func(g *Gateway) { g.Now = clock }))
	valid := true
	s.mint = func(userID int64) string {
		if !valid {
			return "not a token"
		}
		return token(t, userID, clock().Add(time.Hour))
	}
	bob := s.open(t, chromium(t), "#2", "401")
	bob.shows("title", "Website")

	jump()
	exec(t, s.conn, "select headway.post(1, 'project_1', 'one')") // the gateway looks at the time when it has something to tell
	bob.shows("chat", "one")
	bob.until("the page does not ask for a new token", func() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.minted >= 2 })
	exec(t, s.conn, "select headway.post(1, 'project_1', 'again')")
	bob.shows("chat", "again")
	s.mu.Lock()
	valid = false
	s.mu.Unlock()

	jump()
	exec(t, s.conn, "select headway.post(1, 'project_1', 'two')")
	bob.shows("sign-in-hint", "not valid any more")
	if text := bob.text("view"); text != "" {
		t.Errorf("the page still shows %q", text)
	}
}

func TestWhatPeopleWriteIsShownAsText(t *testing.T) {
	const hostile, title = `<img src=x onerror=alert(1)>`, `</script><script>alert(1)</script>`
	s := newSite(t, setup(t))
	exec(t, s.conn, `
update headway.task set title = '`+title+`', detail = '`+hostile+`' where id = 2;
update headway.project set name = name || ' `+hostile+`' where id = 1;
update headway.appuser set fullname = fullname || ' `+title+`' where id = 3;`)
	browser := chromium(t)
	bob, dora := s.open(t, browser, "#2"), s.open(t, browser, "#4")
	bob.shows("title", "Website "+hostile)
	bob.write(hostile)
	dora.shows("chat", hostile)
	bob.shows("tasks", title)
	bob.shows("tasks", hostile)
	bob.complete(title)
	dora.until("Dora is not told", s.folded(t, func() bool { return strings.Contains(dora.text("activity"), title) }))
	dora.shows("tasks", "Charlie "+title)
	for _, v := range []*tab{bob, dora} {
		made := evaluate[int](v, `[document, ...[...document.querySelectorAll("*")].map((e) => e.shadowRoot).filter(Boolean)]
			.reduce((sum, root) => sum + root.querySelectorAll("img, body script").length, 0)`)
		if made != 0 {
			t.Errorf("%d elements were made of what people wrote", made)
		}
	}
}

func TestAPageSaysWhatItIs(t *testing.T) {
	s := newSite(t, setup(t))
	exec(t, s.conn, "insert into headway.prerequisite (task_id, requires_id) values (2, 1)")
	browser := chromium(t)
	bob, dora := s.open(t, browser, "#2"), s.open(t, browser, "#4")
	exec(t, s.conn, "select headway.post(1, 'broadcast', 'Welcome')")
	bob.hears("heading Website", "progressbar Progress of Website", "checkbox Domain", "checkbox Profile: Waits for “Domain”",
		"list To do", "log Conversation", "textbox Message", "button Send", "button Inbox, 1 unread message")
	dora.hears("progressbar Progress of Website", "list Customers", "button Bob", "log Conversation", "textbox Message")
	dora.click(in("tasks", ".customer"))
	dora.hears("group Tasks of Abe", "checkbox Domain")
}

// hears waits until the accessibility tree has all these, each a role and the beginning of a name, and perhaps a
// description after a colon.
func (v *tab) hears(want ...string) {
	v.t.Helper()
	var heard []string
	missing := func() []string {
		heard = nil
		for _, n := range call(v, accessibility.GetFullAXTree, accessibility.GetFullAXTreeParams{}).Nodes {
			if n.Ignored {
				continue
			}
			line := value(n.Role) + " " + value(n.Name)
			if d := value(n.Description); d != "" {
				line += ": " + d
			}
			heard = append(heard, line)
		}
		return slices.DeleteFunc(slices.Clone(want), func(w string) bool {
			return slices.ContainsFunc(heard, func(h string) bool { return strings.HasPrefix(h, w) })
		})
	}
	defer func() {
		if v.t.Failed() {
			v.t.Logf("missing: %q in\n%s", missing(), strings.Join(heard, "\n"))
		}
	}()
	v.until("a screen reader does not hear everything", func() bool { return len(missing()) == 0 })
}

func value(v *accessibility.Value) string {
	var text string
	if v != nil {
		_ = json.Unmarshal(v.Value, &text)
	}
	return text
}
