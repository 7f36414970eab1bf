package gateway

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"headway/internal/gatewaytest"
)

// TestWhoLeavesIsNoError has somebody close the page while a request is under way.
func TestWhoLeavesIsNoError(t *testing.T) {
	t.Parallel()
	var logged strings.Builder
	b := setup(t, func(g *Gateway) { g.Log = slog.New(slog.NewTextHandler(&logged, nil)) })
	ctx, leave := context.WithCancel(t.Context())
	leave()
	r := httptest.NewRequestWithContext(ctx, http.MethodGet, "/api/snapshot", nil)
	r.Header.Set("Authorization", "Bearer "+gatewaytest.Token(t, 2, time.Now().Add(time.Hour)))
	b.Handler().ServeHTTP(httptest.NewRecorder(), r)
	if logged.Len() > 0 {
		t.Errorf("logged: %s", logged.String())
	}
}
