package web

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"

	"headway/internal/pgtest"
	"headway/internal/webtest"
)

// press holds the mouse down on an element while something happens.
func (v *tab) press(element string, meanwhile func()) {
	at := webtest.Evaluate[struct{ X, Y float64 }](v.Tab, fmt.Sprintf(`(() => {
		const box = %s.getBoundingClientRect();
		return { X: box.x + box.width / 2, Y: box.y + box.height / 2 };
	})()`, element))
	mouse := func(does string) {
		webtest.Call(v.Tab, input.DispatchMouseEvent, input.DispatchMouseEventParams{Type: input.DispatchMouseEventType(does), X: at.X, Y: at.Y, Button: "left", ClickCount: 1})
	}
	mouse("mousePressed")
	meanwhile()
	mouse("mouseReleased")
}

// task is the element of a task in headway-tasks.
func task(title, selector string) string {
	return fmt.Sprintf(`[...document.getElementById("tasks").shadowRoot.querySelectorAll("li")].find((li) => li.innerText.includes(%q)).querySelector(%q)`, title, selector)
}

func TestAChannelCanBeClickedWhileMessagesCome(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	bob := s.made(t, webtest.Chromium(t), `<headway-inbox id="inbox"></headway-inbox>`, `
		window.opened = "";
		document.addEventListener("headway-open", (e) => { opened += e.detail.channel; });`)
	bob.Click(webtest.In("inbox", ".open"))
	bob.until("there is no list", webtest.In("inbox", ".channel")+" !== null")
	bob.press(webtest.In("inbox", `[data-channel="project_1"]`), func() {
		pgtest.Execute(t, s.conn, "select headway.post(1, 'broadcast', 'News')")
		bob.Shows("inbox", "1")
	})
	bob.until("the click is lost", `opened === "project_1"`)
}

func TestATaskCanBeClickedWhileBarsMove(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	pgtest.Execute(t, s.conn, "update headway.task set weight = 3; select headway.fold()")
	bob := s.made(t, webtest.Chromium(t), `<headway-tasks id="tasks" project="1"></headway-tasks>`, "")
	bob.Shows("tasks", "Profile")
	bob.press(task("Domain", ".notes span"), func() {
		pgtest.Execute(t, s.conn, "select headway.complete_task(2, 2); select headway.fold()")
		bob.until("what is done is not moved", webtest.In("tasks", "details li")+" !== null")
	})
	s.does(t, bob, "the click is lost", "exists (select from headway.completion where task_id = 1 and user_id = 2)")
}

// TestATaskCanBeClickedWhileAnotherMoves has one above it go down, as it waits for something again.
func TestATaskCanBeClickedWhileAnotherMoves(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	pgtest.Execute(t, s.conn, `
		insert into headway.task (id, project_id, title, position) values (11, 1, 'A', 1), (12, 1, 'B', 2);
		insert into headway.prerequisite values (12, 11);
		select headway.complete_task(11, 3), headway.fold();
		update headway.task set position = 3 where id < 3`)
	bob := s.made(t, webtest.Chromium(t), `<headway-tasks id="tasks" project="1"></headway-tasks>`, "")
	bob.Shows("tasks", "Done")
	bob.press(task("Profile", "input"), func() {
		pgtest.Execute(t, s.conn, "select headway.reopen_task(11, 3, 4, 'again'), headway.fold()")
		bob.Shows("tasks", "Waits for")
	})
	s.does(t, bob, "the click is lost", "exists (select from headway.completion where task_id = 2 and user_id = 2)")
}

// TestATickIsTakenBackAtOnce unticks before the server has answered.
func TestATickIsTakenBackAtOnce(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	bob := s.open(t, webtest.Chromium(t), "#2")
	bob.Shows("tasks", "Profile")
	asked, unticked := make(chan string, 10), make(chan struct{})
	s.between(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPost && strings.HasPrefix(r.URL.Path, "/api/tasks/") {
			asked <- r.URL.Path
			<-unticked
		}
		return false
	})
	bob.Click(task("Profile", "input"))
	bob.Until("it is not asked for", func() bool { return len(asked) == 1 })
	bob.Click(task("Profile", "input"))
	close(unticked)
	s.does(t, bob, "it stays done", "not exists (select from headway.completion where task_id = 2)")
	bob.until("it stays ticked", "!"+task("Profile", "input")+".checked")
}

func TestATickThatFailedIsTakenBack(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	bob := s.open(t, webtest.Chromium(t), "#2", "WebSocket connection to", "ERR_")
	bob.Shows("tasks", "Domain")
	s.stop()
	bob.complete("Domain")
	bob.Shows("tasks", "cannot be reached")
	bob.until("what is not done stays ticked", "!"+task("Domain", "input")+".checked")
}

