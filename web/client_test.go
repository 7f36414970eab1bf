package web

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"headway/internal/gatewaytest"
	"headway/internal/pgtest"
	"headway/internal/webtest"
	"headway/worker/gateway"
)

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
		const read = (last_seq, read_seq, unread) => ({ type: "read", channel: "project_1", last_seq, read_seq, unread, muted: false });
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
			await after(said(8), said(9), { type: "snapshot", snapshot: { user_id: 2, fullname: "Bob", projects: [], // a failover lost them
				channels: [{ channel: "project_1", project_id: 1, last_seq: 7, read_seq: 7, unread: 0, muted: false }] } }, said(8), read(8, 8, 0)),
			await after(said(8, 2)),
			(await told(said(8, 2))).channels.get("project_1").read_seq, // whoever wrote last has read what was before
			(await told(said(8), said(9, 2))).channels.get("project_1").read_seq, // but for what they have not seen
		];`)
	if got != "[1,1,1,2,1,0,1,1,0,0,8,7]" {
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

// TestAClientThatIsClosedByWhomItTellsStaysClosed closes it as soon as it waits.
func TestAClientThatIsClosedByWhomItTellsStaysClosed(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	v := s.open(t, webtest.Chromium(t), "")
	webtest.Evaluate[any](v.Tab, `(async () => {
		const { Headway } = await import("/headway.js");
		const states = [];
		globalThis.fetch = async () => { throw new TypeError("unreachable"); };
		globalThis.WebSocket = class { constructor() { queueMicrotask(() => this.onclose({ code: 1006 })); } close() {} };
		const timers = [];
		globalThis.setTimeout = (act) => timers.push(act);
		const client = new Headway({ token: async () => "x" });
		client.addEventListener("state", ({ detail }) => {
			states.push(detail);
			if (detail === "waiting") client.close();
		});
		client.connect();
		for (let i = 0; i < 100; i++) await null;
		timers.splice(0).forEach((act) => act());
		for (let i = 0; i < 100; i++) await null;
		window.states = states.join();
	})()`)
	v.until("the script does not end", "!!window.states")
	if states := webtest.Evaluate[string](v.Tab, "states"); states != "connecting,waiting,closed" {
		t.Errorf("it is %s", states)
	}
}

// TestAClientThatIsClosedMeanwhileStaysClosed has it be closed while a ticket is on its way.
func TestAClientThatIsClosedMeanwhileStaysClosed(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	got := clientTold(s.open(t, webtest.Chromium(t), ""), `
		const client = new Headway({ token: async () => "x" });
		const asked = new Promise((resolve) => {
			globalThis.fetch = async () => {
				client.close();
				resolve();
				return { ok: true, json: async () => ({ ticket: "one" }) };
			};
		});
		globalThis.WebSocket = class { constructor() { queueMicrotask(() => this.onclose({ code: 1006 })); } close() {} };
		client.connect();
		await asked;
		for (let i = 0; i < 100; i++) await null;
		return client.state;`)
	if got != `"closed"` {
		t.Errorf("it is %s", got)
	}
}

// TestACursorThatIsAheadAsksOnce has the client count one's own activity as read, which the database does not.
func TestACursorThatIsAheadAsksOnce(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	dora := s.made(t, webtest.Chromium(t), "", `become(4);
		window.snapshots = 0;
		const real = fetch;
		window.fetch = (url, options) => { window.snapshots += String(url).endsWith("/snapshot"); return real(url, options); };`)
	pgtest.Execute(t, s.conn, "select headway.complete_task(1, 1, 4), headway.fold()")
	dora.until("she is not told", `client.channels.get("project_1_staff")?.last_seq === 1`)
	pgtest.Execute(t, s.conn, "insert into headway.member (project_id, user_id, role) values (2, 4, 'staff')")
	dora.until("the project is not there", `client.projects.has(2)`)
	if n := webtest.Evaluate[int](dora.Tab, "snapshots"); n > 3 {
		t.Errorf("%d snapshots were asked for", n)
	}
}

// TestAChannelIsThereAfterAnotherConnection has a channel be opened while a snapshot is on its way that the connection before
// asked for.
func TestAChannelIsThereAfterAnotherConnection(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	bob := s.made(t, webtest.Chromium(t), "", `
		window.opened = 0;
		client.addEventListener("state", ({ detail }) => { window.opened += detail === "open"; });`, "WebSocket connection to")
	bob.keepsBack("/snapshot")
	pgtest.Execute(t, s.conn, "select headway.open_channel('design', 1, array[1, 2])")
	bob.until("no snapshot is read", "held !== null")
	s.cut()
	bob.until("it does not come back", "opened === 2")
	pgtest.Execute(t, s.conn, "select headway.open_channel('office', 1, array[1, 2]); select headway.post(1, 'project_1', 'Hello')")
	bob.until("it is not told", `client.channels.get("project_1").unread === 1`)
	bob.letCome()
	bob.until("the channel is not there", `client.channels.has("office")`)
}

// TestACursorIsNotPutBackByAnOlderSnapshot reads a message while a snapshot is on its way that does not know that.
func TestACursorIsNotPutBackByAnOlderSnapshot(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	bob := s.made(t, webtest.Chromium(t), "", "")
	bob.keepsBack("/snapshot")
	pgtest.Execute(t, s.conn, "select headway.post(1, 'project_1', 'Hello'); select headway.open_channel('design', 1, array[1, 2])")
	bob.until("no snapshot is read", "held !== null")
	bob.until("it is not unread", `client.channels.get("project_1").unread === 1`)
	pgtest.Execute(t, s.conn, "select headway.mark_read(2, 'project_1')")
	bob.until("it stays unread", `client.channels.get("project_1").unread === 0`)
	bob.letCome()
	bob.until("the channel is not there", `client.channels.has("design")`)
	if unread := webtest.Evaluate[int](bob.Tab, `client.channels.get("project_1").unread`); unread != 0 {
		t.Errorf("%d are unread again", unread)
	}
}

// TestAMutedChannelIsNotPutBackByAnOlderSnapshot mutes it while a snapshot is on its way that does not know that.
func TestAMutedChannelIsNotPutBackByAnOlderSnapshot(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	bob := s.made(t, webtest.Chromium(t), "", `
		window.changes = 0;
		client.addEventListener("channel", () => { window.changes++; });`)
	bob.keepsBack("/snapshot")
	pgtest.Execute(t, s.conn, "select headway.open_channel('design', 1, array[1, 2])")
	bob.until("no snapshot is read", "held !== null")
	webtest.Evaluate[any](bob.Tab, `client.mute("project_1", true)`)
	bob.until("it is not muted, and told so", "changes > 1")
	bob.letCome()
	bob.until("the channel is not there", `client.channels.has("design")`)
	if !webtest.Evaluate[bool](bob.Tab, `client.channels.get("project_1").muted`) {
		t.Error("it is shown as not muted")
	}
}
