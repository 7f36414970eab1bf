package gateway

import (
	_ "embed"
	"net/http"
)

// description is the API in OpenAPI 3.1. A test holds it to what the gateway does.
//
//go:embed openapi.json
var description []byte

// serveDescription tells anybody what there is to ask; a page elsewhere has to be allowed to.
func (g *Gateway) serveDescription(w http.ResponseWriter, r *http.Request) {
	if !g.admitPage(w, r) {
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(description)
}
