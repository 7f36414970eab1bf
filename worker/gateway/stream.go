package gateway

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/coder/websocket"
	"github.com/jackc/pgx/v5/pgconn"
)

// hello is the first message of a WebSocket. A later one brings a new token.
type hello struct {
	Token string `json:"token"`

	// Position is what a client that comes back has. Null: nothing.
	Position *Positions `json:"position"`
}

// Codes with which a WebSocket is closed (RFC 6455, section 7.4.2: 4000 to 4999 are the application's).
const (
	statusUnauthorized websocket.StatusCode = 4401 // get a new token
	statusResync       websocket.StatusCode = 4409 // read too slowly: come back without a position
	statusTooMany      websocket.StatusCode = 4429 // come back later
)

// maxHello bounds the first message: a token and the positions of a few thousand channels.
const maxHello = 256 << 10

// serveWebSocket lets a client listen over a WebSocket.
func (g *Gateway) serveWebSocket(w http.ResponseWriter, r *http.Request) {
	if !g.allowed(r) {
		refuse(w, http.StatusForbidden, "the page may not connect", "HEADWAY_ALLOWED_ORIGINS has to list its origin.")
		return
	}
	ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{
		InsecureSkipVerify: true, // the origin has just been looked at
		CompressionMode:    websocket.CompressionDisabled,
	})
	if err != nil {
		return // it has answered
	}
	defer func() { _ = ws.CloseNow() }()
	ws.SetReadLimit(maxHello)
	code, reason := g.talk(r.Context(), ws)
	_ = ws.Close(code, reason)
}

// talk serves a WebSocket and returns why it ends.
func (g *Gateway) talk(ctx context.Context, ws *websocket.Conn) (websocket.StatusCode, string) {
	greeting, cancel := context.WithTimeout(ctx, g.HelloTimeout)
	defer cancel()
	first, err := read(greeting, ws)
	if err != nil {
		return statusUnauthorized, "the first message has to be a token"
	}
	identity, err := g.Verifier.Verify(first.Token)
	if err != nil {
		return statusUnauthorized, "the token is not valid"
	}
	release, err := g.admit(identity.UserID)
	if err != nil {
		return statusTooMany, err.Error()
	}
	defer release()

	c := newConn(identity, g.MaxWaiting)
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	go func() { stop(g.renew(ctx, ws, c)) }()
	go func() { stop(g.pings(ctx, ws)) }()
	defer g.beat(ctx, c)()
	err = g.serve(ctx, c, first.Position, func(events [][]byte, _ Positions) error {
		for _, text := range events {
			ctx, cancel := context.WithTimeout(ctx, g.PingInterval)
			err := ws.Write(ctx, websocket.MessageText, text)
			cancel()
			if err != nil {
				return err
			}
		}
		return nil
	})
	switch {
	case errors.Is(err, errExpired), errors.Is(err, errNobody):
		return statusUnauthorized, err.Error()
	case errors.Is(err, errSlow):
		return statusResync, err.Error()
	case errors.Is(err, errStopped):
		return websocket.StatusServiceRestart, "the gateway stops"
	default:
		return websocket.StatusTryAgainLater, "the connection was lost"
	}
}

// read reads a message of the client.
func read(ctx context.Context, ws *websocket.Conn) (hello, error) {
	var said hello
	_, text, err := ws.Read(ctx)
	if err == nil {
		err = json.Unmarshal(text, &said)
	}
	return said, err
}

// renew takes new tokens of the same person, so that the connection outlives the first.
func (g *Gateway) renew(ctx context.Context, ws *websocket.Conn, c *conn) error {
	for {
		said, err := read(ctx, ws)
		if err != nil {
			return err
		}
		identity, err := g.Verifier.Verify(said.Token)
		if err != nil || identity.UserID != c.UserID {
			return errExpired
		}
		c.renew(identity.Expires)
	}
}

// pings asks the client now and then whether it is there.
func (g *Gateway) pings(ctx context.Context, ws *websocket.Conn) error {
	ticker := time.NewTicker(g.PingInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		ctx, cancel := context.WithTimeout(ctx, g.PingInterval)
		err := ws.Ping(ctx)
		cancel()
		if err != nil {
			return err
		}
	}
}

// serve registers a connection, and passes events on until it ends.
func (g *Gateway) serve(ctx context.Context, c *conn, has *Positions, pass func(events [][]byte, position Positions) error) error {
	defer g.hub.exit(c)
	entering, cancel := context.WithTimeout(ctx, reach)
	err := g.hub.enter(entering, c, has)
	cancel()
	if err != nil {
		if pgErr := (*pgconn.PgError)(nil); errors.As(err, &pgErr) || !errors.Is(err, errNobody) {
			g.Log.Warn("a client could not be brought up to date", slog.Any("error", err))
		}
		return err
	}
	for {
		events, position, err := c.take(ctx, g.Now)
		if err != nil {
			return err
		}
		if err := pass(events, position); err != nil {
			return err
		}
	}
}

// serveEvents lets a client listen to Server-Sent Events (WHATWG HTML, section 9.2), by a ticket, since an EventSource
// cannot send a header. The id of an event is the position after it.
func (g *Gateway) serveEvents(w http.ResponseWriter, r *http.Request) {
	if !g.allowed(r) {
		refuse(w, http.StatusForbidden, "the page may not connect", "HEADWAY_ALLOWED_ORIGINS has to list its origin.")
		return
	}
	identity, err := g.hub.store.redeem(r.Context(), r.URL.Query().Get("ticket"))
	if err != nil || !g.Now().Before(identity.Expires) {
		refuse(w, http.StatusUnauthorized, "the ticket is not valid", "A ticket is good once and for half a minute: POST /api/ticket makes one.")
		return
	}
	release, err := g.admit(identity.UserID)
	if err != nil {
		w.Header().Set("Retry-After", "30")
		refuse(w, http.StatusTooManyRequests, err.Error(), "Come back later.")
		return
	}
	defer release()

	var has *Positions
	// A page that opens another EventSource, with another ticket, cannot set the header.
	if id := cmp.Or(r.Header.Get("Last-Event-ID"), r.URL.Query().Get("position")); id != "" {
		_ = json.Unmarshal([]byte(id), &has) // what cannot be read is no position
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Accel-Buffering", "no") // nginx
	stream := http.NewResponseController(w)
	c := newConn(identity, g.MaxWaiting)
	c.tracks = true
	ctx, cancel := context.WithDeadline(r.Context(), identity.Expires)
	defer cancel()
	stopBeat := g.beat(ctx, c)
	defer stopBeat()
	err = g.serve(ctx, c, has, func(events [][]byte, position Positions) error {
		if err := stream.SetWriteDeadline(time.Now().Add(g.PingInterval)); err != nil {
			return err
		}
		for i, text := range events {
			if i == len(events)-1 {
				id, err := json.Marshal(position)
				if err != nil {
					return err
				}
				fmt.Fprintf(w, "id: %s\n", id)
			}
			if _, err := fmt.Fprintf(w, "data: %s\n\n", text); err != nil {
				return err
			}
		}
		return stream.Flush()
	})
	if errors.Is(err, errSlow) {
		fmt.Fprintf(w, "id\ndata: {\"type\":\"resync\"}\n\n")
	}
}

// beat offers an event without content now and then, which keeps intermediaries from closing the stream.
func (g *Gateway) beat(ctx context.Context, c *conn) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		ticker := time.NewTicker(g.PingInterval)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
				c.offer(event{json: []byte(`{"type":"beat"}`)})
			}
		}
	}()
	return cancel
}
