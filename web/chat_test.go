package web

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"headway/internal/pgtest"
	"headway/internal/webtest"
)

// TestWhatIsTypedWhileAMessageIsSentIsKept has the gateway take its time over a message, and over one that it refuses.
func TestWhatIsTypedWhileAMessageIsSentIsKept(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	v := s.open(t, webtest.Chromium(t), "#2", "503")
	v.Shows("title", "Website")
	webtest.Evaluate[any](v.Tab, `(() => { const real = fetch; window.held = []; window.fetch = (url, options) => options?.method === "POST" && String(url).endsWith("/messages")
		? new Promise((resolve) => held.push(resolve)).then((answer) => answer ?? real(url, options)) : real(url, options); })()`)
	field := func(want string) {
		t.Helper()
		v.Until("the field does not say "+want, func() bool {
			return webtest.Evaluate[string](v.Tab, "("+webtest.In("chat", "textarea")+`.value.match(/\S+/g) ?? []).join(" ")`) == want
		})
	}
	v.write("first")
	v.Until("nothing is sent", func() bool { return webtest.Evaluate[int](v.Tab, "held.length") == 1 })
	v.Type(webtest.In("chat", "textarea"), "second")
	webtest.Evaluate[any](v.Tab, "held[0]()")
	v.Shows("chat", "first")
	field("second")
	v.Until("it cannot be sent", func() bool {
		return webtest.Evaluate[bool](v.Tab, webtest.In("chat", ".send")+`.ariaDisabled !== "true"`)
	})
	v.Type(webtest.In("chat", "textarea"), kb.Enter)
	v.Until("nothing is sent", func() bool { return webtest.Evaluate[int](v.Tab, "held.length") == 2 })
	v.Type(webtest.In("chat", "textarea"), "third")
	webtest.Evaluate[any](v.Tab, `held[1](new Response("{}", { status: 503 }))`)
	field("second third")
}

// TestWhatIsOnTheScreenIsReadInTheEnd has the gateway be away when a message that somebody sees is to be marked read.
func TestWhatIsOnTheScreenIsReadInTheEnd(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	bob := s.open(t, webtest.Chromium(t), "#2")
	bob.Shows("title", "Website")
	webtest.Evaluate[any](bob.Tab, `(() => { const real = fetch; window.refused = 0; window.fetch = (url, options) =>
		String(url).endsWith("/read") && window.refused++ === 0 ? Promise.resolve(new Response("{}", { status: 503 })) : real(url, options); })()`)
	pgtest.Execute(t, s.conn, "select headway.post(1, 'project_1', 'Seen')")
	bob.Shows("chat", "Seen")
	s.does(t, bob, "it stays unread", "read_seq = 1 from headway.subscription where user_id = 2 and channel = 'project_1'")
	if webtest.Evaluate[int](bob.Tab, "refused") < 2 {
		t.Error("nothing was refused")
	}
}

// TestWhatIsNotMarkedReadIsTriedOnceAtATime has the gateway refuse it while much happens that may have something marked.
func TestWhatIsNotMarkedReadIsTriedOnceAtATime(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	bob := s.made(t, webtest.Chromium(t), `<headway-chat id="chat" channel="project_1"></headway-chat>`, `
		window.tried = 0;
		const real = fetch;
		window.later = setTimeout;
		window.fetch = (url, options) => String(url).endsWith("/read") ? (tried++, Promise.resolve(new Response("{}", { status: 503 }))) : real(url, options);
		window.pauses = [];
		window.setTimeout = (act, delay, ...more) => delay === 5_000 ? pauses.push(act) : later(act, delay, ...more);`)
	pgtest.Execute(t, s.conn, "select headway.post(1, 'project_1', 'Seen')")
	bob.until("it is not tried", "pauses.length === 1")
	for n := range 3 {
		pgtest.Execute(t, s.conn, fmt.Sprintf("select headway.post(1, 'project_1', 'More %d')", n))
		bob.Shows("chat", fmt.Sprintf("More %d", n))
		webtest.Evaluate[any](bob.Tab, `new Promise((resolve) => { dispatchEvent(new Event("focus")); requestAnimationFrame(() => requestAnimationFrame(() => later(resolve))); })`)
	}
	if got := webtest.Evaluate[string](bob.Tab, "tried + ' ' + pauses.length"); got != "1 1" {
		t.Errorf("it was tried, and is to be tried again: %s", got)
	}
	webtest.Evaluate[any](bob.Tab, "pauses[0]()")
	bob.until("it is not tried again", "tried === 2")
}

