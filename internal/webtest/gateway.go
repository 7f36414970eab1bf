package webtest

import (
	"log/slog"
	"net/http/httptest"
	"testing"
	"time"

	"headway/internal/gatewaytest"
	"headway/internal/pgtest"
	"headway/worker/gateway"
)

// Gateway serves a database until the test ends. The change functions are applied to the gateway before it runs.
func Gateway(t *testing.T, db *pgtest.DB, change ...func(*gateway.Gateway)) *httptest.Server {
	t.Helper()
	var g *gateway.Gateway
	verifier, err := gateway.NewVerifier([]byte(gatewaytest.Secret), "", "headway", func() time.Time { return g.Now() })
	if err != nil {
		t.Fatal(err)
	}
	g = gateway.New(db.Pool(t), gatewaytest.Connect(db), verifier, slog.New(slog.DiscardHandler))
	for _, c := range change {
		c(g)
	}
	return gatewaytest.Serve(t, db, g)
}
