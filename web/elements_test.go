package web

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"

	"headway/internal/gatewaytest"
	"headway/internal/pgtest"
	"headway/internal/webtest"
)

// made opens a page that somebody has made of elements, with a client for person 2 in window.client; become(id) has it ask
// for the tokens of another, and of nobody for null. Before that, the script runs.
func (s *site) made(t *testing.T, browser context.Context, body, script string, expected ...string) *tab {
	t.Helper()
	tokens := "{"
	for id := range int64(5) {
		tokens += fmt.Sprintf("%d: %q,", id+1, gatewaytest.Token(t, id+1, time.Now().Add(time.Hour)))
	}
	page := `<!doctype html><html lang="en"><title>made</title><link rel="icon" href="data:,"><body style="margin: 8px">` + body + `<script type="module">
import { Headway } from "/headway.js";
import { use } from "/elements.js";
let id = 2;
const tokens = ` + tokens + `};
window.become = (other) => { id = other; };
window.client = new Headway({ token: async () => id && tokens[id] });
` + script + `
use(client);
client.connect();
</script>`
	s.handler.(*http.ServeMux).HandleFunc("GET /made", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(page)) })
	v := &tab{webtest.Open(t, browser, "http://"+s.address+"/made", expected...)}
	v.Until("the page is not connected", func() bool { return webtest.Evaluate[string](v.Tab, "window.client?.state") == "open" })
	return v
}

// until waits until an expression in the page is true.
func (v *tab) until(what, expression string) {
	v.Until(what, func() bool { return webtest.Evaluate[bool](v.Tab, expression) })
}

// TestWhatIsBelowTheFoldIsUnread has a conversation begin below the window.
func TestWhatIsBelowTheFoldIsUnread(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	pgtest.Execute(t, s.conn, "select headway.post(1, 'project_1', 'No. ' || n) from generate_series(1, 40) n")
	bob := s.made(t, webtest.Chromium(t), `<div style="height: 900px"></div><headway-chat id="chat" channel="project_1"></headway-chat>`, `
		window.posted = [];
		const real = fetch;
		window.fetch = (url, options) => { posted.push(String(url)); return real(url, options); };`)
	bob.Shows("chat", "No. 40")
	pgtest.Execute(t, s.conn, "select headway.post(1, 'project_1', 'No. 41')")
	bob.Shows("chat", "No. 41")
	// Two frames later everything has been looked at.
	webtest.Evaluate[any](bob.Tab, `requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(() => { window.looked = true; }, 100)))`)
	bob.until("nothing is looked at", "window.looked === true")
	if posted := webtest.Evaluate[string](bob.Tab, "posted.join()"); strings.Contains(posted, "/read") {
		t.Errorf("it is marked read: %s", posted)
	}
	webtest.Evaluate[any](bob.Tab, "scrollTo(0, document.body.scrollHeight)")
	s.does(t, bob, "it stays unread", "read_seq = 41 from headway.subscription where user_id = 2 and channel = 'project_1'")
}

// TestTheNextPersonSeesNothingOfTheLast has three people use one page, one after the other.
func TestTheNextPersonSeesNothingOfTheLast(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	pgtest.Execute(t, s.conn, "select headway.post(1, 'project_1', 'Secret')")
	v := s.made(t, webtest.Chromium(t), `<headway-chat id="chat" channel="project_1"></headway-chat>`, "", "401", "403", "404")
	v.Shows("chat", "Secret")
	v.Type(webtest.In("chat", "textarea"), "half a message of Bob")
	become := func(id, name string) {
		t.Helper()
		webtest.Evaluate[any](v.Tab, "(client.close(), become("+id+"), client.connect())")
		v.until(name+" is not there", `client.state === "open" && client.fullname === "`+name+`"`)
	}
	become("5", "Eve") // of another project
	if text := v.Text("chat"); strings.Contains(text, "Secret") {
		t.Errorf("Eve sees %q", text)
	}
	become("3", "Charlie")
	v.Shows("chat", "Secret")
	draft := webtest.In("chat", "textarea") + ".value"
	if text := webtest.Evaluate[string](v.Tab, draft); text != "" {
		t.Errorf("Charlie finds %q begun", text)
	}
	become("2", "Bob")
	v.until("Bob's draft is gone", draft+` === "half a message of Bob"`)
}

