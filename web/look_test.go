package web

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"headway/internal/pgtest"
	"headway/internal/webtest"
)

// pictures is where what the page looks like is kept: go test ./web -run Look -pictures "$PWD/docs/pictures"
var pictures = flag.String("pictures", "", "keep pictures of the page in this `directory`")

// A project as it may be, to be seen on the first page of the manual.
const usual = `
update headway.project set name = 'Website relaunch' where id = 1;
insert into headway.member (project_id, user_id, role) values (2, 2, 'customer');
update headway.appuser set email = 'bob@example.com', time_zone = 'Europe/Lisbon', quiet_from = '22:00', quiet_until = '07:00' where id = 2;
update headway.task set title = 'Register the domain' where id = 1;
update headway.task set title = 'Introduce yourself', detail = 'A few lines for the team page' where id = 2;
insert into headway.task (id, project_id, title, detail, shared, due_at, position) values
 (11, 1, 'Send the logo', 'As a vector file, please', true, now() + interval '3 days', 1),
 (12, 1, 'Choose the colours', null, false, now() - interval '2 days', 2),
 (13, 1, 'Approve the design', 'All pages, on the phone as well as on the desk', true, now() + interval '20 days', 3),
 (14, 1, 'Sign the contract', null, false, null, 4),
 (15, 1, 'Proofread the texts', null, true, now() + interval '30 days', 5);
insert into headway.prerequisite values (13, 11), (13, 12);
select headway.complete_task(1, 2), headway.complete_task(14, 2), headway.complete_task(14, 3), headway.complete_task(12, 1);
select headway.fold();
select headway.post(4, 'project_1', 'Welcome, all of you! Ask whatever you like here; we read everything.');
select headway.post(2, 'project_1', 'Thank you. Where do I send the logo?');
select headway.post(4, 'project_1', 'Here, or by mail.');
select headway.post(4, 'project_1', 'As a vector file if you have one: SVG or PDF.');
select headway.post(3, 'project_1', 'I have it as an AI file, would that do?');
select headway.post(2, 'project_1', 'I think Dora can open that. I shall export it to SVG in any case, so that nobody has to wait for anybody.');
select headway.post(1, 'broadcast', 'Maintenance on Sunday');
select headway.reopen_task(14, 3, 4, 'The last page is missing');
select headway.fold();`

// A project that is more than anybody planned for, and one that has just begun.
const unusual = `
insert into headway.appuser (id, fullname) values (20, 'Charlotte Wilhelmina Featherstonehaugh-Cholmondeley of Marjoribanks'), (21, 'Bartholomew.Featherstonehaugh@customers.example.com'), (22, 'Grace'), (23, 'Heidi');
insert into headway.project (id, name) values (20, 'Donaudampfschifffahrtsgesellschaftskapitänskajütenausstattung and everything that belongs to it'), (21, 'Garden');
insert into headway.member (project_id, user_id, role) values (20, 20, 'customer'), (20, 22, 'staff'), (21, 21, 'customer'), (21, 23, 'staff');
insert into headway.member (project_id, user_id, role) select 20, n, 'customer' from unnest('{1, 3}'::int[]) n;
insert into headway.task (id, project_id, title, detail, shared, position)
select 100 + n, 20, 'Task ' || n || case when n % 7 = 0 then ': ' || repeat('a very long title that goes on ', 5) else '' end,
  case when n % 5 = 0 then 'https://example.com/' || repeat('path', 40) end, n % 2 = 0, n from generate_series(1, 60) n;
insert into headway.prerequisite select 160, 100 + n from generate_series(1, 12) n;
select headway.complete_task(100 + n, 20) from generate_series(1, 40, 2) n;
select headway.fold();
select headway.post((array[20, 22, 1, 3])[1 + n % 4], 'project_20', 'Message ' || n || repeat(' and more of it', n % 20)) from generate_series(1, 120) n;
select headway.post(20, 'project_20', repeat('unbroken', 60));`

