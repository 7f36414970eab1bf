package mail

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"headway/internal/pgtest"
)

func TestOnlyAPostUnsubscribes(t *testing.T) {
	t.Parallel()
	conn := pgtest.New(t).Conn(t)
	const unknown = "00000000-0000-4000-8000-000000000000"
	var token string
	err := conn.QueryRow(t.Context(), `
		with abe as (insert into headway.appuser (fullname, email) values ('Abe', 'abe@example.com') returning id)
		insert into headway.digest (user_id) select id from abe returning token::text`).Scan(&token)
	if err != nil {
		t.Fatal(err)
	}
	handler := &Unsubscriber{DB: conn, Log: slog.New(slog.DiscardHandler)}
	suspended := func() (yes bool) {
		if err := conn.QueryRow(t.Context(), "select mail_suspended_at is not null from headway.appuser").Scan(&yes); err != nil {
			t.Fatal(err)
		}
		return yes
	}

	const form, multipart = "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"
	for _, test := range []struct {
		method, token, contentType, body string
		status                           int
		button, unsubscribes             bool
	}{
		{"GET", token, "", "", 200, true, false},
		{"HEAD", token, "", "", 200, true, false},
		{"GET", token + "?List-Unsubscribe=One-Click", "", "", 200, true, false},
		{"GET", "nonsense", "", "", 404, false, false},
		{"HEAD", "nonsense", "", "", 404, false, false},
		{"POST", "nonsense", form, "List-Unsubscribe=One-Click", 404, false, false},
		{"POST", "", form, "List-Unsubscribe=One-Click", 404, false, false},
		{"POST", unknown, form, "List-Unsubscribe=One-Click", 404, false, false},
		{"POST", token, form, "", 400, true, false},
		{"POST", token, form, "List-Unsubscribe=Two-Clicks", 400, true, false},
		{"POST", token + "?List-Unsubscribe=One-Click", form, "", 400, true, false},
		{"POST", token, "text/plain", "List-Unsubscribe=One-Click", 400, true, false},
		{"POST", token, form, strings.Repeat("x", maxForm) + "&List-Unsubscribe=One-Click", 400, true, false},
		{"PUT", token, form, "List-Unsubscribe=One-Click", 405, false, false},
		{"DELETE", token, "", "", 405, false, false},
		{"OPTIONS", token, "", "", 405, false, false},
		{"POST", token, form, "List-Unsubscribe=One-Click", 200, false, true},
		{"POST", token, form, "List-Unsubscribe=One-Click", 200, false, true},
		{"POST", token, multipart, "--x\r\nContent-Disposition: form-data; name=\"List-Unsubscribe\"\r\n\r\nOne-Click\r\n--x--\r\n", 200, false, true},
	} {
		if _, err := conn.Exec(t.Context(), "select headway.resume_mail(id) from headway.appuser"); err != nil {
			t.Fatal(err)
		}
		r := httptest.NewRequestWithContext(t.Context(), test.method, "/team/headway/unsubscribe/"+test.token, strings.NewReader(test.body))
		r.Header.Set("Content-Type", test.contentType)
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)

		name := test.method + " " + test.token + " " + test.contentType
		if w.Code != test.status || suspended() != test.unsubscribes {
			t.Errorf("%s: %d, unsubscribed %v; want %d, %v", name, w.Code, suspended(), test.status, test.unsubscribes)
		}
		if hasButton := strings.Contains(w.Body.String(), "<button"); hasButton != test.button {
			t.Errorf("%s: button %v, want %v", name, hasButton, test.button)
		}
		if len(w.Result().Cookies()) > 0 || strings.Contains(w.Body.String(), "example.com") {
			t.Errorf("%s: it says too much: %v %s", name, w.Header(), w.Body)
		}
		if policy := w.Header().Get("Content-Security-Policy"); test.status != 405 && !strings.HasPrefix(policy, "default-src 'none'; style-src 'sha256-") {
			t.Errorf("%s: policy %q", name, policy)
		}
		// The token is in the address: no cache keeps it, no other page is told, and no search finds it.
		header := w.Header()
		if test.status != 405 && (header.Get("Cache-Control") != "no-store" || header.Get("Referrer-Policy") != "no-referrer" ||
			header.Get("X-Robots-Tag") != "noindex" || header.Get("X-Content-Type-Options") != "nosniff") {
			t.Errorf("%s: %v", name, header)
		}
		if test.status == 405 && header.Get("Allow") != "GET, HEAD, POST" { // RFC 9110, section 15.5.6
			t.Errorf("%s: %v", name, header)
		}
	}
}

// broken is a database that is down.
type broken struct{}

func (broken) QueryRow(context.Context, string, ...any) pgx.Row { return broken{} }
func (broken) Scan(...any) error                                { return errors.New("down") }

func TestADatabaseThatIsDownIsNoUnsubscription(t *testing.T) {
	t.Parallel()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost,
		"/headway/unsubscribe/00000000-0000-4000-8000-000000000000", strings.NewReader("List-Unsubscribe=One-Click"))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	(&Unsubscriber{DB: broken{}, Log: slog.New(slog.DiscardHandler)}).ServeHTTP(w, r)
	if w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), "<button") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}
