package gateway

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// pictures is where what the page looks like is kept: go test ./worker/gateway -run Look -pictures "$PWD/docs/pictures"
var pictures = flag.String("pictures", "", "keep pictures of the page in this `directory`")

// TestThePageNeverScrollsSideways looks at the page as a customer and as staff, in light and dark, wide and narrow.
func TestThePageNeverScrollsSideways(t *testing.T) {
	t.Parallel()
	s := newSite(t, setup(t))
	exec(t, s.conn, `
update headway.project set name = 'Website relaunch' where id = 1;
insert into headway.member (project_id, user_id, role) values (2, 2, 'customer');
update headway.task set title='Register the domain' where id=1;
update headway.task set title='Introduce yourself', detail='A few lines for the team page' where id=2;
insert into headway.task (id, project_id, title, detail, shared, due_at, position) values
 (11,1,'Send the logo','As a vector file, please',true, now()+interval '3 days',1),
 (12,1,'Choose the colours',null,false, now()-interval '2 days',2),
 (13,1,'Approve the design','All pages, on the phone as well as on the desk',true, now()+interval '20 days',3),
 (14,1,'Sign the contract',null,false,null,4),
 (15,1,'Proofread the texts',null,true,now()+interval '30 days',5);
insert into headway.prerequisite values (13,11),(13,12);
select headway.complete_task(1,2), headway.complete_task(14,2), headway.complete_task(14,3), headway.complete_task(12,1);
select headway.fold();
select headway.post(4,'project_1','Welcome, all of you! Ask whatever you like here; we read everything.');
select headway.post(2,'project_1','Thank you. Where do I send the logo?');
select headway.post(4,'project_1','Here, or by mail.');
select headway.post(4,'project_1','As a vector file if you have one: SVG or PDF.');
select headway.post(3,'project_1','I have it as an AI file, would that do?');
select headway.post(2,'project_1','I think Dora can open that. I shall export it to SVG in any case, so that nobody has to wait for anybody.');
select headway.post(1,'broadcast','Maintenance on Sunday');
select headway.reopen_task(14,3,4,'The last page is missing'); select headway.fold();
`)
	browser := chromium(t)
	shot := func(v *tab, name string) {
		t.Helper()
		if evaluate[bool](v, `document.documentElement.scrollWidth > innerWidth`) {
			t.Errorf("%s scrolls sideways", name)
		}
		if *pictures == "" {
			return
		}
		png, err := chromedp.Run(v.ctx, chromedp.FullScreenshot(100))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(*pictures, name+".png"), png, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, who := range []struct{ name, hash string }{{"customer", "#2"}, {"staff", "#4"}} {
		v := s.open(t, browser, who.hash)
		v.shows("title", "Website")
		v.shows("chat", "wait for")
		if who.name == "staff" {
			v.shows("tasks", "Bob")
			v.click(`[...document.getElementById("tasks").shadowRoot.querySelectorAll(".customer")].find((c) => c.innerText.includes("Bob"))`)
		}
		v.shows("tasks", "Introduce")
		for _, scheme := range []string{"light", "dark"} {
			call(v, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"}}})
			for _, w := range []int64{1280, 360, 320} {
				if w == 320 && scheme == "dark" {
					continue
				}
				v.do(chromedp.EmulateViewport(w, 860))
				shot(v, fmt.Sprintf("%s-%s-%d", who.name, scheme, w))
			}
		}
		call(v, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: "light"}}})
		v.do(chromedp.EmulateViewport(1280, 860))
		if who.name == "customer" {
			v.click(in("inbox", ".open"))
			shot(v, "inbox-1280")
			v.do(chromedp.EmulateViewport(320, 860))
			shot(v, "inbox-320")
			v.do(chromedp.EmulateViewport(1280, 860))
			evaluate[string](v, `document.documentElement.dir = "rtl"`)
			shot(v, "customer-rtl-1280")
		}
	}
	v := s.open(t, browser, "")
	v.shows("sign-in", "Bob")
	shot(v, "sign-in-1280")
}
