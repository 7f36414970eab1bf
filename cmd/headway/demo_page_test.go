package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/golang-jwt/jwt/v5"

	"headway/internal/webtest"
)

// TestTheDemosTokensAreForItsOwnPage asks for them as the page does, and as the form of another site may.
func TestTheDemosTokensAreForItsOwnPage(t *testing.T) {
	t.Parallel()
	d := &demoTokens{secret: strings.Repeat("k", 32)}
	ask := func(contentType, body string) *httptest.ResponseRecorder {
		request := httptest.NewRequest(http.MethodPost, "/demo/token", strings.NewReader(body))
		request.Header.Set("Content-Type", contentType)
		response := httptest.NewRecorder()
		d.handlers()["POST /demo/token"].ServeHTTP(response, request)
		return response
	}
	for _, contentType := range []string{"", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data"} {
		if response := ask(contentType, `{"user_id": 2}`); response.Code != http.StatusUnsupportedMediaType {
			t.Errorf("as %q: %d %s", contentType, response.Code, response.Body)
		}
	}
	for _, body := range []string{"", "2", strings.Repeat(" ", 1000) + `{"user_id": 2}`} {
		if response := ask("application/json", body); response.Code != http.StatusBadRequest {
			t.Errorf("%q: %d %s", body, response.Code, response.Body)
		}
	}
	response := ask("application/json", `{"user_id": 2}`)
	var answer struct{ Token string }
	if err := json.Unmarshal(response.Body.Bytes(), &answer); err != nil || response.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("%v, %v: %s", err, response.Header(), response.Body)
	}
	key := func(*jwt.Token) (any, error) { return []byte(d.secret), nil }
	token, err := jwt.Parse(answer.Token, key, jwt.WithValidMethods([]string{"HS256"}), jwt.WithAudience("headway"), jwt.WithExpirationRequired())
	if err != nil {
		t.Fatal(err)
	}
	if who, err := token.Claims.GetSubject(); err != nil || who != "2" {
		t.Errorf("it is for %q: %v", who, err)
	}
}

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