// heldBack has what is posted below a path wait until it is let go; the first of it is then refused with a status.
func (s *site) heldBack(path string, status int) (asked <-chan struct{}, letGo func()) {
	came, answered := make(chan struct{}, 10), make(chan struct{})
	var refused atomic.Bool
	s.between(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPost || !strings.HasPrefix(r.URL.Path, path) {
			return false
		}
		came <- struct{}{}
		<-answered
		if refused.Swap(true) {
			return false
		}
		w.WriteHeader(status)
		return true
	})
	return came, func() { close(answered) }
}

// TestWhatIsRefusedIsNotSentForTheNextPerson has Bob's token expire, and Charlie sign in before Bob's message is refused: with
// the same client, and with the page's next one.
func TestWhatIsRefusedIsNotSentForTheNextPerson(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	browser := webtest.Chromium(t)
	made := s.made(t, browser, `<headway-chat id="chat" channel="project_1"></headway-chat>`, "", "401")
	for _, c := range []struct {
		*tab
		next, isThere string
	}{
		{made, "(client.close(), become(3), client.connect())", `client.state === "open" && client.fullname === "Charlie"`},
		{s.open(t, browser, "#2", "401"), `location.hash = "#3"`, `document.getElementById("who").textContent === "Charlie"`},
	} {
		c.until("there is nothing to write in", webtest.In("chat", "form")+"?.hidden === false")
		webtest.Evaluate[any](c.Tab, "void (window.field = "+webtest.In("chat", "textarea")+")")
		asked, letGo := s.heldBack("/api/channels/", http.StatusUnauthorized)
		c.write("of Bob")
		c.Until("it is not sent", func() bool { return len(asked) == 1 })
		webtest.Evaluate[any](c.Tab, c.next)
		c.until("Charlie is not there", c.isThere)
		letGo()
		c.until("after "+c.next+" it is not Bob's to send any more", `field.value.trim() === "of Bob"`)
	}
	s.does(t, made, "Charlie has said it", "not exists (select from headway.message where sender = 3)")
}

// TestWhatWaitsIsNotSentForTheNextPerson has Bob take a tick back before it is answered, and Charlie sign in meanwhile.
func TestWhatWaitsIsNotSentForTheNextPerson(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	pgtest.Execute(t, s.conn, "select headway.complete_task(2, 3), headway.fold()")
	v := s.made(t, webtest.Chromium(t), `<headway-tasks id="tasks" project="1"></headway-tasks>`, `
		window.answered = 0;
		const real = fetch;
		window.fetch = (url, options) => real(url, options).finally(() => { window.answered += String(url).endsWith("/complete"); });`)
	v.Shows("tasks", "Profile")
	asked, letGo := s.holds(func(r *http.Request) bool {
		return r.Method == http.MethodPost && strings.HasPrefix(r.URL.Path, "/api/tasks/")
	})
	v.Click(task("Profile", "input"))
	v.Until("it is not asked for", func() bool { return len(asked) == 1 })
	v.Click(task("Profile", "input"))
	webtest.Evaluate[any](v.Tab, "(client.close(), become(3), client.connect())")
	v.until("Charlie is not there", `client.state === "open" && client.fullname === "Charlie"`)
	letGo()
	v.until("it is not answered", "answered > 0")
	webtest.Evaluate[bool](v.Tab, `fetch("/").then((r) => r.ok)`) // what is sent before has come after that
	if n := len(asked); n != 1 {
		t.Error("what Bob wanted is done to Charlie's task")
	}
}

