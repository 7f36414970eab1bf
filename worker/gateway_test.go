package worker_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/golang-jwt/jwt/v5"

	"headway/internal/pgtest"
	"headway/worker"
)

// gateway starts a worker that is one, and returns it, where it serves and a token of person 1.
func gateway(t *testing.T, db *pgtest.DB) (w *running, addr, token string) {
	t.Helper()
	addr = pgtest.FreeAddr(t)
	c := config(t, db.URL, "HEADWAY_HTTP_ADDR", addr, "HEADWAY_TOKEN_SECRET", tokenSecret)
	c.DatabaseURL, c.AllowMoreRights = db.URL, true // who is headway_user, too
	w = start(t, c)
	w.await(worker.Leading, worker.Asleep)
	pgtest.Eventually(t, soon, func() bool { status, _ := get(t, addr, "/readyz"); return status == http.StatusOK }, "it is not ready")
	return w, addr, mint(t)
}

const tokenSecret = "a secret of thirty-two bytes, or more"

// mint makes a token of person 1.
func mint(t *testing.T) string {
	t.Helper()
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.RegisteredClaims{
		Subject: "1", Audience: jwt.ClaimStrings{"headway"}, ExpiresAt: jwt.NewNumericDate(time.Now().Add(time.Hour)),
	}).SignedString([]byte(tokenSecret))
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// TestARequestThatNeverEndsIsCutOff sends parts of requests, and beside them listens for longer than a request may take.
func TestARequestThatNeverEndsIsCutOff(t *testing.T) {
	t.Parallel()
	db := seeded(t)
	_, addr, token := gateway(t, db)
	ctx, cancel := context.WithTimeout(t.Context(), 2*soon)
	defer cancel()
	ask := func(method, path string) io.Reader {
		r, err := http.NewRequestWithContext(ctx, method, "http://"+addr+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+token)
		response, err := http.DefaultClient.Do(r)
		if err != nil || response.StatusCode != http.StatusOK {
			t.Fatalf("%s: %v, %v", path, response, err)
		}
		t.Cleanup(func() { _ = response.Body.Close() })
		return response.Body
	}
	var issued struct{ Ticket string }
	if err := json.NewDecoder(ask("POST", "/api/ticket")).Decode(&issued); err != nil {
		t.Fatal(err)
	}
	stream := bufio.NewReader(ask("GET", "/api/events?ticket="+issued.Ticket))

	var cut sync.WaitGroup
	for part, within := range map[string]time.Duration{
		"GET /healthz HTTP/1.1\r\nHost: x\r\n":                                                                                  soon, // less than a whole request may take
		"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n":                                                      2 * soon,
		"POST /headway/unsubscribe/abc HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nx":                                     2 * soon,
		"POST /api/tasks/1/complete HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\nAuthorization: Bearer " + token + "\r\n\r\n{": 2 * soon,
	} {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		if _, err := io.WriteString(conn, part); err != nil {
			t.Fatal(err)
		}
		_ = conn.SetReadDeadline(time.Now().Add(within))
		cut.Go(func() {
			if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%q is waited for", part)
			}
		})
	}
	cut.Wait()
	pgtest.Execute(t, db.Conn(t), "select headway.post(1, 'project_1', 'still there')")
	for {
		line, err := stream.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(line, "still there") {
			return
		}
	}
}

// TestABrowserIsToldWhatIsNotified has messages posted, which come over the connection that a worker opens to listen, and
// the worker told to stop.
func TestABrowserIsToldWhatIsNotified(t *testing.T) {
	t.Parallel()
	db := seeded(t)
	conn := db.Conn(t)
	w, addr, token := gateway(t, db)
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	ws, _, err := websocket.Dial(ctx, "ws://"+addr+"/api/ws", nil) //nolint:bodyclose // the library closes it
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ws.CloseNow() }()
	if err := ws.Write(ctx, websocket.MessageText, []byte(`{"token": "`+token+`"}`)); err != nil {
		t.Fatal(err)
	}
	if _, text, err := ws.Read(ctx); err != nil || !strings.HasPrefix(string(text), `{"type":"snapshot"`) {
		t.Fatalf("told first: %s, %v", text, err)
	}
	for i := range 3 {
		pgtest.Execute(t, conn, fmt.Sprintf("select headway.post(1, 'project_1', 'Message %d')", i))
		for told := ""; !strings.Contains(told, fmt.Sprintf("Message %d", i)); { // also that they have read their own, where the gateway looks
			_, text, err := ws.Read(ctx)
			if err != nil {
				t.Fatal(err)
			}
			told = string(text)
		}
	}
	go w.stop()
	for err == nil {
		_, _, err = ws.Read(ctx)
	}
	if websocket.CloseStatus(err) != websocket.StatusServiceRestart {
		t.Errorf("it ends with %v", err)
	}
}

// TestAGatewayThatMayActAsNobodySaysSo gives the worker the login of one that only folds and sends.
func TestAGatewayThatMayActAsNobodySaysSo(t *testing.T) {
	t.Parallel()
	const message = "the gateway can serve nobody until its login may act as an end user"
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
			addr := pgtest.FreeAddr(t)
			config := config(t, db.URL, "HEADWAY_HTTP_ADDR", addr, "HEADWAY_TOKEN_SECRET", tokenSecret)
			c.change(&config, db)
			log := newLogbook(t, nil)
			start(t, config, func(w *worker.Worker) { w.Log = slog.New(log) }).await(worker.Leading)
			if says := log.has(message); says != c.says {
				t.Errorf("says so: %v", says)
			}
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+addr+"/api/snapshot", nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Authorization", "Bearer "+mint(t))
			response, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			_ = response.Body.Close()
			if want := map[bool]int{true: http.StatusServiceUnavailable, false: http.StatusOK}[c.says]; response.StatusCode != want {
				t.Errorf("a request gets %d, want %d", response.StatusCode, want)
			}
		})
	}
}