// TestWhatWasBegunIsThereAfterALookElsewhere has somebody write, look at another channel, and come back.
func TestWhatWasBegunIsThereAfterALookElsewhere(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	bob := s.open(t, webtest.Chromium(t), "#2")
	bob.Shows("title", "Website")
	field := webtest.In("chat", "textarea")
	bob.Type(field, "begun")
	for _, c := range []struct{ channel, want string }{{"broadcast", ""}, {"project_1", "begun"}} {
		webtest.Evaluate[any](bob.Tab, `document.getElementById("chat").setAttribute("channel", "`+c.channel+`")`)
		bob.Until("the field of "+c.channel+" does not say "+c.want, func() bool {
			return webtest.Evaluate[string](bob.Tab, field+"?.value ?? 'none'") == c.want
		})
	}
	bob.Type(field, " and done"+kb.Enter)
	bob.Shows("chat", "begun and done")
	webtest.Evaluate[any](bob.Tab, `document.getElementById("chat").setAttribute("channel", "broadcast"); document.getElementById("chat").setAttribute("channel", "project_1")`)
	if left := webtest.Evaluate[string](bob.Tab, field+".value.trim()"); left != "" {
		t.Errorf("%q is to be sent again", left)
	}
	bob.Type(field, "mine")
	webtest.Evaluate[any](bob.Tab, `location.hash = "#3"`)
	bob.Shows("who", "Charlie")
	if left := webtest.Evaluate[string](bob.Tab, field+".value.trim()"); left != "" {
		t.Errorf("Charlie is shown %q", left)
	}
}

// TestTheSecondMessageComesSecond has somebody look elsewhere and back while a message is being sent, and send another.
func TestTheSecondMessageComesSecond(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	bob := s.made(t, webtest.Chromium(t), `<headway-chat id="chat" channel="project_1"></headway-chat>`, "")
	bob.until("there is nothing to write in", webtest.In("chat", "form")+"?.hidden === false")
	asked, letGo := s.holds(func(r *http.Request) bool {
		return r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/messages")
	})
	bob.write("first")
	bob.Until("it is not sent", func() bool { return len(asked) == 1 })
	webtest.Evaluate[any](bob.Tab, `["broadcast", "project_1"].forEach((channel) => document.getElementById("chat").setAttribute("channel", channel))`)
	bob.write("second")
	webtest.Evaluate[bool](bob.Tab, `fetch("/").then((r) => r.ok)`) // what is sent before has come
	if n := len(asked); n != 1 {
		t.Errorf("%d messages are being sent", n)
	}
	letGo()
	bob.Shows("chat", "first")
	bob.until("it cannot be sent", webtest.In("chat", ".send")+`.ariaDisabled !== "true"`)
	bob.Type(webtest.In("chat", "textarea"), kb.Enter)
	bob.Shows("chat", "second")
}

// TestWhatIsSaidWhileAChatLoadsIsShown keeps back what a chat has asked for until somebody has said something more.
func TestWhatIsSaidWhileAChatLoadsIsShown(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	bob := s.open(t, webtest.Chromium(t), "#2")
	bob.Shows("title", "Website")
	webtest.Evaluate[bool](bob.Tab, `((fetched) => {
		window.fetch = async (...asked) => {
			const answer = await fetched(...asked);
			if (String(asked[0]).includes("/broadcast/messages")) await new Promise((release) => (window.release = release));
			return answer;
		};
		document.getElementById("chat").setAttribute("channel", "broadcast");
		return true;
	})(window.fetch)`)
	bob.Until("the chat asks for nothing", func() bool { return webtest.Evaluate[bool](bob.Tab, `!!window.release`) })
	pgtest.Execute(t, s.conn, "select headway.post(4, 'broadcast', 'Meanwhile')")
	bob.Until("the page is not told", func() bool { return webtest.Evaluate[bool](bob.Tab, `document.title.startsWith("(")`) })
	webtest.Evaluate[bool](bob.Tab, `(window.release(), (window.release = () => {}), true)`)
	bob.Until("the chat does not show it", func() bool {
		return webtest.Evaluate[bool](bob.Tab, `(window.release(), true)`) && strings.Contains(bob.Text("chat"), "Meanwhile")
	})
}