// TestNothingIsSentBeforeItIsKnownForWhom has Charlie sign in while Bob's changes wait for each other, and Bob's last message be
// sent before Charlie is connected.
func TestNothingIsSentBeforeItIsKnownForWhom(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	pgtest.Execute(t, s.conn, "select headway.complete_task(2, 3), headway.fold()")
	v := s.made(t, webtest.Chromium(t), `<headway-tasks id="tasks" project="1"></headway-tasks><headway-chat id="chat" channel="project_1"></headway-chat>`, "")
	v.Shows("tasks", "Profile")
	v.until("there is nothing to write in", webtest.In("chat", "form")+"?.hidden === false")
	asked, answered, known := make(chan string, 10), make(chan struct{}), make(chan struct{})
	answer, connect := sync.OnceFunc(func() { close(answered) }), sync.OnceFunc(func() { close(known) })
	t.Cleanup(answer)
	t.Cleanup(connect)
	s.between(func(_ http.ResponseWriter, r *http.Request) bool {
		switch {
		case r.URL.Path == "/api/ws":
			<-known
		case r.Method != http.MethodGet:
			asked <- r.Method + " " + r.URL.Path
			<-answered
		}
		return false
	})
	webtest.Evaluate[any](v.Tab, `void (window.both = Promise.allSettled([client.prefer({ time_zone: "Europe/Lisbon" }), client.prefer({ digest_after: "1 hour" })]))`)
	v.Click(task("Profile", "input"))
	v.Until("it is not asked for", func() bool { return len(asked) == 2 })
	v.Click(task("Profile", "input"))
	webtest.Evaluate[any](v.Tab, "(client.close(), become(3), client.connect())")
	v.write("of Bob")
	answer()
	if got := webtest.Evaluate[string](v.Tab, `both.then((all) => all.map((one) => one.status).join())`); got != "fulfilled,rejected" {
		t.Errorf("Bob's preferences were %s", got)
	}
	webtest.Evaluate[bool](v.Tab, `fetch("/").then((r) => r.ok)`) // what is sent before has come after that
	if n := len(asked); n != 2 {
		t.Errorf("%d requests are sent, the last of them as Charlie", n)
	}
	connect()
	v.until("Charlie is not there", `client.state === "open" && client.fullname === "Charlie"`)
}

// TestALateAnswerSaysNothingOfTheNextPerson has Bob mute a channel and mark it read, and Charlie sign in before that is answered.
func TestALateAnswerSaysNothingOfTheNextPerson(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	pgtest.Execute(t, s.conn, "select headway.post(1, 'project_1', 'Hello')")
	v := s.made(t, webtest.Chromium(t), "", "")
	v.until("nothing is unread", `client.channels.get("project_1").unread === 1`)
	asked, letGo := s.holds(func(r *http.Request) bool { return r.Method != http.MethodGet })
	webtest.Evaluate[any](v.Tab, `void (window.all = Promise.all([client.mute("project_1", true), client.markRead("project_1"), client.markAllRead()]))`)
	v.Until("it is not asked for", func() bool { return len(asked) == 3 })
	webtest.Evaluate[any](v.Tab, "(client.close(), become(3), client.connect())")
	v.until("Charlie is not there", `client.state === "open" && client.fullname === "Charlie"`)
	letGo()
	const project = `all.then(() => client.channels.get("project_1")).then((c) => [c.muted, c.unread].join())`
	if got := webtest.Evaluate[string](v.Tab, project); got != "false,1" {
		t.Errorf("for Charlie, muted and unread are %s", got)
	}
}

