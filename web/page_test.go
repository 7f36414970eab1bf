package web

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"headway/internal/gatewaytest"
	"headway/internal/pgtest"
	"headway/internal/webtest"
	"headway/worker/gateway"
)

func TestTabsSeeEachOther(t *testing.T) {
	s := newSite(t)
	browser := webtest.Chromium(t)
	bob, charlie, dora := s.open(t, browser, "#2"), s.open(t, browser, "#3"), s.open(t, browser, "#4")
	for _, v := range []*tab{bob, charlie, dora} {
		v.Shows("title", "Website")
		webtest.Evaluate[string](v.Tab, `window.loaded = "once"`)
	}

	charlie.complete("Domain")
	bob.Until("Bob's bar does not move", s.folded(t, func() bool { return bob.percent() == "50" }))
	bob.Shows("tasks", "Done")
	charlie.Shows("progress", "Done 1 of 2")
	dora.Shows("activity", "Charlie completed “Domain”")
	dora.Shows("progress", "Done 3 of 6 · 3 customers")

	// For a customer who cannot.
	dora.Click(`[...document.getElementById("tasks").shadowRoot.querySelectorAll(".customer")].find((c) => c.innerText.includes("Bob"))`)
	dora.complete("Profile")
	bob.Until("Bob's bar is not full", s.folded(t, func() bool { return bob.percent() == "100" }))
	bob.Shows("progress", "All 2 done")
	dora.Shows("activity", "Dora completed “Profile” for Bob")

	// And back.
	bob.reopen("Profile")
	bob.Until("Bob's bar does not move back", s.folded(t, func() bool { return bob.percent() == "50" }))

	bob.write("Hello Charlie")
	charlie.Shows("chat", "Hello Charlie")
	charlie.write("Hello Bob")
	bob.Shows("chat", "Hello Bob")

	// What nobody looks at is unread.
	bob.Until("Bob has not read what he sees", func() bool { return !strings.Contains(bob.Text("inbox"), "1") })
	bob.LookAway()
	dora.write("Hello all")
	bob.Shows("chat", "Hello all")
	bob.Shows("inbox", "1")
	bob.LookBack()
	bob.Until("Bob has not read what he sees", func() bool { return !strings.Contains(bob.Text("inbox"), "1") })

	for _, v := range []*tab{bob, charlie, dora} {
		if webtest.Evaluate[string](v.Tab, `window.loaded ?? "again"`) != "once" {
			t.Error("a page was loaded again")
		}
	}
}