// TestEverybodyHasAName has others speak and act, among them one who comes to the project after its people were asked for,
// one who has left it since, and one who never was in it.
func TestEverybodyHasAName(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	pgtest.Execute(t, s.conn, `
insert into headway.member (project_id, user_id, role) values (1, 5, 'customer');
select headway.post(5, 'project_1', 'I was here');
delete from headway.member where project_id = 1 and user_id = 5;`)
	browser := webtest.Chromium(t)
	bob, dora := s.open(t, browser, "#2"), s.open(t, browser, "#4")
	said := func(v *tab, id string, want ...string) {
		t.Helper()
		v.Shows(id, want[len(want)-1])
		text := v.Text(id)
		for _, w := range want {
			if !strings.Contains(text, w) || strings.Contains(text, "Somebody") {
				t.Errorf("%s does not show %s: %q", id, w, text)
			}
		}
	}
	said(bob, "chat", "Eve", "I was here")
	pgtest.Execute(t, s.conn, "select headway.post(1, 'project_1', 'Hello')")
	said(bob, "chat", "Abe", "Hello")
	pgtest.Execute(t, s.conn, "select headway.complete_task(2, 3, 4), headway.fold()")
	said(dora, "activity", "Dora completed “Profile” for Charlie")

	pgtest.Execute(t, s.conn, `
insert into headway.member (project_id, user_id, role) values (1, 5, 'customer');
select headway.complete_task(2, 5, 4), headway.fold();`)
	said(dora, "activity", "Dora completed “Profile” for Eve")

	pgtest.Execute(t, s.conn, "insert into headway.appuser (id, fullname) values (6, 'Frida'); select headway.post(6, 'broadcast', 'News')")
	bob.Click(webtest.In("inbox", "button"))
	bob.Click(webtest.In("inbox", "[data-channel=broadcast]"))
	said(bob, "chat", "Frida", "News")
}

// TestWhatIsOlderLeavesNothingOut has a long conversation be shortened, as one says something oneself, while more of it is on
// its way.
func TestWhatIsOlderLeavesNothingOut(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	pgtest.Execute(t, s.conn, "select headway.post(1, 'project_1', 'No. ' || n) from generate_series(1, 1500) n")
	bob := s.made(t, webtest.Chromium(t), `<headway-chat id="chat" channel="project_1"></headway-chat>`, `
		window.hold = window.held = null;
		const real = fetch;
		window.fetch = async (url, options) => {
			if (!String(url).includes("before=")) return real(url, options);
			const answer = await real(String(url).replace("limit=50", "limit=500"), options);
			if (hold) await new Promise((resolve) => { window.held = resolve; });
			return answer;
		};`)
	const said = `[...document.getElementById("chat").shadowRoot.querySelectorAll(".text")].map((e) => Number(/^No\. (\d+)/.exec(e.textContent)?.[1]))`
	bob.until("there is nothing", said+".length === 50")
	for n := 550; n <= 1050; n += 500 {
		bob.Click(webtest.In("chat", ".older"))
		bob.until("there is no more", fmt.Sprintf(said+".length === %d", n))
	}
	webtest.Evaluate[any](bob.Tab, "void (window.hold = true)")
	bob.Click(webtest.In("chat", ".older"))
	bob.until("it is not asked for", "held !== null")
	pgtest.Execute(t, s.conn, "select headway.post(2, 'project_1', 'No. 1501')")
	bob.until("it is not shortened", said+".length === 300")
	webtest.Evaluate[any](bob.Tab, "new Promise((resolve) => { hold = null; held(); setTimeout(resolve, 100); })")
	if !webtest.Evaluate[bool](bob.Tab, said+`.every((n, i, all) => n === all[0] + i)`) {
		t.Error("something is left out")
	}
}