// TestWhatIsReadForAnotherRoleIsNotShown changes what somebody is in a project while their tasks are being read.
func TestWhatIsReadForAnotherRoleIsNotShown(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	bob := s.made(t, webtest.Chromium(t), `<headway-tasks id="tasks" project="1"></headway-tasks>`, "")
	bob.Shows("tasks", "Domain")
	bob.keepsBack("/tasks")
	pgtest.Execute(t, s.conn, "select headway.complete_task(1, 3), headway.fold()")
	bob.until("nothing is read", "held !== null")
	pgtest.Execute(t, s.conn, "update headway.member set role = 'staff' where project_id = 1 and user_id = 2; select headway.fold()")
	bob.Shows("tasks", "Charlie")
	bob.letCome()
	if text := bob.Text("tasks"); strings.Contains(text, "Profile") {
		t.Errorf("staff see %q", text)
	}
}

// TestAMessageThatCouldNotBeSentIsThere has one refused after a look at another channel.
func TestAMessageThatCouldNotBeSentIsThere(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	bob := s.made(t, webtest.Chromium(t), `<headway-chat id="chat" channel="project_1"></headway-chat>`, `
		window.held = null;
		const real = fetch;
		window.fetch = (url, options) => options?.method === "POST" && String(url).endsWith("/messages") ? new Promise((resolve) => { window.held = resolve; }) : real(url, options);`, "503")
	bob.write("important")
	bob.until("nothing is sent", "held !== null")
	look := func(channel string) {
		webtest.Evaluate[any](bob.Tab, `document.getElementById("chat").setAttribute("channel", "`+channel+`")`)
	}
	look("broadcast")
	look("project_1")
	webtest.Evaluate[any](bob.Tab, `held(new Response("{}", { status: 503 }))`)
	bob.until("it is lost", webtest.In("chat", "textarea")+`.value.trim() === "important"`) // Enter leaves a line, as it is typed here
	bob.Shows("chat", "busy")
}

// TestWhatWasKeptIsNotSentTwice has the answer to a message be lost after the message has come back, before it, and for ever.
func TestWhatWasKeptIsNotSentTwice(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	bob := s.made(t, webtest.Chromium(t), `<headway-chat id="chat" channel="project_1"></headway-chat>`, `
		window.lose = window.send = null;
		const real = fetch;
		window.fetch = (url, options) => options?.method === "POST" && String(url).endsWith("/messages")
			? new Promise((_, reject) => { window.lose = () => reject(new TypeError("Failed to fetch")); window.send = () => void real(url, options); })
			: real(url, options);`)
	draft := webtest.In("chat", "textarea") + ".value.trim()"
	alert := webtest.In("chat", ".alert") + ".textContent"
	say := func(content string) {
		t.Helper()
		webtest.Evaluate[any](bob.Tab, "void (window.send = null)")
		bob.write(content)
		bob.until("nothing is sent", "send !== null")
	}
	idle := webtest.In("chat", ".send") + `.ariaDisabled === "false"`

	say("first")
	webtest.Evaluate[any](bob.Tab, "send()")
	bob.Shows("chat", "first")
	webtest.Evaluate[any](bob.Tab, "lose()")
	bob.until("it is being sent for ever", idle)
	if left := webtest.Evaluate[string](bob.Tab, draft+" + "+alert); left != "" {
		t.Errorf("what is shown above is to be sent again: %q", left)
	}

	say("second")
	webtest.Evaluate[any](bob.Tab, "lose()")
	bob.until("it is lost", draft+` === "second"`)
	webtest.Evaluate[any](bob.Tab, "send()")
	bob.Shows("chat", "second")
	bob.until("what has come is to be sent again", draft+" + "+alert+` === ""`)

	say("second")
	webtest.Evaluate[any](bob.Tab, "lose()")
	bob.until("it is lost", draft+` === "second"`)
	pgtest.Execute(t, s.conn, "select headway.post(1, 'project_1', 'second')")
	bob.until("nothing comes", webtest.In("chat", ".log")+`.textContent.split("second").length === 3`)
	if left := webtest.Evaluate[string](bob.Tab, draft); left != "second" {
		t.Errorf("of what did not come, %q is left", left)
	}
}

