package gateway

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// serveEvents lets a client listen to Server-Sent Events (WHATWG HTML, section 9.2), using a ticket, since an
// EventSource cannot send a header. The id of an event is the position after it.
func (g *Gateway) serveEvents(w http.ResponseWriter, r *http.Request) {
	if !g.checkOrigin(w, r) {
		return
	}
	identity, err := g.hub.store.redeem(r.Context(), r.URL.Query().Get("ticket"))
	if err != nil && !errors.Is(err, errNoTicket) {
		g.explain(w, err, "")
		return
	}
	if err != nil || !g.Now().Before(identity.Expires) {
		refuse(w, http.StatusUnauthorized, "the ticket is not valid", "A ticket is good for one use, within half a minute: POST /api/ticket issues one.")
		return
	}
	controller := http.NewResponseController(w)
	_ = controller.SetReadDeadline(time.Time{}) // the whole request has arrived, and the server need not stop listening for its end
	c := newConn(&stream{w: w, controller: controller}, g.limits())
	c.tracks = true
	if err := g.admit(c, identity); err != nil {
		w.Header().Set("Retry-After", "30")
		refuse(w, http.StatusTooManyRequests, err.Error(), "Try again later.")
		return
	}
	defer g.leave(c)
	if !g.hub.register(c) {
		refuse(w, http.StatusServiceUnavailable, "the gateway is stopping", "Reconnect.")
		return
	}
	defer g.hub.unregister(c)

	var has *positions
	// A page that opens a new EventSource, with a new ticket, cannot set the header.
	if id := cmp.Or(r.Header.Get("Last-Event-ID"), r.URL.Query().Get("position")); id != "" {
		_ = json.Unmarshal([]byte(id), &has) // what cannot be parsed is no position
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // nginx
	// Proxies that compress, such as Traefik's, Caddy's and Express', would keep events until enough have come.
	w.Header().Set("Cache-Control", "no-store, no-transform")
	g.hub.receive(c, has)
	select {
	case <-r.Context().Done():
		c.end(errLost)
		<-c.done
	case <-c.done:
	}
}

// stream is an endless response. Only [conn.pass] writes to it.
type stream struct {
	w          http.ResponseWriter
	controller *http.ResponseController
}

func (s *stream) within(d time.Duration) { _ = s.controller.SetWriteDeadline(time.Now().Add(d)) }

func (s *stream) write(events []*event, position positions) error {
	for i, e := range events {
		if i == len(events)-1 && position.Channels != nil {
			id, err := json.Marshal(position)
			if err != nil {
				return err
			}
			fmt.Fprintf(s.w, "id: %s\n", id)
		}
		if _, err := fmt.Fprintf(s.w, "data: %s\n\n", e.json); err != nil {
			return err
		}
	}
	return s.controller.Flush()
}

func (s *stream) close(reason error) {
	if errors.Is(reason, errSlow) {
		fmt.Fprintf(s.w, "id\ndata: {\"type\":\"resync\"}\n\n")
	}
}

// beat returns an event, which also keeps intermediaries from closing the stream.
func (*stream) beat() []*event { return []*event{beat} }