// TestATickIsNotTakenBackByAnOlderList ticks something off while the list is on its way, as it was before.
func TestATickIsNotTakenBackByAnOlderList(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	bob := s.made(t, webtest.Chromium(t), `<headway-tasks id="tasks" project="1"></headway-tasks>`, "")
	bob.Shows("tasks", "Profile")
	bob.keepsBack("/tasks")
	pgtest.Execute(t, s.conn, "select headway.complete_task(1, 3), headway.fold()")
	bob.until("nothing is read", "held !== null")
	box := task("Profile", "input")
	bob.Click(box)
	bob.until("it is not done", webtest.In("tasks", "[role=status]")+`.textContent !== ""`)
	bob.letCome()
	if !webtest.Evaluate[bool](bob.Tab, box+".checked") {
		t.Error("the tick is gone")
	}
	bob.until("it is not drawn as done", `!!`+box+`.closest("details")`)
}

// TestWhoTicksFastHearsHowManyAreLeft ticks a second task off before the list is read again.
func TestWhoTicksFastHearsHowManyAreLeft(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	bob := s.made(t, webtest.Chromium(t), `<headway-tasks id="tasks" project="1"></headway-tasks>`, `
		window.hold = false;
		const real = fetch;
		window.fetch = (url, options) => hold && String(url).endsWith("/tasks") ? new Promise(() => {}) : real(url, options);`)
	bob.Shows("tasks", "Profile")
	webtest.Evaluate[any](bob.Tab, "void (window.hold = true)")
	for _, c := range []struct{ title, left string }{{"Domain", "1 task left"}, {"Profile", "0 tasks left"}} {
		bob.Click(task(c.title, "input"))
		bob.until(c.title+" is not done", fmt.Sprintf("%s.textContent.includes(%q)", webtest.In("tasks", "[role=status]"), c.title))
		if said := webtest.Evaluate[string](bob.Tab, webtest.In("tasks", "[role=status]")+".textContent"); !strings.Contains(said, c.left) {
			t.Errorf("a screen reader hears %q", said)
		}
	}
}

// TestAnHourThatIsBeingTypedIsKept has what was changed before be saved meanwhile.
func TestAnHourThatIsBeingTypedIsKept(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	bob := s.made(t, webtest.Chromium(t), `<headway-preferences id="preferences"></headway-preferences>`, "")
	bob.Shows("preferences", "Lisbon")
	typed := make(chan struct{})
	s.between(func(_ http.ResponseWriter, r *http.Request) bool {
		if strings.HasPrefix(r.URL.Path, "/api/account") {
			<-typed
		}
		return false
	})
	bob.Type(webtest.In("preferences", "#after"), "4")
	from := webtest.In("preferences", "input[type=time]")
	bob.Type(from, "10")
	close(typed)
	bob.Shows("preferences", "Saved.")
	bob.Do(chromedp.KeyEvent("30"), chromedp.KeyEvent("p"))
	bob.until("what was typed is gone", from+`.value === "22:30"`)
}

// TestAListOfPreferencesStaysOpen reads them while somebody chooses: a list that is made anew closes.
func TestAListOfPreferencesStaysOpen(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	bob := s.made(t, webtest.Chromium(t), `<headway-preferences id="preferences"></headway-preferences>`, "")
	bob.Shows("preferences", "Lisbon")
	webtest.Evaluate[any](bob.Tab, `void (window.chosen = ["#after", "#zone"].map((id) => document.getElementById("preferences").shadowRoot.querySelector(id + " option:checked")))`)
	pgtest.Execute(t, s.conn, "update headway.appuser set email = 'bob@example.com' where id = 2; select headway.open_channel('design', 1, array[1, 2])")
	bob.Shows("preferences", "bob@example.com")
	if !webtest.Evaluate[bool](bob.Tab, `chosen.every((o) => o.isConnected && o.selected)`) {
		t.Error("what there is to choose from was made anew")
	}
	pgtest.Execute(t, s.conn, "update headway.appuser set time_zone = 'Europe/Lisbon', digest_after = '4 hours' where id = 2; select headway.open_channel('office', 1, array[1, 2])")
	bob.until("what was chosen elsewhere is not shown", webtest.In("preferences", "#zone")+`.value + `+webtest.In("preferences", "#after")+`.value === "Europe/Lisbon240 minutes"`)
}