// TestASecondMessageIsNotTakenForTheFirst has somebody say the same twice, the second time in vain, and the first come late.
func TestASecondMessageIsNotTakenForTheFirst(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	bob := s.made(t, webtest.Chromium(t), `<headway-chat id="chat" channel="project_1"></headway-chat>`, `
		window.late = null;
		const { get, set } = Object.getOwnPropertyDescriptor(WebSocket.prototype, "onmessage");
		Object.defineProperty(WebSocket.prototype, "onmessage", {
			get, set(hear) { set.call(this, (event) => late ? late.push(() => hear(event)) : hear(event)); },
		});
		window.reach = true;
		const real = fetch;
		window.fetch = (url, options) => reach || options?.method !== "POST" ? real(url, options) : Promise.reject(new TypeError("Failed to fetch"));`)
	draft := webtest.In("chat", "textarea") + ".value.trim()"
	idle := webtest.In("chat", ".send") + `.ariaDisabled === "false"`
	webtest.Evaluate[any](bob.Tab, "void (window.late = [])")
	bob.write("yes")
	bob.until("it is being sent for ever", idle)
	webtest.Evaluate[any](bob.Tab, "void (window.reach = false)")
	bob.write("yes")
	bob.until("it is lost", draft+` === "yes"`)
	webtest.Evaluate[any](bob.Tab, "(late.splice(0).forEach((hear) => hear()), window.late = null)")
	bob.Shows("chat", "yes")
	if left := webtest.Evaluate[string](bob.Tab, draft); left != "yes" {
		t.Errorf("of what did not come, %q is left", left)
	}
}

// TestWhoeverLooksAgainSeesWhatNobodyWasToldOf renames a task, which moves no bar, while nobody looks.
func TestWhoeverLooksAgainSeesWhatNobodyWasToldOf(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	bob := s.made(t, webtest.Chromium(t), `<headway-tasks id="tasks" project="1"></headway-tasks>`, `
		const now = Date.now;
		window.later = 0;
		Date.now = () => now() + later;`)
	bob.Shows("tasks", "Domain")
	pgtest.Execute(t, s.conn, "update headway.task set title = 'Choose a name' where title = 'Domain'")
	bob.LookAway()
	webtest.Evaluate[any](bob.Tab, "void (window.later = 20_000)")
	bob.LookBack()
	bob.Shows("tasks", "Choose a name")
	if text := bob.Text("tasks"); strings.Contains(text, "Counts as") {
		t.Errorf("tasks that all weigh the same say %q", text)
	}
	pgtest.Execute(t, s.conn, "update headway.task set weight = 3 where title = 'Choose a name'; select headway.fold()")
	bob.Shows("tasks", "Counts as 3")
}

// TestOnesOwnMessageComesIntoView sends one from the middle of a conversation.
func TestOnesOwnMessageComesIntoView(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	pgtest.Execute(t, s.conn, "select headway.post(1, 'project_1', 'No. ' || n) from generate_series(1, 40) n")
	bob := s.made(t, webtest.Chromium(t), `<headway-chat id="chat" channel="project_1"></headway-chat>`, "")
	bob.Shows("chat", "No. 40")
	log := webtest.In("chat", ".log")
	webtest.Evaluate[any](bob.Tab, `new Promise((resolve) => { `+log+`.addEventListener("scroll", () => setTimeout(resolve), { once: true }); `+log+`.scrollTop = 300; })`)
	pgtest.Execute(t, s.conn, "select headway.post(1, 'project_1', 'of Abe')")
	bob.Shows("chat", "of Abe")
	if top := webtest.Evaluate[int](bob.Tab, log+".scrollTop"); top != 300 {
		t.Errorf("what others say moves the conversation to %d", top)
	}
	bob.write("of Bob")
	bob.until("it stays out of view", log+".scrollHeight - "+log+".scrollTop - "+log+".clientHeight < 5")
}

