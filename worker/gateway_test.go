package worker_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/golang-jwt/jwt/v5"

	"headway/internal/pgtest"
	"headway/worker"
)

// TestABrowserIsToldWhatIsNotified has messages posted, which come over the connection that a worker opens to listen.
func TestABrowserIsToldWhatIsNotified(t *testing.T) {
	t.Parallel()
	db := seeded(t)
	conn := db.Conn(t)
	const secret = "a secret of thirty-two bytes, or more"
	addr := pgtest.FreeAddr(t)
	c := config(t, db.URL, "HEADWAY_HTTP_ADDR", addr, "HEADWAY_TOKEN_SECRET", secret)
	c.DatabaseURL, c.AllowMoreRights = db.URL, true // who is headway_user, too
	w := start(t, c)
	w.await(worker.Leading, worker.Asleep)
	pgtest.Eventually(t, soon, func() bool { status, _ := get(t, addr, "/readyz"); return status == http.StatusOK }, "it is not ready")

	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	ws, _, err := websocket.Dial(ctx, "ws://"+addr+"/api/ws", nil) //nolint:bodyclose // the library closes it
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ws.CloseNow() }()
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.RegisteredClaims{
		Subject: "1", Audience: jwt.ClaimStrings{"headway"}, ExpiresAt: jwt.NewNumericDate(time.Now().Add(time.Hour)),
	}).SignedString([]byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	if err := ws.Write(ctx, websocket.MessageText, []byte(`{"token": "`+token+`"}`)); err != nil {
		t.Fatal(err)
	}
	if _, text, err := ws.Read(ctx); err != nil || !strings.HasPrefix(string(text), `{"type":"snapshot"`) {
		t.Fatalf("told first: %s, %v", text, err)
	}
	for i := range 3 {
		do(t, conn, fmt.Sprintf("select headway.post(1, 'project_1', 'Message %d')", i))
		if _, text, err := ws.Read(ctx); err != nil || !strings.Contains(string(text), fmt.Sprintf("Message %d", i)) {
			t.Fatalf("told %s, %v", text, err)
		}
	}
}

// TestAGatewayThatMayActAsNobodySaysSo gives the worker the login of one that only folds and sends.
func TestAGatewayThatMayActAsNobodySaysSo(t *testing.T) {
	t.Parallel()
	const message = "the gateway can serve nobody, since its login may not act as an end user"
	for name, c := range map[string]struct {
		change func(*worker.Config, *pgtest.DB)
		says   bool
	}{
		"a worker's login": {func(*worker.Config, *pgtest.DB) {}, true},
		"one that may act": {func(c *worker.Config, db *pgtest.DB) { c.DatabaseURL, c.AllowMoreRights = db.URL, true }, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := seeded(t)
			config := config(t, db.URL, "HEADWAY_HTTP_ADDR", "127.0.0.1:0", "HEADWAY_TOKEN_SECRET", "a secret of thirty-two bytes, or more")
			c.change(&config, db)
			log := newLogbook(t, nil)
			start(t, config, func(w *worker.Worker) { w.Log = slog.New(log) }).await(worker.Leading)
			if says := log.has(message); says != c.says {
				t.Errorf("says so: %v", says)
			}
		})
	}
}
