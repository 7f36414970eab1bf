// Package webtest opens pages with headway's elements in a real browser, and runs the gateway that they connect to.
//
// This package knows a browser, the elements of web/ and how to reach a gateway; what a page should do with them is for
// its own test.
package webtest

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/cdproto/audits"
	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"headway/internal/pgtest"
)

// Soon is how long a browser may take for something on a busy machine. All waits end with a condition.
const Soon = 60 * time.Second

// shared is the browser of all tests that run at the same time: starting one takes longer than most tests.
var shared struct {
	sync.Mutex
	users   int
	browser context.Context
	stop    func()
}

// Chromium returns a browser profile without a window, separate from all others: its storage and its cache belong to
// the test.
func Chromium(t *testing.T) context.Context {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	if shared.users == 0 {
		startChromium(t)
	}
	shared.users++
	t.Cleanup(func() {
		shared.Lock()
		defer shared.Unlock()
		if shared.users--; shared.users == 0 {
			shared.stop()
		}
	})
	ctx, closeAll := chromedp.NewContext(shared.browser, chromedp.WithNewBrowserContext())
	t.Cleanup(closeAll)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatal(err)
	}
	return ctx
}

// startChromium starts the browser. The lock is held.
func startChromium(t *testing.T) {
	t.Helper()
	var path string
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	if path == "" {
		t.Fatal("the test needs a browser: apt-get install chromium")
	}
	profile, err := os.MkdirTemp("", "headway-chromium-") //nolint:usetesting // it outlives the test
	if err != nil {
		t.Fatal(err)
	}
	options := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]),
		chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.UserDataDir(profile),
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true), chromedp.Flag("accept-lang", "en-GB"),
		chromedp.WSURLReadTimeout(Soon),
	)
	allocator, stop := chromedp.NewExecAllocator(context.Background(), options...)
	browser, closeBrowser := chromedp.NewContext(allocator)
	shared.browser = browser
	shared.stop = func() {
		closeBrowser()
		stop()
		_ = os.RemoveAll(profile)
	}
	if err := chromedp.Do(browser); err != nil {
		shared.stop()
		t.Fatal(err)
	}
}

// Tab is an open page, and the complaints of the browser about it.
type Tab struct {
	Context context.Context

	t        *testing.T
	mu       sync.Mutex
	problems []string
}

// Open shows a page, 1280 pixels wide. Everything that goes wrong in it fails the test in the end, unless the complaint
// contains some of the expected words.
func Open(t *testing.T, browser context.Context, url string, expected ...string) *Tab {
	t.Helper()
	ctx, closeTab := chromedp.NewContext(browser)
	t.Cleanup(closeTab)
	v := &Tab{t: t, Context: ctx}
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
	Call(v, audits.Enable, cdp.Empty{})
	v.focus(true)
	v.Do(chromedp.EmulateViewport(1280, 1000), chromedp.Navigate(url))
	t.Cleanup(func() {
		v.mu.Lock()
		defer v.mu.Unlock()
		for _, p := range v.problems {
			if !slices.ContainsFunc(expected, func(word string) bool { return strings.Contains(p, word) }) {
				t.Errorf("the browser complains at %s: %s", url, p)
			}
		}
	})
	return v
}

func (v *Tab) complain(kind string, about any) {
	text, _ := json.Marshal(about)
	v.mu.Lock()
	defer v.mu.Unlock()
	v.problems = append(v.problems, kind+" "+string(text))
}

// Do makes the browser take some steps.
func (v *Tab) Do(steps ...chromedp.Action[chromedp.Void]) {
	v.t.Helper()
	ctx, cancel := context.WithTimeout(v.Context, Soon)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		v.t.Fatal(err)
	}
}

// Evaluate returns the value of an expression in the page, once it is there: the expression may be a promise.
func Evaluate[T any](v *Tab, expression string) T {
	v.t.Helper()
	ctx, cancel := context.WithTimeout(v.Context, Soon)
	defer cancel()
	found, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		v.t.Fatal(err)
	}
	return found
}

// Call makes the browser do something that a page cannot.
func Call[P, R any](v *Tab, command cdp.Command[P, R], params P) R {
	v.t.Helper()
	ctx, cancel := context.WithTimeout(v.Context, Soon)
	defer cancel()
	result, err := chromedp.Call(ctx, command, params)
	if err != nil {
		v.t.Fatal(err)
	}
	return result
}

// LookAway simulates that the user puts the window away, so that it neither has the focus nor is in view.
func (v *Tab) LookAway() { v.t.Helper(); v.focus(false); v.window("minimized", "hidden") }

// LookBack is the opposite of [Tab.LookAway].
func (v *Tab) LookBack() { v.t.Helper(); v.window("normal", "visible"); v.focus(true) }

