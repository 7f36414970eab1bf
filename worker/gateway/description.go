package gateway

import (
	_ "embed"
	"net/http"
)

// description describes the API in OpenAPI 3.1. A test checks it against what the gateway does.
//
//go:embed openapi.json
var description []byte

// serveDescription serves the API's description to anybody; pages from other origins must be allowed.
func (g *Gateway) serveDescription(w http.ResponseWriter, r *http.Request) {
	if !g.checkOrigin(w, r) {
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(description)
}
