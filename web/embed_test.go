package web

import (
	"io/fs"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func get(t *testing.T, path string, header http.Header) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil)
	r.Header = header
	w := httptest.NewRecorder()
	Handler().ServeHTTP(w, r)
	return w
}

func TestEveryFileIsServed(t *testing.T) {
	t.Parallel()
	err := fs.WalkDir(files, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		response := get(t, "/"+strings.TrimSuffix(name, "index.html"), nil)
		if response.Code != http.StatusOK || response.Header().Get("Content-Type") == "" {
			t.Errorf("%s: %d, %q", name, response.Code, response.Header().Get("Content-Type"))
		}
		policy := response.Header().Get("Content-Security-Policy")
		if !strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") {
			t.Errorf("%s: policy %q", name, policy)
		}
		again := get(t, "/"+strings.TrimSuffix(name, "index.html"), http.Header{"If-None-Match": {response.Header().Get("ETag")}})
		if again.Code != http.StatusNotModified {
			t.Errorf("%s: asked again, %d", name, again.Code)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestNobodyIsKnown(t *testing.T) {
	t.Parallel()
	if text := get(t, "/page.json", nil).Body.String(); strings.TrimSpace(text) != "{}" {
		t.Errorf("%q", text)
	}
	if response := get(t, "/nowhere", nil); response.Code != http.StatusNotFound {
		t.Error(response.Code)
	}
}

func TestAHostCannotWidenThePolicy(t *testing.T) {
	t.Parallel()
	if p := policy("x.example.com; script-src *"); strings.Contains(p, "example.com") {
		t.Error(p)
	}
	if p := policy("[::1]:8080"); !strings.Contains(p, "connect-src 'self' ws://[::1]:8080 wss://[::1]:8080;") {
		t.Error(p)
	}
}