// TestWhoeverScrollsUpStaysThere has a message come in the frame in which somebody scrolls up.
func TestWhoeverScrollsUpStaysThere(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	pgtest.Execute(t, s.conn, "select headway.post(1, 'project_1', 'No. ' || n) from generate_series(1, 40) n")
	bob := s.made(t, webtest.Chromium(t), `<headway-chat id="chat" channel="project_1"></headway-chat>`, "")
	bob.Shows("chat", "No. 40")
	log := webtest.In("chat", ".log")
	bob.until("its end is not in view", log+".scrollTop > 300")
	webtest.Evaluate[any](bob.Tab, `client.addEventListener("message", () => { `+log+`.scrollTop = 300; })`)
	pgtest.Execute(t, s.conn, "select headway.post(1, 'project_1', 'of Abe')")
	bob.Shows("chat", "of Abe")
	if top := webtest.Evaluate[int](bob.Tab, log+".scrollTop"); top != 300 {
		t.Errorf("what others say moves the conversation to %d", top)
	}
}

// TestTheFocusStaysWithItsTask reopens another task while one has the focus.
func TestTheFocusStaysWithItsTask(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	pgtest.Execute(t, s.conn, `
		insert into headway.task (id, project_id, title, shared, position) values (11, 1, 'A', true, 1), (12, 1, 'B', true, 2), (13, 1, 'C', true, 3), (14, 1, 'D', true, 4);
		insert into headway.prerequisite values (12, 11);
		select headway.complete_task(11, 3), headway.fold()`)
	bob := s.made(t, webtest.Chromium(t), `<headway-tasks id="tasks" project="1"></headway-tasks>`, "")
	bob.Shows("tasks", "D")
	webtest.Evaluate[any](bob.Tab, `[...document.getElementById("tasks").shadowRoot.querySelectorAll("li")].find((l) => l.querySelector(".title").textContent === "D").querySelector("input").focus()`)
	pgtest.Execute(t, s.conn, "select headway.reopen_task(11, 3, 4, 'again'), headway.fold()")
	bob.Shows("tasks", "Waits for")
	const focused = `document.getElementById("tasks").shadowRoot.activeElement?.closest("li")?.querySelector(".title").textContent ?? "none"`
	if title := webtest.Evaluate[string](bob.Tab, focused); title != "D" {
		t.Errorf("the focus is on %s", title)
	}
}

// TestAFailoverTakesFromAConversationWhatItLost has the database forget messages that are shown, and give their numbers again.
func TestAFailoverTakesFromAConversationWhatItLost(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	pgtest.Execute(t, s.conn, "select headway.post(1, 'project_1', 'No. ' || n) from generate_series(1, 5) n")
	bob := s.made(t, webtest.Chromium(t), `<headway-chat id="chat" channel="project_1"></headway-chat>`, "")
	bob.Shows("chat", "No. 5")
	s.does(t, bob, "it stays unread", "read_seq = 5 from headway.subscription where user_id = 2 and channel = 'project_1'")
	pgtest.Execute(t, s.conn, `
		set session_replication_role = replica;
		delete from headway.message where channel = 'project_1' and seq > 2;
		update headway.channel set last_seq = 2 where name = 'project_1';
		update headway.subscription set read_seq = least(read_seq, 2), mailed_seq = least(mailed_seq, 2) where channel = 'project_1';
		set session_replication_role = origin;
		select headway.post(1, 'project_1', 'after the failover');
		select pg_notify('headway_events', '{"kind": "subscribed", "channel": "project_1", "user_ids": [2]}')`)
	bob.Shows("chat", "after the failover")
	if text := bob.Text("chat"); strings.Contains(text, "No. 3") || !strings.Contains(text, "No. 2") {
		t.Errorf("the chat says %q", text)
	}
	s.does(t, bob, "what is new stays unread", "read_seq = 3 from headway.subscription where user_id = 2 and channel = 'project_1'")
}