// TestLook looks at the page as a customer and as staff, in light and dark, wide and narrow: it never scrolls sideways
// or past its end, what it says can be read, and what can be used has a name.
func TestLook(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	pgtest.Execute(t, s.conn, usual+unusual)
	s.config = `{"token_url": "token", "people": [
		{"id": 2, "name": "Bob", "role": "customer"}, {"id": 20, "name": "Charlotte Wilhelmina Featherstonehaugh-Cholmondeley of Marjoribanks", "role": "customer"},
		{"id": 21, "name": "Bartholomew.Featherstonehaugh@customers.example.com", "role": "customer"}, {"id": 4, "name": "Dora", "role": "staff"}, {"id": 22, "name": "Grace", "role": "staff"}, {"id": 23, "name": "Heidi", "role": "staff"}
	]}`
	browser := webtest.Chromium(t)
	unfold := func(v *tab) {
		v.Click(webtest.In("tasks", ".customer"))
		v.Until("no customer is unfolded", func() bool { return webtest.Evaluate[bool](v.Tab, "!!"+webtest.In("tasks", ".panel li")) })
	}
	const arabic = `import("/elements.js").then(({ translate }) => {
		document.documentElement.lang = "ar";
		document.documentElement.dir = "rtl";
		translate({ done_of: "تم {done} من {total}", open_tasks: "للإنجاز", done_tasks: "تم", due: "الموعد {date}", overdue: "كان الموعد {date}",
			shared_task: "مرة واحدة للجميع", waits_for: "في انتظار {tasks}", quoted: "«{title}»", today: "اليوم", inbox: "الوارد", write: "اكتب رسالة", send: "إرسال" });
	})`
	for _, scene := range []struct {
		name, address, sees string
		prepare             func(v *tab)
	}{
		{"customer", "#2", "To do", func(*tab) {}},
		{"staff", "#4", "Bob", func(v *tab) {
			v.Click(`[...document.getElementById("tasks").shadowRoot.querySelectorAll(".customer")].find((c) => c.innerText.includes("Bob"))`)
			v.Shows("tasks", "Introduce")
		}},
		{"german", "?lang=de#2", "Zu erledigen", func(v *tab) { v.Click(webtest.In("inbox", ".open")) }},
		{"arabic", "#2", "To do", func(v *tab) {
			webtest.Evaluate[any](v.Tab, arabic)
			v.Shows("tasks", "للإنجاز")
			v.Shows("chat", "vector")
		}},
		{"inbox", "#2", "To do", func(v *tab) { v.Click(webtest.In("inbox", ".open")) }},
		{"preferences", "#2", "To do", func(v *tab) {
			v.Click(`document.getElementById("who")`)
			v.Hears("checkbox Announcements")
		}},
		{"crowded-customer", "#20", "Task 2", func(v *tab) { v.Shows("chat", "unbroken") }},
		{"crowded-staff", "#22", "Charlotte", unfold},
		{"empty-customer", "#21", "No tasks", func(v *tab) { v.Shows("chat", "No messages") }},
		{"empty-staff", "#23", "Bartholomew", func(v *tab) { v.Shows("activity", "No messages") }},
		{"sign-in", "", "", func(v *tab) { v.Shows("sign-in", "Bob") }},
		{"token", "", "", func(v *tab) {
			s.mu.Lock()
			s.config = "{}"
			s.mu.Unlock()
			v.Do(chromedp.Reload())
			v.Hears("textbox Token")
		}},
	} {
		v := s.open(t, browser, scene.address)
		v.Shows("tasks", scene.sees)
		scene.prepare(v)
		for _, scheme := range []string{"light", "dark"} {
			webtest.Call(v.Tab, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
				{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"}}})
			for _, width := range []int64{1280, 360, 320} {
				v.Do(chromedp.EmulateViewport(width, 860))
				name := fmt.Sprintf("%s-%s-%d", scene.name, scheme, width)
				if webtest.Evaluate[bool](v.Tab, `document.documentElement.scrollWidth > innerWidth`) {
					t.Errorf("%s scrolls sideways", name)
				}
				if webtest.Evaluate[bool](v.Tab, `document.documentElement.scrollHeight > Math.max(innerHeight, document.body.getBoundingClientRect().bottom + scrollY) + 1`) {
					t.Errorf("%s goes on below its end", name)
				}
				v.Until("the end of the conversation is not in view in "+name, func() bool {
					return webtest.Evaluate[bool](v.Tab, `((log) => !log || log.scrollHeight - log.scrollTop - log.clientHeight < 2)(document.getElementById("chat").shadowRoot.querySelector(".log"))`)
				})
				picture(t, v, name)
			}
			if moves := webtest.Evaluate[bool](v.Tab, `((fill) => !!fill && getComputedStyle(fill).transition !== "none")(document.getElementById("progress").shadowRoot.querySelector(".fill"))`); moves {
				t.Errorf("%s moves before somebody who asked that nothing does", scene.name)
			}
			for _, text := range webtest.Evaluate[[]string](v.Tab, faint) {
				t.Errorf("%s in %s is hard to read: %s", scene.name, scheme, text)
			}
		}
		for _, role := range v.Nameless() {
			t.Errorf("%s has a %s without a name", scene.name, role)
		}
		v.Do(chromedp.Navigate("about:blank"))
	}
}

// faint lists the texts of a page that stand out from what is behind them by less than 4.5, as WCAG counts.
const faint = `(() => {
	const numbers = (color) => color.match(/[\d.]+/g).map(Number);
	const light = (color) => numbers(color).slice(0, 3).map((c) => c / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
		.reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
	const above = (e) => e.parentElement ?? e.getRootNode().host;
	const behind = (e) => (numbers(getComputedStyle(e).backgroundColor)[3] === 0 ? behind(above(e)) : getComputedStyle(e).backgroundColor);
	const all = (root) => [...root.querySelectorAll("*")].flatMap((e) => [e, ...(e.shadowRoot ? all(e.shadowRoot) : [])]);
	return all(document.body)
		.filter((e) => e.checkVisibility() && !e.matches(":disabled, option") && [...e.childNodes].some((n) => n.nodeType === Node.TEXT_NODE && n.data.trim()))
		.map((e) => ({ e, levels: [light(getComputedStyle(e).color), light(behind(e))].sort((a, b) => a - b) }))
		.filter(({ levels: [dark, bright] }) => (bright + 0.05) / (dark + 0.05) < 4.5)
		.map(({ e, levels: [dark, bright] }) => ((bright + 0.05) / (dark + 0.05)).toFixed(2) + " " + e.textContent.slice(0, 40));
})()`

// picture keeps what a page looks like, where somebody asked for it.
func picture(t *testing.T, v *tab, name string) {
	t.Helper()
	if *pictures == "" {
		return
	}
	png, err := chromedp.Run(v.Context, chromedp.FullScreenshot(100))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(*pictures, name+".png"), png, 0o600); err != nil {
		t.Fatal(err)
	}
}