func TestAPageComesBack(t *testing.T) {
	s := newSite(t)
	bob := s.open(t, webtest.Chromium(t), "#2", "WebSocket connection to", "ERR_CONNECTION")
	bob.Shows("title", "Website")
	bob.write("before")
	bob.Shows("chat", "before")
	// One whose answer is lost would be in the field again.
	bob.until("it is being sent", webtest.In("chat", ".send")+`.ariaDisabled !== "true"`)

	s.stop()
	bob.Shows("state", "Reconnecting…")
	pgtest.Execute(t, s.conn, `
select headway.post(1, 'project_1', 'meanwhile ' || n) from generate_series(1, 3) n;
select headway.complete_task(1, 1);
select headway.fold();`)
	s.start(t)
	bob.Shows("chat", "meanwhile 3")
	bob.Until("the page does not say that it is back", func() bool { return bob.Text("state") == "" })
	bob.Until("the bar does not come back", func() bool { return bob.percent() == "50" })
	bob.write("after")
	bob.Shows("chat", "after")
	said := bob.Text("chat")
	for _, text := range []string{"before", "meanwhile 1", "meanwhile 2", "meanwhile 3", "after"} {
		if n := strings.Count(said, text); n != 1 {
			t.Errorf("%q is shown %d times", text, n)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.events > 0 {
		t.Error("a server that was away was taken for one behind a proxy without WebSockets")
	}
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

func TestAPageWhoseTokenExpires(t *testing.T) {
	var c gatewaytest.Clock
	s := newSite(t, func(g *gateway.Gateway) { g.Now = c.Now })
	valid := true
	s.mint = func(userID int64) string {
		if !valid {
			return "not a token"
		}
		return gatewaytest.Token(t, userID, c.Now().Add(time.Hour))
	}
	bob := s.open(t, webtest.Chromium(t), "#2", "401")
	bob.Shows("title", "Website")

	c.Forward(2 * time.Hour)
	pgtest.Execute(t, s.conn, "select headway.post(1, 'project_1', 'one')") // the gateway looks at the time when it has something to tell
	bob.Shows("chat", "one")
	bob.Until("the page does not ask for a new token", func() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.minted >= 2 })
	pgtest.Execute(t, s.conn, "select headway.post(1, 'project_1', 'again')")
	bob.Shows("chat", "again")
	s.mu.Lock()
	valid = false
	s.mu.Unlock()

	c.Forward(2 * time.Hour)
	pgtest.Execute(t, s.conn, "select headway.post(1, 'project_1', 'two')")
	bob.Shows("sign-in-hint", "not valid any more")
	if text := bob.Text("view"); text != "" {
		t.Errorf("the page still shows %q", text)
	}
}

func TestWhatPeopleWriteIsShownAsText(t *testing.T) {
	const hostile, title = `<img src=x onerror=alert(1)>`, `</script><script>alert(1)</script>`
	s := newSite(t)
	pgtest.Execute(t, s.conn, `
update headway.task set title = '`+title+`', detail = '`+hostile+`' where id = 2;
update headway.project set name = name || ' `+hostile+`' where id = 1;
update headway.appuser set fullname = fullname || ' `+title+`' where id = 3;`)
	browser := webtest.Chromium(t)
	bob, dora := s.open(t, browser, "#2"), s.open(t, browser, "#4")
	bob.Shows("title", "Website "+hostile)
	bob.write(hostile)
	dora.Shows("chat", hostile)
	bob.Shows("tasks", title)
	bob.Shows("tasks", hostile)
	bob.complete(title)
	dora.Until("Dora is not told", s.folded(t, func() bool { return strings.Contains(dora.Text("activity"), title) }))
	dora.Shows("tasks", "Charlie "+title)
	for _, v := range []*tab{bob, dora} {
		made := webtest.Evaluate[int](v.Tab, `[document, ...[...document.querySelectorAll("*")].map((e) => e.shadowRoot).filter(Boolean)]
			.reduce((sum, root) => sum + root.querySelectorAll("img, body script").length, 0)`)
		if made != 0 {
			t.Errorf("%d elements were made of what people wrote", made)
		}
	}
}

func TestAPageSaysWhatItIs(t *testing.T) {
	s := newSite(t)
	pgtest.Execute(t, s.conn, `
insert into headway.task (id, project_id, title, shared, audience) values (9, 1, 'Contract', true, 'assigned');
insert into headway.assignment (task_id, user_id) values (9, 1);
insert into headway.prerequisite (task_id, requires_id) values (2, 1), (2, 9);`)
	browser := webtest.Chromium(t)
	bob, dora := s.open(t, browser, "#2"), s.open(t, browser, "#4")
	pgtest.Execute(t, s.conn, "select headway.post(1, 'broadcast', 'Welcome')")
	bob.Hears("heading Website", "progressbar Progress of Website", "checkbox Domain", "checkbox Profile: Waits for “Domain” and “Contract”",
		"list To do", "log Conversation", "textbox Message", "button Send", "button Inbox, 1 unread message")
	dora.Hears("progressbar Progress of Website", "list Customers", "button Bob", "log Conversation", "textbox Message")
	dora.Click(webtest.In("tasks", ".customer"))
	dora.Hears("group Tasks of Abe", "checkbox Domain")
}

// TestWhatIsNotMarkedReadSaysSo marks all read while the gateway is out of reach, and once more when it is back.
func TestWhatIsNotMarkedReadSaysSo(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	bob := s.open(t, webtest.Chromium(t), "#2", "WebSocket connection to", "ERR_CONNECTION")
	bob.Shows("title", "Website")
	pgtest.Execute(t, s.conn, "select headway.post(1, 'broadcast', 'News')")
	bob.Shows("inbox", "1")
	s.stop()
	bob.Click(webtest.In("inbox", ".open"))
	bob.Click(webtest.In("inbox", ".all"))
	bob.Shows("inbox", "cannot be reached")
	s.start(t)
	bob.Click(webtest.In("inbox", ".all"))
	bob.Shows("inbox", "Everything is read.")
	if text := bob.Text("inbox"); strings.Contains(text, "cannot be reached") {
		t.Errorf("the inbox still says %q", text)
	}
}

// TestWhatIsMarkedReadIsSoAtOnce marks all read where the database notifies nothing and the gateway is not about to look.
func TestWhatIsMarkedReadIsSoAtOnce(t *testing.T) {
	t.Parallel()
	s := newSite(t, func(g *gateway.Gateway) { g.LookInterval = time.Hour })
	bob := s.open(t, webtest.Chromium(t), "#2")
	bob.Shows("title", "Website")
	pgtest.Execute(t, s.conn, "select headway.post(1, 'broadcast', 'News')")
	bob.Shows("inbox", "1")
	pgtest.Execute(t, s.conn, "select headway.set_setting('notify_payload', 'off')")
	bob.Click(webtest.In("inbox", ".open"))
	bob.Click(webtest.In("inbox", ".all"))
	bob.Shows("inbox", "Everything is read.")
}

func TestPreferencesAreKept(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	pgtest.Execute(t, s.conn, "update headway.appuser set email = 'bob@example.com', digest_after = '7 hours' where id = 2")
	bob := s.open(t, webtest.Chromium(t), "#2", "422")
	const preferences = `document.querySelector("headway-preferences").shadowRoot`
	set := func(selector, value string) {
		t.Helper()
		webtest.Evaluate[bool](bob.Tab, fmt.Sprintf(`((e) => (e.value = %q, e.dispatchEvent(new Event("change"))))(%s.querySelector(%q))`, value, preferences, selector))
	}
	says := func(want string) {
		t.Helper()
		bob.Until("the preferences do not say "+want, func() bool {
			return strings.Contains(webtest.Evaluate[string](bob.Tab, preferences+`.querySelector(".end").innerText`), want)
		})
	}
	bob.Shows("title", "Website")
	bob.Click(`document.getElementById("who")`)
	bob.Hears("dialog Mail", "combobox Send it when something has been unread for", "group No mail between", "combobox Time zone",
		"group Mail about", "checkbox Announcements", "checkbox Website", "checkbox For you", "button Close")
	if chosen := webtest.Evaluate[string](bob.Tab, preferences+`.getElementById("after").selectedOptions[0].text`); chosen != "7 hours" {
		t.Errorf("%q is chosen", chosen)
	}

	bob.Type(preferences+`.getElementById("after")`, "4")
	s.does(t, bob, "the interval is not kept", "digest_after = '4 hours' from headway.appuser where id = 2")
	set("#zone", "Europe/Lisbon")
	s.does(t, bob, "the time zone is not kept", "time_zone = 'Europe/Lisbon' from headway.appuser where id = 2")
	set("[type=time]", "22:00")
	set("span [type=time]", "07:00")
	s.does(t, bob, "the quiet hours are not kept", "(quiet_from, quiet_until) = ('22:00', '07:00') from headway.appuser where id = 2")
	says("Saved.")
	set("span [type=time]", "22:00")
	says("That cannot be saved as it is.")
	bob.Click(preferences + `.querySelector(".link")`)
	s.does(t, bob, "the quiet hours stay", "quiet_from is null and quiet_until is null from headway.appuser where id = 2")
	set("[type=time]", "21:00")
	set("span [type=time]", "06:00")
	s.does(t, bob, "the quiet hours are not kept", "(quiet_from, quiet_until) = ('21:00', '06:00') from headway.appuser where id = 2")
	set("[type=time]", "")
	set("span [type=time]", "")
	s.does(t, bob, "quiet hours that were cleared stay", "quiet_from is null and quiet_until is null from headway.appuser where id = 2")

	bob.Type(preferences+`.querySelector("[type=checkbox]")`, " ")
	s.does(t, bob, "the channel is not muted", "muted from headway.subscription where user_id = 2 and channel = 'broadcast'")
	bob.Type(preferences+`.querySelector("[type=checkbox]")`, kb.Escape)
	bob.Until("the dialog stays", func() bool { return !webtest.Evaluate[bool](bob.Tab, `document.getElementById("account").open`) })
	bob.Click(webtest.In("inbox", ".open"))
	bob.Hears("button Announcements, no mail")
}

func TestThePageSpeaksGerman(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	bob := s.open(t, webtest.Chromium(t), "?lang=de#2")
	bob.Shows("greeting", "Ihr Stand, Bob")
	bob.Hears("heading Ihre Aufgaben", "list Zu erledigen", "progressbar Fortschritt von Website", "button Eingang", "button Bob: Mail, Abmelden")
	if language := webtest.Evaluate[string](bob.Tab, `document.documentElement.lang`); language != "de" {
		t.Errorf("a screen reader takes the page for %q", language)
	}
}

// TestALanguageThatIsNoTagIsNoHarm has a page be in what a backend calls a language.
func TestALanguageThatIsNoTagIsNoHarm(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	bob := s.open(t, webtest.Chromium(t), "#2")
	bob.Shows("title", "Website")
	for _, lang := range []string{"de_DE", "no language"} {
		webtest.Evaluate[any](bob.Tab, `(() => {
			document.documentElement.lang = "`+lang+`";
			const e = document.createElement("headway-tasks");
			e.id = "more";
			e.setAttribute("project", "1");
			document.getElementById("more")?.remove();
			document.body.append(e);
		})()`)
		bob.Until("in "+lang+" it says nothing", func() bool {
			return strings.Contains(webtest.Evaluate[string](bob.Tab, `document.getElementById("more").shadowRoot.textContent`), "To do")
		})
	}
}

// TestChannelsAreToldApart opens further ones in a project, looks into one, and is taken out of it.
func TestChannelsAreToldApart(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	pgtest.Execute(t, s.conn, `
select headway.open_channel('design', 1, array[1, 2]), headway.open_channel('office_staff', 1, array[1, 2]);
select headway.post(1, 'office_staff', 'The coffee is out')`)
	bob := s.open(t, webtest.Chromium(t), "#2")
	bob.Shows("title", "Website")
	bob.Click(webtest.In("inbox", "button"))
	bob.Hears("button Website · design")
	bob.Click(webtest.In("inbox", "[data-channel=office_staff]"))
	bob.Shows("chat", "The coffee is out")
	s.does(t, bob, "it stays unread", "read_seq = 1 from headway.subscription where user_id = 2 and channel = 'office_staff'")
	pgtest.Execute(t, s.conn, "delete from headway.subscription where channel = 'office_staff' and user_id = 2; select headway.post(1, 'project_1', 'Back here')")
	bob.Shows("chat", "Back here")
	bob.Shows("chat-title", "Conversation")
}

// TestAnArchivedProjectSaysSo archives a project that somebody looks at.
func TestAnArchivedProjectSaysSo(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	pgtest.Execute(t, s.conn, "update headway.project set archived_at = now() where id = 1")
	bob := s.open(t, webtest.Chromium(t), "#2")
	bob.Shows("title", "Website (archived)")
	bob.Shows("tasks", "Domain")
	if webtest.Evaluate[int](bob.Tab, `document.getElementById("tasks").shadowRoot.querySelectorAll("input:enabled").length`) != 0 {
		t.Error("something can be ticked off")
	}
}

func TestATokenIsPasted(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.config = "{}"
	v := s.open(t, webtest.Chromium(t), "", "401")
	v.Hears("heading Who is here?", "textbox Token", "button Sign in")
	v.Type(`document.getElementById("token")`, "nonsense")
	v.Click(`document.querySelector("#token-form button")`)
	v.Shows("sign-in-hint", "The token is not valid")
	v.Type(`document.getElementById("token")`, gatewaytest.Token(t, 2, time.Now().Add(time.Hour))+kb.Enter)
	v.Shows("greeting", "Bob")
	v.Do(chromedp.Reload())
	v.Shows("greeting", "Bob")
	v.leave()
	v.Shows("sign-in-hint", "Paste a token")
	v.Do(chromedp.Reload())
	v.Shows("sign-in-hint", "Paste a token")
}

// TestATokenIsRenewed stays connected for longer than the first token lasts. The page's clock is ahead, so that it has a
// new token long before the gateway's jumps.
func TestATokenIsRenewed(t *testing.T) {
	t.Parallel()
	var c gatewaytest.Clock
	s := newSite(t, func(g *gateway.Gateway) { g.Now = c.Now })
	s.mint = func(userID int64) string {
		return gatewaytest.Token(t, userID, time.Now().Add(time.Duration(s.minted)*time.Hour))
	}
	bob := s.open(t, webtest.Chromium(t), "")
	bob.Shows("people", "Bob")
	webtest.Evaluate[any](bob.Tab, `(() => { const now = Date.now; Date.now = () => now() + 10 * 3600_000; })()`)
	bob.Click(`document.querySelector("#people button")`)
	bob.Shows("title", "Website")
	bob.Until("the token is not renewed", func() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.minted > 2 }) // the second is with the gateway
	c.Forward(90 * time.Minute)
	pgtest.Execute(t, s.conn, "select headway.post(1, 'project_1', 'still there?')")
	bob.Shows("chat", "still there?")
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.opened != 1 {
		t.Errorf("%d connections were opened", s.opened)
	}
}

// TestAWrongClockRenewsInTime gives a client tokens that are good for an hour, issued now or half an hour ago, in browsers
// whose clocks are ahead and behind.
func TestAWrongClockRenewsInTime(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	v := s.open(t, webtest.Chromium(t), "")
	got := clientTold(v, `
		const now = Date.now, later = setTimeout;
		// After how many minutes the token is renewed.
		const renewal = (ahead, issued, iat) => new Promise((resolve) => {
			const time = now() / 1000;
			const claims = { exp: time + 3600 - issued, ...(iat && { iat: time - issued }) };
			let sent = false;
			Date.now = () => now() + ahead * 3600_000;
			globalThis.setTimeout = (act, delay) => (sent && resolve(Math.round(delay / 60_000)), later(act, delay));
			globalThis.WebSocket = class {
				constructor() { queueMicrotask(() => this.onopen()); }
				close() {}
				send() { sent = true; }
			};
			const client = new Headway({ token: async () => "." + btoa(JSON.stringify(claims)) + "." });
			client.connect();
		}).finally(() => { Date.now = now; globalThis.setTimeout = later; });
		return [await renewal(0, 0, true), await renewal(0, 1800, true), await renewal(10, 0, true), await renewal(-10, 0, true), await renewal(0, 1800, false)];`)
	if got != "[48,24,5,48,24]" {
		t.Errorf("renewed after %s minutes", got)
	}
}

// TestTheSwitcherStaysOpen has something said while somebody chooses among their projects: a list that is made anew closes.
func TestTheSwitcherStaysOpen(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	pgtest.Execute(t, s.conn, "insert into headway.member (project_id, user_id, role) values (2, 2, 'customer')")
	bob := s.open(t, webtest.Chromium(t), "#2")
	bob.Shows("title", "Website")
	webtest.Evaluate[bool](bob.Tab, `(window.option = document.querySelector("#project option:checked"), true)`)
	pgtest.Execute(t, s.conn, "select headway.post(5, 'project_2', 'Hello')")
	bob.Until("the page is not told", func() bool { return webtest.Evaluate[bool](bob.Tab, `document.title.startsWith("(")`) })
	if !webtest.Evaluate[bool](bob.Tab, `option.isConnected && option.selected && option.value === "1"`) {
		t.Error("the list of projects was made anew")
	}
	pgtest.Execute(t, s.conn, "insert into headway.project (id, name) values (3, 'Shop'); insert into headway.member (project_id, user_id, role) values (3, 2, 'customer')")
	bob.Until("a new project is not listed", func() bool { return strings.Contains(bob.Text("project"), "Shop") })
}

// TestOnesOwnProgressIsNotLost tells a client of progress in every order in which it may come: the part that all share,
// and one's own of the same version, either first, and late what is older. A bar is at 100 only where everything is done.
func TestOnesOwnProgressIsNotLost(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	v := s.open(t, webtest.Chromium(t), "")
	got := clientTold(v, `
		const all = { type: "progress", project_id: 1, version: 6, shared: { done: 2, total: 2 }, progress: null };
		const own = { ...all, progress: { done: 4, total: 4, percent: 100 } };
		const old = { ...all, version: 4, shared: { done: 0, total: 2 }, progress: { done: 0, total: 4, percent: 0 } };
		const after = async (...events) => (await told(...events)).projects.get(1).progress.percent;
		return [await after(all), await after(all, own), await after(own, all), await after(own, old), await after(all, own, all, old),
			await after({ ...all, shared: { done: 998, total: 998 } })];`)
	if got != "[50,100,100,100,100,99]" {
		t.Errorf("the bar is at %s", got)
	}
}

// TestWhatIsUnreadStaysSo tells a client how far it has read, before and after it is told what the cursor does not know of
// yet, or knows of already.
func TestWhatIsUnreadStaysSo(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	v := s.open(t, webtest.Chromium(t), "")
	got := clientTold(v, `
		const said = (seq, sender = 3) => ({ type: "message", channel: "project_1", seq, sender });
		const read = (last_seq, read_seq, unread) => ({ type: "read", channel: "project_1", last_seq, read_seq, unread });
		const after = async (...events) => (await told(...events)).channels.get("project_1").unread;
		return [
			await after(said(8), read(8, 7, 1)),
			await after(said(8), read(7, 7, 0)), // read before it was said
			await after(read(8, 7, 1), said(8)), // read after it was said
			await after(said(8), said(9, 2), said(10), read(8, 7, 1)), // Bob's own is not unread
			await after(said(8), said(9), read(9, 8, 1), read(8, 8, 0)),
			await after(said(8), read(8, 8, 0)),
			await after(said(8), said(9, 2), read(10, 8, 1), said(10)), // what is counted before it is told
			await after({ type: "snapshot", snapshot: { user_id: 2, fullname: "Bob", projects: [],
				channels: [{ channel: "project_1", project_id: 1, last_seq: 9, read_seq: 8, unread: 1, muted: false }] } }, read(8, 8, 0)),
			await after(said(8, 2)),
			(await told(said(8, 2))).channels.get("project_1").read_seq, // whoever wrote last has read what was before
			(await told(said(8), said(9, 2))).channels.get("project_1").read_seq, // but for what they have not seen
		];`)
	if got != "[1,1,1,2,1,0,1,1,0,8,7]" {
		t.Errorf("unread are %s", got)
	}
}

// TestAConnectionThatDiedSilentlyIsNoticed has a client listen to nothing, by a clock that this test moves.
func TestAConnectionThatDiedSilentlyIsNoticed(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	v := s.open(t, webtest.Chromium(t), "")
	webtest.Evaluate[any](v.Tab, `(async () => {
		const { Headway } = await import("/headway.js");
		const settled = ((real) => () => new Promise((resolve) => real(resolve, 0)))(setTimeout);
		const hellos = [], timers = new Map();
		let now = 0, made = 0, open = 0;
		globalThis.WebSocket = class {
			constructor() { queueMicrotask(() => { open++; this.onopen(); }); }
			close() { open--; } // and nobody answers
			send(text) {
				hellos.push(JSON.parse(text));
				this.onmessage({ data: JSON.stringify({ type: "snapshot", snapshot: {
					user_id: 2, fullname: "Bob", channels: [{ channel: "project_1", last_seq: 7 }], projects: [] } }) });
				beat = () => this.onmessage({ data: JSON.stringify({ type: "beat" }) });
			}
		};
		let beat;
		Date.now = () => now;
		globalThis.setTimeout = (f, d) => { timers.set(++made, { f, at: now + d }); return made; };
		globalThis.clearTimeout = (id) => timers.delete(id);
		const sleep = (seconds) => { now += 1000 * seconds; };
		const pass = async (seconds) => {
			sleep(seconds);
			for (const [id, { f, at }] of timers) if (at <= now && timers.delete(id)) f();
			await settled();
		};
		const client = new Headway({ token: async () => "x" });
		const is = (what) => log.push([what, client.state, open, hellos.length].join(" "));
		const log = [];
		client.connect();
		await settled();
		for (let i = 0; i < 5; i++) { await pass(50); beat(); }
		is("beats");
		await pass(61);
		is("silence");
		await pass(1);
		is("back");
		sleep(3600);
		window.dispatchEvent(new Event("online"));
		is("slept");
		document.dispatchEvent(new Event("visibilitychange"));
		await settled();
		is("seen");
		client.close();
		await pass(3600);
		is("closed");
		window.log = log.join(", ") + ", " + JSON.stringify(hellos[1].position) + (timers.size ? " and a timer" : "");
	})()`)
	v.Until("the script does not end", func() bool { return webtest.Evaluate[bool](v.Tab, "!!window.log") })
	want := `beats open 1 1, silence waiting 0 1, back open 1 2, slept waiting 0 2, seen open 1 3, closed closed 0 3, {"channels":{"project_1":7},"projects":{}}`
	if got := webtest.Evaluate[string](v.Tab, "window.log"); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// TestAPageComesBackSoonAfterALongTime has a client try again and again, by timers that this test runs: where the backend is
// out of reach, and where it takes no end to answer.
func TestAPageComesBackSoonAfterALongTime(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	v := s.open(t, webtest.Chromium(t), "")
	webtest.Evaluate[any](v.Tab, `(async () => {
		const { Headway } = await import("/headway.js");
		const settled = ((real) => () => new Promise((resolve) => real(resolve, 0)))(setTimeout);
		const timers = new Map();
		let made = 0;
		globalThis.setTimeout = (act, delay) => { timers.set(++made, { act, delay }); return made; };
		globalThis.clearTimeout = (id) => timers.delete(id);
		const waits = async (token) => {
			const client = new Headway({ token }), delays = [];
			timers.clear();
			client.connect();
			for (let i = 0; i < 100 && delays.length < 20; i++) {
				await settled();
				const [[id, { act, delay } = {}] = []] = timers;
				if (!id) break; // it waits for ever
				timers.delete(id);
				if (client.state === "waiting") delays.push(delay);
				act();
			}
			client.close();
			return [delays.length, delays[0] < 1000, delays.every((d) => d <= 45_000)].join(" ");
		};
		window.waits = [
			await waits(async () => { throw new TypeError("unreachable"); }),
			await waits(() => { throw new TypeError("unreachable"); }),
			await waits(() => new Promise(() => {})),
		].join(", ");
	})()`)
	v.until("the script does not end", "!!window.waits")
	if got := webtest.Evaluate[string](v.Tab, "waits"); got != "20 true true, 20 true true, 20 true true" {
		t.Errorf("it tries so often, at first soon, and always within 45 seconds: %s", got)
	}
}

// TestAPageFromElsewhereListens has a page of another origin ask, and listen over both transports.
func TestAPageFromElsewhereListens(t *testing.T) {
	t.Parallel()
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "<!doctype html><title>elsewhere</title>")
	}))
	t.Cleanup(elsewhere.Close)
	s := newSite(t, func(g *gateway.Gateway) { g.Origins = []string{elsewhere.URL} })
	v := webtest.Open(t, webtest.Chromium(t), elsewhere.URL, "favicon")
	webtest.Evaluate[any](v, fmt.Sprintf(`(async (url, token) => {
		const answer = await fetch(url + "/api/ticket", { method: "POST", headers: { Authorization: "Bearer " + token } });
		const { ticket } = await answer.json();
		new EventSource(url + "/api/events?ticket=" + ticket).onmessage = (e) => { window.events = JSON.parse(e.data).type; };
		const socket = new WebSocket(url.replace("http", "ws") + "/api/ws");
		socket.onopen = () => socket.send(JSON.stringify({ token }));
		socket.onmessage = (e) => { window.socket = JSON.parse(e.data).type; };
	})(%q, %q)`, s.gateway.URL, gatewaytest.Token(t, 2, time.Now().Add(time.Hour))))
	for _, transport := range []string{"events", "socket"} {
		v.Until(transport+" tell nothing", func() bool { return webtest.Evaluate[bool](v, "window."+transport+` === "snapshot"`) })
	}
}