// TestTheInboxOpensWithinTheWindow has it at either side of a page.
func TestTheInboxOpensWithinTheWindow(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	pgtest.Execute(t, s.conn, "update headway.project set name = 'The relaunch of the website of our customer, and all that belongs to it'")
	v := s.made(t, webtest.Chromium(t), `<headway-inbox id="left"></headway-inbox><headway-inbox id="within" style="position: absolute; left: 230px"></headway-inbox>
		<headway-inbox id="right" style="position: absolute; right: 8px"></headway-inbox>`, "")
	for _, id := range []string{"left", "within", "right"} {
		v.Click(webtest.In(id, ".open"))
		within := `((box) => box.width > 0 && box.left >= 0 && box.right <= innerWidth)(` + webtest.In(id, ".panel") + `.getBoundingClientRect())`
		if !webtest.Evaluate[bool](v.Tab, within) {
			t.Errorf("at the %s it opens out of sight", id)
		}
	}
}

// TestAPercentageStaysInOnePiece has a bar that is narrower than what is said above it.
func TestAPercentageStaysInOnePiece(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	v := s.made(t, webtest.Chromium(t), `<headway-progress id="bar" project="1" style="inline-size: 120px"></headway-progress>`, "")
	v.Shows("bar", "%")
	if lines := webtest.Evaluate[int](v.Tab, `((range) => (range.selectNodeContents(`+webtest.In("bar", ".percent")+`), range.getClientRects().length))(new Range())`); lines != 1 {
		t.Errorf("it is on %d lines", lines)
	}
}

// TestABarIsPrinted looks at what browsers leave out on paper, unless told otherwise.
func TestABarIsPrinted(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	v := s.made(t, webtest.Chromium(t), `<headway-progress id="bar" project="1"></headway-progress>`, "")
	v.Shows("bar", "%")
	for _, part := range []string{".track", ".fill"} {
		if got := webtest.Evaluate[string](v.Tab, `getComputedStyle(`+webtest.In("bar", part)+`).printColorAdjust`); got != "exact" {
			t.Errorf("the colour of %s is left out: %s", part, got)
		}
	}
}

func TestAConversationIsPrintedWhole(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	pgtest.Execute(t, s.conn, "select headway.post(1, 'project_1', 'No. ' || n) from generate_series(1, 40) n")
	v := s.made(t, webtest.Chromium(t), `<headway-chat id="chat" channel="project_1"></headway-chat>`, "")
	v.Shows("chat", "No. 40")
	log := webtest.In("chat", ".log")
	hidden := log + ".scrollHeight - " + log + ".clientHeight"
	v.until("it has no end", hidden+" > 0")
	webtest.Call(v.Tab, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Media: "print"})
	v.until("some of it is left out", hidden+" === 0")
}

// TestCustomersBeginInOneLine has one whose name is written from right to left, and one whose name is one long word.
func TestCustomersBeginInOneLine(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	pgtest.Execute(t, s.conn, "update headway.appuser set fullname = case id when 2 then 'نورا' else repeat('Charlie', 20) end where id in (2, 3)")
	v := s.made(t, webtest.Chromium(t), `<headway-tasks id="tasks" project="1"></headway-tasks>`, "become(4);")
	v.Shows("tasks", "نورا")
	for _, edge := range []string{"left", "top"} {
		if places := webtest.Evaluate[int](v.Tab, `new Set([...document.getElementById("tasks").shadowRoot.querySelectorAll(".name")].map((name) => {
			const range = new Range();
			range.selectNodeContents(name);
			return range.getBoundingClientRect().`+edge+` - name.closest("button").getBoundingClientRect().`+edge+`;
		})).size`); places != 1 {
			t.Errorf("from the %s they are in %d places", edge, places)
		}
	}
}

