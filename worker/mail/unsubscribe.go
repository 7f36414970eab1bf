package mail

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"html/template"
	"io"
	"log/slog"
	"net/http"
	"path"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// Unsubscriber serves what List-Unsubscribe points to, /headway/unsubscribe/<token> below the application's address;
// the last element of the path is the token. As RFC 8058 requires, only a POST unsubscribes: scanners and link previews
// open every link, and that changes nothing. The token is all that is needed, so there is no cookie and no login.
type Unsubscriber struct {
	DB interface {
		QueryRow(ctx context.Context, query string, args ...any) pgx.Row
	}
	Log *slog.Logger

	// Anybody may send any number of requests: they have one of the pool's connections among them.
	mu sync.Mutex
}

// reach bounds how long a request may take.
const reach = 10 * time.Second

const sqlUnsubscribe = `select headway.unsubscribe($1::uuid)`

// maxForm is the maximum size of a form; that of RFC 8058 has 26 bytes.
const maxForm = 4 << 10

// page is what a visitor is shown.
type page struct {
	status      int
	Title, Text string
	Button      bool
}

var (
	askPage    = page{http.StatusOK, "Stop these mails?", "You will get no more mail about what you have not read.", true}
	donePage   = page{http.StatusOK, "Done", "You get no more of these mails. Whoever runs the application can turn them on again.", false}
	formPage   = page{http.StatusBadRequest, "Stop these mails?", "That did not work. Please use the button.", true}
	gonePage   = page{http.StatusNotFound, "This link has expired", "Nothing was changed. The link in a newer mail will work.", false}
	brokenPage = page{http.StatusServiceUnavailable, "That did not work", "Nothing was changed. Please try again in a few minutes.", true}
)

// ServeHTTP implements [http.Handler].
func (u *Unsubscriber) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	token := path.Base(r.URL.Path)
	switch {
	case r.Method != http.MethodGet && r.Method != http.MethodHead && r.Method != http.MethodPost:
		w.Header().Set("Allow", "GET, HEAD, POST")
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
	case !validToken.MatchString(token):
		u.show(w, gonePage)
	case r.Method != http.MethodPost:
		u.show(w, askPage) // whether the token is valid concerns only those who use it
	default:
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		if r.PostFormValue("List-Unsubscribe") != "One-Click" {
			u.show(w, formPage)
			return
		}
		u.show(w, u.unsubscribe(r.Context(), token))
	}
}

func (u *Unsubscriber) unsubscribe(ctx context.Context, token string) page {
	ctx, cancel := context.WithTimeout(ctx, reach)
	defer cancel()
	u.mu.Lock()
	defer u.mu.Unlock()
	if ctx.Err() != nil {
		return brokenPage // too many came before it, or the visitor has left
	}
	var known bool
	if err := u.DB.QueryRow(ctx, sqlUnsubscribe, token).Scan(&known); err != nil {
		u.Log.Error("could not unsubscribe", slog.Any("error", err))
		return brokenPage
	}
	if !known {
		return gonePage
	}
	return donePage
}

func (u *Unsubscriber) show(w http.ResponseWriter, p page) {
	var body bytes.Buffer
	if err := unsubscribeTemplate.Execute(&body, p); err != nil {
		u.Log.Error("could not show a page", slog.Any("error", err))
		http.Error(w, "internal server error", http.StatusInternalServerError)
		return
	}
	header := w.Header()
	header.Set("Content-Type", "text/html; charset=utf-8")
	header.Set("Content-Security-Policy", unsubscribePolicy)
	header.Set("Cache-Control", "no-store")
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("X-Robots-Tag", "noindex")
	w.WriteHeader(p.status)
	_, _ = io.Copy(w, &body) // the visitor may have left
}

const unsubscribeStyle = `
:root { color-scheme: light dark; }
body { max-width: 32rem; margin: 15vh auto 0; padding: 0 1.25rem; font: 1.125rem/1.5 system-ui, sans-serif; }
h1 { margin: 0; font-size: 1.5rem; }
button { padding: .6rem 1.2rem; border: 0; border-radius: .5rem; background: #1a7f37; color: #fff; font: inherit; font-weight: 600; cursor: pointer; }
`

var (
	unsubscribeTemplate = template.Must(template.New("unsubscribe").Parse(`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{.Title}}</title>
<style>` + unsubscribeStyle + `</style>
</head>
<body>
<h1>{{.Title}}</h1>
<p>{{.Text}}</p>
{{- if .Button}}
<form method="post"><button name="List-Unsubscribe" value="One-Click">Stop these mails</button></form>
{{- end}}
</body>
</html>
`))

	unsubscribePolicy = "default-src 'none'; style-src 'sha256-" + hash(unsubscribeStyle) +
		"'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)

func hash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return base64.StdEncoding.EncodeToString(sum[:])
}
