package web

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
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

// TestWhatIsMarkedReadIsSoAtOnce marks all read where the database notifies nothing and the gateway is not about to look. What
// the page has not heard of stays unread.
func TestWhatIsMarkedReadIsSoAtOnce(t *testing.T) {
	t.Parallel()
	s := newSite(t, func(g *gateway.Gateway) { g.LookInterval = time.Hour })
	bob := s.open(t, webtest.Chromium(t), "#2")
	bob.Shows("title", "Website")
	pgtest.Execute(t, s.conn, "select headway.post(1, 'broadcast', 'News')")
	bob.Shows("inbox", "1")
	pgtest.Execute(t, s.conn, "select headway.set_setting('notify_payload', 'off')")
	pgtest.Execute(t, s.conn, "select headway.post(1, 'broadcast', 'More news')")
	bob.Click(webtest.In("inbox", ".open"))
	bob.Click(webtest.In("inbox", ".all"))
	bob.Shows("inbox", "Everything is read.")
	s.does(t, bob, "what it has not heard of is read", "read_seq = 1 from headway.subscription where user_id = 2 and channel = 'broadcast'")
}

// TestTheInboxBeginsWithWhatIsUnread opens the inbox, and has more come while it is open and while all is being marked read.
func TestTheInboxBeginsWithWhatIsUnread(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	pgtest.Execute(t, s.conn, `
select headway.open_channel(c, 1, array[1, 2]) from unnest(array['design', 'office']) c;
select headway.post(1, 'office', 'The coffee is out')`)
	bob := s.open(t, webtest.Chromium(t), "#2")
	bob.Shows("title", "Website")
	bob.Click(webtest.In("inbox", ".open"))
	listed := func() string {
		return webtest.Evaluate[string](bob.Tab, `[...document.getElementById("inbox").shadowRoot.querySelectorAll(".channel")].map((b) => b.dataset.channel).join(" ")`)
	}
	if got := listed(); got != "office broadcast design project_1 user_2" {
		t.Errorf("the inbox lists %s", got)
	}
	pgtest.Execute(t, s.conn, "select headway.post(1, 'design', 'A draft')")
	bob.Shows("inbox", "2")
	if got := listed(); got != "office broadcast design project_1 user_2" {
		t.Errorf("what came while it was open moved it to %s", got)
	}
}

// TestMoreThanIsCounted has more unread than headway counts, which is 1000 in each channel.
func TestMoreThanIsCounted(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	pgtest.Execute(t, s.conn, `
select headway.open_channel('design', 1, array[1, 2]);
insert into headway.message (sender, channel, content) select 1, 'design', n::text from generate_series(1, 1100) n;
select headway.post(1, 'broadcast', 'News')`)
	bob := s.open(t, webtest.Chromium(t), "#2")
	bob.Shows("title", "Website")
	bob.Click(webtest.In("inbox", ".open"))
	bob.Hears("button Inbox, 999+ unread messages", "button Announcements, 1 unread", "button Website · design, 999+ unread")
	if text := bob.Text("inbox"); strings.Contains(text, "1,000") {
		t.Errorf("the inbox shows %s", text)
	}
	bob.until("the title counts them", `document.title === "(999+) Website"`)
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

// TestWhatHasTheFocusIsInView goes through the preferences in small windows: one of 1280 by 1024 at 400 % is 320 by 256.
func TestWhatHasTheFocusIsInView(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	bob := s.open(t, webtest.Chromium(t), "#2")
	bob.Shows("title", "Website")
	bob.Click(`document.getElementById("who")`)
	bob.Hears("checkbox For you")
	for _, height := range []int64{256, 540} {
		bob.Do(chromedp.EmulateViewport(320, height))
		for _, covered := range webtest.Evaluate[[]string](bob.Tab, `((host) => [...host.shadowRoot.querySelectorAll("select, input")].filter((e) => {
			e.focus();
			const box = e.getBoundingClientRect();
			return document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2) !== host;
		}).map((e) => e.labels[0]?.innerText ?? e.ariaLabel))(document.querySelector("headway-preferences"))`) {
			t.Errorf("in %d pixels, %s is covered", height, covered)
		}
	}
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

// TestTheSwitcherCanBeRead has all that is beside it be as wide as it gets, on a small phone.
func TestTheSwitcherCanBeRead(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	pgtest.Execute(t, s.conn, `
insert into headway.member (project_id, user_id, role) values (2, 2, 'customer');
update headway.appuser set fullname = 'Bob Featherstonehaugh' where id = 2;
insert into headway.message (sender, channel, content) select 1, 'project_1', n::text from generate_series(1, 1000) n`)
	bob := s.open(t, webtest.Chromium(t), "#2")
	bob.Do(chromedp.EmulateViewport(320, 640))
	bob.Shows("inbox", "999+")
	if width := webtest.Evaluate[int](bob.Tab, `document.getElementById("project").offsetWidth`); width < 96 {
		t.Errorf("it is %d pixels wide", width)
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

// TestNobodyReadsTasksUnseen has many tabs open of which nobody looks at most: for each completion, all of them would read
// the whole list.
func TestNobodyReadsTasksUnseen(t *testing.T) {
	s := newSite(t)
	var unseen atomic.Bool
	var read atomic.Int64
	s.between(func(_ http.ResponseWriter, r *http.Request) bool {
		if unseen.Load() && r.URL.Path == "/api/projects/1/tasks" {
			read.Add(1)
		}
		return false
	})
	bob := s.open(t, webtest.Chromium(t), "#2")
	bob.Shows("tasks", "Domain")
	bob.LookAway()
	unseen.Store(true)
	before := bob.percent()
	for range 3 { // what the first of these would have it read has been read by the last
		pgtest.Execute(t, s.conn, "select headway.complete_task(1, 3); select headway.fold()")
		bob.Until("Bob's bar does not move", func() bool { return bob.percent() == "50" })
		pgtest.Execute(t, s.conn, "select headway.reopen_task(1, 3); select headway.fold()")
		bob.Until("Bob's bar does not move back", func() bool { return bob.percent() == before })
	}
	pgtest.Execute(t, s.conn, "select headway.complete_task(1, 3); select headway.fold()")
	bob.Until("Bob's bar does not move", func() bool { return bob.percent() == "50" })
	if n := read.Load(); n > 0 {
		t.Errorf("the tasks were read %d times while nobody saw them", n)
	}
	unseen.Store(false)
	bob.LookBack()
	bob.Shows("tasks", "Done")
}
