package main

import (
	"os"
	"regexp"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"headway/internal/webtest"
)

func TestTheDemosPageShowsBobsBarMove(t *testing.T) {
	t.Parallel()
	p := start(t, nil, "demo")
	p.await("select complete_task(")
	address := regexp.MustCompile(`http://127\.0\.0\.1:\d+/`).FindString(p.output())
	if address == "" {
		t.Fatal("no address of a page")
	}
	browser := webtest.Chromium(t)
	choose := func(name string) *webtest.Tab {
		tab := webtest.Open(t, browser, address)
		tab.Shows("people", name)
		tab.Click(`[...document.querySelectorAll("#people button")].find((b) => b.textContent.startsWith("` + name + `"))`)
		tab.Shows("title", "Website relaunch")
		return tab
	}
	bob, charlie, dora := choose("Bob"), choose("Charlie"), choose("Dora")
	bob.Until("Bob does not begin where the story ends", func() bool { return bob.Percent("progress") == "78" })
	charlie.Complete("tasks", approveDraft)
	charlie.Complete("tasks", "Go live")
	bob.Until("Bob's bar does not move", func() bool { return bob.Percent("progress") == "92" })
	dora.Shows("activity", "Charlie completed “Go live”")
	bob.Type(webtest.In("chat", "textarea"), "We are live!"+kb.Enter)
	dora.Shows("chat", "We are live!")
	for _, tab := range []*webtest.Tab{bob, charlie, dora} {
		tab.Do(chromedp.Navigate("about:blank"))
	}
	p.signal(os.Interrupt)
	p.exit(0)
	p.leftNothing()
}