// focus makes the page believe that somebody is at its window, or lets the browser decide.
func (v *Tab) focus(is bool) {
	v.t.Helper()
	Call(v, emulation.SetFocusEmulationEnabled, emulation.SetFocusEmulationEnabledParams{Enabled: is})
}

func (v *Tab) window(state browser.WindowState, visibility string) {
	v.t.Helper()
	window := Call(v, browser.GetWindowForTarget, browser.GetWindowForTargetParams{})
	Call(v, browser.SetWindowBounds, browser.SetWindowBoundsParams{WindowID: window.WindowID, Bounds: &browser.Bounds{WindowState: state}})
	v.Until("the page is not "+visibility, func() bool { return Evaluate[string](v, "document.visibilityState") == visibility })
}

// Until waits for a condition; what is the complaint if it never holds.
func (v *Tab) Until(what string, is func() bool) {
	v.t.Helper()
	pgtest.Eventually(v.t, Soon, is, "%s", what)
}

// Text is what an element shows, including its shadow root.
func (v *Tab) Text(id string) string {
	v.t.Helper()
	return Evaluate[string](v, fmt.Sprintf(`(() => {
		const found = document.getElementById(%q);
		const inner = (root) => [...root.children].filter((c) => c.tagName !== "STYLE").map((c) => c.innerText).join("\n");
		return !found || found.hidden ? "" : found.shadowRoot ? inner(found.shadowRoot) : found.innerText;
	})()`, id))
}

// Shows waits until an element shows something.
func (v *Tab) Shows(id, want string) {
	v.t.Helper()
	v.Until(id+" does not show "+want, func() bool { return strings.Contains(v.Text(id), want) })
}

// In is an expression for an element in the shadow root of another.
func In(id, selector string) string {
	return fmt.Sprintf("document.getElementById(%q).shadowRoot.querySelector(%q)", id, selector)
}

// Click waits for an element and clicks on it as a mouse does.
func (v *Tab) Click(element string) {
	v.t.Helper()
	v.Do(chromedp.Click(chromedp.JSPath(element)))
}

// Type types into an element, including keys such as [kb.Enter].
func (v *Tab) Type(element, keys string) {
	v.t.Helper()
	v.Do(chromedp.SendKeys(chromedp.JSPath(element), keys))
}

// Percent is the value of a <headway-progress>, as a screen reader reads it.
func (v *Tab) Percent(id string) string {
	v.t.Helper()
	return Evaluate[string](v, fmt.Sprintf(`document.getElementById(%q)?.shadowRoot.querySelector("[role=progressbar]")?.ariaValueNow ?? ""`, id))
}

// Complete ticks off a task of a <headway-tasks>, with the keyboard; Reopen unticks it.
func (v *Tab) Complete(id, title string) { v.t.Helper(); v.tick(id, title, "!") }

// Reopen is the opposite of [Tab.Complete].
func (v *Tab) Reopen(id, title string) { v.t.Helper(); v.tick(id, title, "") }

func (v *Tab) tick(id, title, not string) {
	v.t.Helper()
	box := fmt.Sprintf(`[...document.getElementById(%q)?.shadowRoot.querySelectorAll("label") ?? []].find((l) => l.querySelector(".title").textContent === %q)?.querySelector("input")`, id, title)
	v.Until("there is no such task to tick: "+title, func() bool {
		return Evaluate[bool](v, fmt.Sprintf(`((box) => !!box && !box.disabled && %sbox.checked)(%s)`, not, box))
	})
	v.Type(box, " ")
}

// Hears waits until the accessibility tree contains all of these, each a role and the beginning of a name and,
// optionally, a description after a colon.
func (v *Tab) Hears(want ...string) {
	v.t.Helper()
	var heard []string
	missing := func() []string {
		heard = nil
		for _, n := range v.accessible() {
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
	v.Until("a screen reader does not hear everything", func() bool { return len(missing()) == 0 })
}

// Nameless lists the roles of controls and progress bars in the page that have no name.
func (v *Tab) Nameless() []string {
	v.t.Helper()
	var roles []string
	for _, n := range v.accessible() {
		switch role := value(n.Role); role {
		case "button", "checkbox", "combobox", "dialog", "DisclosureTriangle", "heading", "link", "log", "progressbar", "textbox":
			if strings.TrimSpace(value(n.Name)) == "" {
				roles = append(roles, role)
			}
		}
	}
	return roles
}

// accessible is what a screen reader finds in the page.
func (v *Tab) accessible() []*accessibility.Node {
	v.t.Helper()
	nodes := Call(v, accessibility.GetFullAXTree, accessibility.GetFullAXTreeParams{}).Nodes
	return slices.DeleteFunc(nodes, func(n *accessibility.Node) bool { return n.Ignored })
}

func value(v *accessibility.Value) string {
	var text string
	if v != nil {
		_ = json.Unmarshal(v.Value, &text)
	}
	return text
}