// TestTheLastOfTwoChangesIsKept changes the hours again before the server has answered.
func TestTheLastOfTwoChangesIsKept(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	pgtest.Execute(t, s.conn, "update headway.appuser set quiet_from = '21:00', quiet_until = '06:00' where id = 2")
	bob := s.made(t, webtest.Chromium(t), `<headway-preferences id="preferences"></headway-preferences>`, "")
	bob.Shows("preferences", "Lisbon")
	asked, letGo := s.holds(func(r *http.Request) bool { return r.Method == http.MethodPatch })
	set := func(hour string) {
		t.Helper()
		webtest.Evaluate[bool](bob.Tab, fmt.Sprintf(`((e) => (e.value = %q, e.dispatchEvent(new Event("change"))))(%s)`, hour, webtest.In("preferences", "span input")))
	}
	set("07:00")
	bob.Until("it is not asked for", func() bool { return len(asked) == 1 })
	set("08:00")
	webtest.Evaluate[bool](bob.Tab, `fetch("/").then((r) => r.ok)`) // what comes before it has come
	if n := len(asked); n != 1 {
		t.Errorf("%d changes are under way", n)
	}
	letGo()
	s.does(t, bob, "the last change is lost", "quiet_until = '08:00' from headway.appuser where id = 2")
	bob.Shows("preferences", "Saved.")
}

// TestTheSecondOfTwoChannelsIsMuted mutes it while the first is being muted, and something is said in another.
func TestTheSecondOfTwoChannelsIsMuted(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	bob := s.made(t, webtest.Chromium(t), `<headway-preferences id="preferences"></headway-preferences>`, "")
	bob.Shows("preferences", "Lisbon")
	asked, letGo := s.holds(func(r *http.Request) bool { return r.Method == http.MethodPut })
	box := func(n int) string {
		return fmt.Sprintf(`%s.children[%d].querySelector("input")`, webtest.In("preferences", "ul"), n)
	}
	bob.Click(box(0))
	bob.Until("it is not asked for", func() bool { return len(asked) == 1 })
	bob.Click(box(1))
	pgtest.Execute(t, s.conn, "select headway.post(1, 'project_1', 'Hello')")
	bob.until("nothing is said", `client.channels.get("project_1").unread === 1`)
	if webtest.Evaluate[bool](bob.Tab, box(0)+".checked || "+box(1)+".checked") {
		t.Error("what the user wants is not shown")
	}
	letGo()
	bob.Shows("preferences", "Saved.")
	s.does(t, bob, "one of them is not muted", "count(*) = 2 from headway.subscription where user_id = 2 and muted")
}

// TestWhatIsNotSavedSaysSo has a change fail while another, that does not fail, waits for it.
func TestWhatIsNotSavedSaysSo(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	bob := s.made(t, webtest.Chromium(t), `<headway-preferences id="preferences"></headway-preferences>`, "", "503")
	bob.Shows("preferences", "Lisbon")
	asked, answered := make(chan struct{}, 10), make(chan struct{})
	s.between(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPatch {
			return false
		}
		asked <- struct{}{}
		<-answered
		http.Error(w, "{}", http.StatusServiceUnavailable)
		return true
	})
	bob.Type(webtest.In("preferences", "#after"), "4")
	bob.Until("it is not asked for", func() bool { return len(asked) == 1 })
	bob.Click(webtest.In("preferences", "[type=checkbox]"))
	close(answered)
	s.does(t, bob, "the channel is not muted", "exists (select from headway.subscription where user_id = 2 and muted)")
	bob.until("it is not shown as it is", webtest.In("preferences", "#after")+`.value === ""`)
	bob.Shows("preferences", "busy")
}

// TestPreferencesThatAreOpenedAgainAreAsTheyWereLeft opens them while what was changed in them is being saved.
func TestPreferencesThatAreOpenedAgainAreAsTheyWereLeft(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	bob := s.open(t, webtest.Chromium(t), "#2")
	bob.Shows("title", "Website")
	after := `document.querySelector("headway-preferences")?.shadowRoot.querySelector("#after")`
	bob.Click(`document.getElementById("who")`)
	bob.until("there are no preferences", "!!"+after)
	asked, letGo := s.holds(func(r *http.Request) bool { return r.URL.Path == "/api/account" })
	bob.Type(after, "4")
	bob.Until("it is not asked for", func() bool { return len(asked) == 1 })
	webtest.Evaluate[any](bob.Tab, `["close", "who"].forEach((button) => document.getElementById(button).click())`)
	webtest.Evaluate[bool](bob.Tab, `fetch("/").then((r) => r.ok)`) // what comes before it has come
	if n := len(asked); n != 1 {
		t.Errorf("what is being changed is read: %d requests", n)
	}
	letGo()
	bob.until("it shows what was before", after+`?.value === "240 minutes"`)
}