// TestWhatPeopleWriteTurnsNothingAround has names and titles that are written from right to left, or say that what follows is.
func TestWhatPeopleWriteTurnsNothingAround(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	pgtest.Execute(t, s.conn, `
		update headway.appuser set fullname = 'محمد' where id = 1;
		update headway.appuser set fullname = E'Eve\u202Eevil' where id = 3;
		update headway.task set title = E'Pay\u202Ecod' where id = 2;
		select headway.complete_task(1, 1), headway.fold();
		select headway.complete_task(2, 3), headway.fold();`)
	v := s.made(t, webtest.Chromium(t), `<headway-chat id="activity" channel="project_1_staff" readonly></headway-chat>`, "become(4);")
	v.Shows("activity", "completed")
	seen := webtest.Evaluate[string](v.Tab, `[...document.getElementById("activity").shadowRoot.querySelectorAll(".text")].map((text) => {
		const seen = [], walk = document.createTreeWalker(text, NodeFilter.SHOW_TEXT), range = document.createRange();
		for (let node; (node = walk.nextNode()); ) {
			[...node.data].forEach((letter, i) => {
				range.setStart(node, i);
				range.setEnd(node, i + 1);
				if (!/[\p{Bidi_Control}]/u.test(letter)) seen.push([range.getBoundingClientRect().left, letter]);
			});
		}
		return seen.sort((a, b) => a[0] - b[0]).map((s) => s[1]).join("");
	}).join("\n")`)
	for _, want := range []string{"دمحم completed “Domain” · ", "Evelive completed “Paydoc” · "} {
		if !strings.Contains(seen, want) {
			t.Errorf("one sees %q, want %q", seen, want)
		}
	}
}

// TestStaffSeeWhoJoinsAndLeaves has somebody come and go with nothing done.
func TestStaffSeeWhoJoinsAndLeaves(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	dora := s.made(t, webtest.Chromium(t), `<headway-tasks id="tasks" project="1"></headway-tasks><headway-progress id="progress" project="1"></headway-progress>`, "become(4); window.bobs = tokens[2];")
	dora.Shows("progress", "3 customers")
	dora.until("she is not up to date", `client.projects.get(1).version === 1`)
	webtest.Evaluate[any](dora.Tab, `(() => {
		window.moved = 0;
		window.bob = new client.constructor({ token: async () => bobs });
		bob.addEventListener("progress", () => { window.moved++; });
		bob.connect();
	})()`)
	dora.until("Bob is not connected", `bob.state === "open"`)
	pgtest.Execute(t, s.conn, "insert into headway.member (project_id, user_id, role) values (1, 5, 'customer'); select headway.fold()")
	dora.until("Bob is not told", "bob.projects.get(1).version === 2")
	if n := webtest.Evaluate[int](dora.Tab, "moved"); n != 0 {
		t.Errorf("a customer is told %d times that somebody joined", n)
	}
	dora.Shows("progress", "4 customers")
	dora.Shows("tasks", "Eve")
	pgtest.Execute(t, s.conn, "delete from headway.member where project_id = 1 and user_id = 5; select headway.fold()")
	dora.Shows("progress", "3 customers")
	dora.Until("who has left is still there", func() bool { return !strings.Contains(dora.Text("tasks"), "Eve") })
}

// TestWhatFailedIsSaidInWords has an element say why something was refused.
func TestWhatFailedIsSaidInWords(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	v := s.made(t, webtest.Chromium(t), `<headway-tasks id="tasks" project="1"></headway-tasks>`, "", "HeadwayError")
	webtest.Evaluate[any](v.Tab, `(async () => {
		const { HeadwayError } = await import("/headway.js");
		const { english } = await import("/languages/en.js");
		const word = (error) => Object.keys(english).find((key) => english[key] === document.getElementById("tasks").failure(error));
		window.said = [400, 401, 403, 404, 409, 422, 429, 500, 503].map((status) => word(new HeadwayError(status, {})))
			.concat(word(new TypeError("unreachable"))).join();
	})()`)
	v.until("nothing is said", "!!window.said")
	if said := webtest.Evaluate[string](v.Tab, "said"); said != "not_so,not_allowed,not_allowed,not_there,not_now,not_so,busy,busy,busy,offline" {
		t.Errorf("said is %s", said)
	}
}
