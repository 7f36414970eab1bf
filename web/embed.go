// Package web is the browser's side of headway: a client module, custom elements on top of it, and a page made of them.
//
// What belongs here runs in a browser as it is: no build, no dependency. The same folder is an npm package.
package web

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"regexp"
	"time"
)

//go:embed index.html page.css page.js page-words.js headway.js client elements.js elements languages
var files embed.FS

// Handler serves the page at / and its modules beside it, with a Content-Security-Policy that lets no script or style
// in but these. It also serves /page.json, which tells the page who one may be; here it says that nobody is known, so
// that the page asks for a token. Whoever knows more (a demo) handles that path in front of this.
func Handler() http.Handler {
	mux := http.NewServeMux()
	err := fs.WalkDir(files, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := files.ReadFile(name)
		if err != nil {
			return err
		}
		pattern := "GET /" + name
		if name == "index.html" {
			pattern = "GET /{$}"
		}
		mux.Handle(pattern, serve(contentTypes[path.Ext(name)], content))
		return nil
	})
	if err != nil {
		panic(err) // what is embedded can be read
	}
	mux.Handle("GET /page.json", serve("application/json", []byte("{}\n")))
	return mux
}

var contentTypes = map[string]string{
	".html": "text/html; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
}

// serve answers with a file. A browser asks each time whether it has changed, so that a new release is seen at once.
func serve(contentType string, content []byte) http.Handler {
	tag := fmt.Sprintf(`"%x"`, sha256.Sum256(content))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Type", contentType)
		h.Set("Cache-Control", "no-cache")
		h.Set("ETag", tag)
		h.Set("Content-Security-Policy", policy(r.Host))
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Access-Control-Allow-Origin", "*") // pages from elsewhere import the modules; there is nothing secret in them
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
	})
}

// hostPort is what may stand in a policy as it comes from a request.
var hostPort = regexp.MustCompile(`^[A-Za-z0-9.:\[\]-]+$`)

// policy is the Content-Security-Policy. The host is named since Safari before 15.4 does not take 'self' for ws: and wss:.
func policy(host string) string {
	connect := "'self'"
	if hostPort.MatchString(host) {
		connect += " ws://" + host + " wss://" + host
	}
	return "default-src 'none'; script-src 'self'; style-src 'self'; connect-src " + connect +
		"; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
}