// TestALongConversationIsShortened says more than a page keeps drawn, and asks for what it left out.
func TestALongConversationIsShortened(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	bob := s.open(t, webtest.Chromium(t), "#2")
	bob.Shows("title", "Website")
	const said = 750
	pgtest.Execute(t, s.conn, "select headway.post(1, 'project_1', 'No. ' || n) from generate_series(1, 750) n")
	entries := func() int {
		return webtest.Evaluate[int](bob.Tab, `document.getElementById("chat").shadowRoot.querySelectorAll(".entry").length`)
	}
	bob.Until("the last is not shown", func() bool {
		return webtest.Evaluate[bool](bob.Tab, `!!document.getElementById("chat").shadowRoot.querySelector(".entry:last-child")?.textContent.includes("No. 750")`)
	})
	n := entries()
	if n < 300 || n >= said {
		t.Errorf("of %d messages %d are drawn", said, n)
	}
	webtest.Evaluate[bool](bob.Tab, `[...document.getElementById("chat").shadowRoot.querySelectorAll(".entry")].every((e) => (e.kept = true))`)
	bob.Click(webtest.In("chat", ".older"))
	bob.Until("what is older is not shown", func() bool { return entries() == n+50 })
	// Above what was there, which is not drawn again, but for the first, that goes on with what is above it.
	got := webtest.Evaluate[string](bob.Tab, `(() => {
		const { children } = document.getElementById("chat").shadowRoot.querySelector(".log > div");
		const [day, first, ...rest] = [...children];
		const said = rest.map((e) => Number(/No\. (\d+)/.exec(e.textContent)?.[1]));
		return [day.className, first.className.trim(), rest.filter((e) => e.kept).length, rest.filter((e) => e.classList.contains("more")).length,
			said.every((n, i) => n === said[0] + i)].join();
	})()`)
	if want := fmt.Sprintf("day,entry,%d,%d,true", n-1, n+49); got != want {
		t.Errorf("the page has %q, want %q", got, want)
	}
	if text := bob.Text("chat"); strings.Count(text, "No. 750") != 1 || strings.Contains(text, "Somebody") {
		t.Errorf("the chat says %q", text)
	}
}

// TestWhatIsTypedStaysInTheField has somebody ask for what is older, at first in vain, and write before it comes.
func TestWhatIsTypedStaysInTheField(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	pgtest.Execute(t, s.conn, "select headway.post(1, 'project_1', 'No. ' || n) from generate_series(1, 60) n")
	bob := s.made(t, webtest.Chromium(t), `<headway-chat id="chat" channel="project_1"></headway-chat>`, "", "503")
	bob.Shows("chat", "No. 60")
	answers := make(chan bool)
	s.between(func(w http.ResponseWriter, r *http.Request) bool {
		refused := r.URL.Query().Has("before") && !<-answers
		if refused {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		return refused
	})
	bob.Click(webtest.In("chat", ".older"))
	answers <- false
	bob.Shows("chat", "busy")
	bob.Click(webtest.In("chat", ".older"))
	bob.Type(webtest.In("chat", "textarea"), "half")
	answers <- true
	bob.Shows("chat", "No. 1\n")
	bob.Do(chromedp.KeyEvent(" a message"))
	if text := webtest.Evaluate[string](bob.Tab, webtest.In("chat", "textarea")+".value"); text != "half a message" {
		t.Errorf("of what was typed, %q is there", text)
	}
	if text := bob.Text("chat"); strings.Contains(text, "busy") {
		t.Error("what has come is said to have failed")
	}
}

// TestTheDayTurns has midnight pass by while a page is open.
func TestTheDayTurns(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	var sent int64
	if err := s.conn.QueryRow(t.Context(), "select (extract(epoch from sent_at) * 1000)::bigint from headway.post(1, 'broadcast', 'Good night')").Scan(&sent); err != nil {
		t.Fatal(err)
	}
	bob := s.open(t, webtest.Chromium(t), "#2")
	bob.Shows("title", "Website")
	// No other midnight does: the page's clock shows when it was sent.
	webtest.Evaluate[bool](bob.Tab, fmt.Sprintf(`(() => {
		window.minutes = [];
		window.setInterval = (act) => minutes.push(act);
		const real = window.Date;
		window.today = new real(%d);
		window.Date = class extends real { constructor(...given) { given.length ? super(...given) : super(today.getTime()); } };
		document.getElementById("chat").setAttribute("channel", "broadcast");
		return true;
	})()`, sent))
	bob.Shows("chat", "Good night")
	bob.Shows("chat", "Today")
	webtest.Evaluate[bool](bob.Tab, `(() => {
		today.setDate(today.getDate() + 1);
		for (const act of minutes) act();
		return true;
	})()`)
	bob.Shows("chat", "Yesterday")
	if text := bob.Text("chat"); strings.Contains(text, "Today") {
		t.Errorf("the chat says %q", text)
	}
}
