package gateway

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/gobwas/ws"
)

// hello is the first message of a WebSocket. Later ones bring a new token.
type hello struct {
	Token string `json:"token"`

	// Position is what a client that reconnects already has. Null: nothing.
	Position *positions `json:"position"`
}

// Codes with which a WebSocket is closed (RFC 6455, section 7.4.2: 4000 to 4999 are the application's).
const (
	statusUnauthorized ws.StatusCode = 4401 // get a new token
	statusResync       ws.StatusCode = 4409 // read too slowly, or was sent what a failover has lost: reconnect without a position
	statusTooMany      ws.StatusCode = 4429 // reconnect later
	statusRestart      ws.StatusCode = 1012 // IANA's registry: the service restarts
	statusTryAgain     ws.StatusCode = 1013 // IANA's registry: try again later
)

// maxHello bounds the first message: a token and the positions of a few thousand channels.
const maxHello = 256 << 10

var (
	errNoToken  = errors.New("the first message must be a token")
	errBadToken = errors.New("the token is not valid")
	errProtocol = errors.New("not a client's frame")
	errTooLong  = errors.New("the message is too long")
	errLate     = errors.New("no token came in time")
	errGoodbye  = errors.New("goodbye") // the client closed it
)

// farewell returns the status and reason that a client gets when its connection ends.
func farewell(reason error) (ws.StatusCode, string) {
	switch {
	case errors.Is(reason, errNoToken), errors.Is(reason, errBadToken), errors.Is(reason, errExpired), errors.Is(reason, errNobody):
		return statusUnauthorized, reason.Error()
	case errors.Is(reason, errSlow):
		return statusResync, reason.Error()
	case errors.Is(reason, errTooMany):
		return statusTooMany, reason.Error()
	case errors.Is(reason, errStopped):
		return statusRestart, "the gateway is stopping"
	case errors.Is(reason, errProtocol):
		return ws.StatusProtocolError, reason.Error()
	case errors.Is(reason, errTooLong):
		return ws.StatusMessageTooBig, reason.Error()
	case errors.Is(reason, errLate):
		return statusTryAgain, reason.Error()
	case errors.Is(reason, errGoodbye):
		return ws.StatusNormalClosure, ""
	default:
		return statusTryAgain, errLost.Error()
	}
}

// serveWebSocket lets a client listen over a WebSocket. It returns once the client has identified itself: net/http
// keeps buffers and a deep stack for a request, which a client that only listens does not need.
func (g *Gateway) serveWebSocket(w http.ResponseWriter, r *http.Request) {
	if !g.checkOrigin(w, r) {
		return
	}
	if !strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
		w.Header().Set("Connection", "Upgrade")
		w.Header().Set("Upgrade", "websocket")
		http.Error(w, "connect to it with a WebSocket", http.StatusUpgradeRequired)
		return
	}
	netConn, buffered, _, err := ws.UpgradeHTTP(r, w)
	if err != nil {
		return // it has answered
	}
	s := &socket{conn: netConn, buffers: &g.buffers, silence: 2 * g.PingInterval}
	s.client = newConn(s, g.limits())
	if buffered.Reader.Buffered() > 0 || !g.hub.register(s.client) { // a client waits for the answer (RFC 6455, section 4.1)
		_ = netConn.Close()
		return
	}
	if err := g.greet(s); err != nil {
		s.client.end(err)
	}
	go g.attend(s)
}

// greet reads who a client is and lets it enter.
func (g *Gateway) greet(s *socket) error {
	_ = s.conn.SetReadDeadline(time.Now().Add(g.HelloTimeout))
	first, err := s.hear()
	switch {
	case errors.Is(err, errTooLong), errors.Is(err, errProtocol):
		return err
	case errors.Is(err, os.ErrDeadlineExceeded): // a slow network is no bad token
		return errLate
	case err != nil:
		return errNoToken
	}
	identity, err := g.Verifier.Verify(first.Token)
	if err != nil {
		return errBadToken
	}
	if err := g.admit(s.client, identity); err != nil {
		return err
	}
	g.hub.receive(s.client, first.Position)
	return nil
}

// attend reads what a client sends, an occasional new token for the same person, until the connection ends.
func (g *Gateway) attend(s *socket) {
	c := s.client
	defer g.hub.unregister(c)
	s.isThere()
	var err error
	for err == nil && c.ended() == nil {
		var said hello
		if said, err = s.hear(); err == nil {
			if refusal := g.renew(c, said.Token); refusal != nil {
				c.end(refusal)
			}
		}
	}
	c.end(err)
	g.leave(c)
	<-c.done
	for err == nil { // a browser that was refused answers, and waits until the connection is closed
		_, err = s.read()
	}
	if !errors.Is(err, errGoodbye) {
		// Unread data from the client would make the system discard what was last sent to the client.
		_, _ = io.Copy(io.Discard, s.conn)
	}
	_ = s.conn.Close()
}

// socket is a WebSocket after its handshake (RFC 6455). One goroutine reads, in attend, and one writes, in [conn.pass].
// A library that does this keeps several kilobytes of buffers for each connection, which here hardly ever reads; all
// that remains to do is to put events into frames.
type socket struct {
	conn    net.Conn
	client  *conn
	buffers *buffers
	silence time.Duration          // after that, the client is considered gone
	head    [ws.MaxHeaderSize]byte // of the frame being read
}

// isThere extends the time until the client is considered gone, unless the connection ends.
func (s *socket) isThere() {
	s.client.mu.Lock()
	defer s.client.mu.Unlock()
	if s.client.err == nil && s.client.UserID != 0 {
		_ = s.conn.SetReadDeadline(time.Now().Add(s.silence))
	}
}

// hear reads a message.
func (s *socket) hear() (hello, error) {
	var said hello
	text, err := s.read()
	if err == nil {
		err = json.Unmarshal(text, &said)
	}
	if wrong, is := errors.AsType[*json.UnmarshalTypeError](err); is && strings.HasPrefix(wrong.Field, "position") {
		said.Position, err = &positions{}, nil // what cannot be parsed is no position
	}
	return said, err
}

// read reads a message, and answers control frames in between.
func (s *socket) read() (message []byte, err error) {
	state := ws.StateServerSide
	for {
		header, err := ws.ReadHeaderBuffer(s.conn, s.head[:])
		if err != nil {
			return nil, err
		}
		if ws.CheckHeader(header, state) != nil {
			return nil, errProtocol
		}
		if header.Length > int64(maxHello-len(message)) {
			return nil, errTooLong
		}
		payload, err := io.ReadAll(io.LimitReader(s.conn, header.Length))
		if err == nil && int64(len(payload)) < header.Length {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return nil, err
		}
		ws.Cipher(payload, header.Mask, 0)
		s.isThere()
		switch {
		case header.OpCode == ws.OpClose:
			return nil, errGoodbye
		case header.OpCode == ws.OpPing:
			s.client.offer(&event{control: ws.OpPong, json: payload})
		case header.OpCode == ws.OpPong:
		default:
			message, state = append(message, payload...), state.Set(ws.StateFragmented)
			if header.Fin {
				return message, nil
			}
		}
	}
}

func (s *socket) within(d time.Duration) { _ = s.conn.SetWriteDeadline(time.Now().Add(d)) }

// buffers are shared by all writers, each for a moment.
type buffers struct{ pool sync.Pool }

// mostBuffered is the largest buffer that is kept. Few need a larger one.
const mostBuffered = 64 << 10

func (b *buffers) get() *bytes.Buffer {
	if free, ok := b.pool.Get().(*bytes.Buffer); ok {
		return free
	}
	return new(bytes.Buffer)
}

func (b *buffers) put(used *bytes.Buffer) {
	if used.Cap() <= mostBuffered {
		used.Reset()
		b.pool.Put(used)
	}
}

func (s *socket) write(events []*event, _ positions) error {
	buffer := s.buffers.get()
	defer s.buffers.put(buffer)
	for _, e := range events {
		buffer.Grow(ws.MaxHeaderSize)
		header := ws.Header{Fin: true, OpCode: cmp.Or(e.control, ws.OpText), Length: int64(len(e.json))}
		_ = ws.WriteHeaderBuffer(buffer, header, buffer.AvailableBuffer()) // into memory
		if buffer.Len()+len(e.json) <= mostBuffered {
			buffer.Write(e.json)
			continue
		}
		// Thousands may be sent the same at once: large events are not copied for each of them.
		frames := net.Buffers{buffer.Bytes(), e.json}
		if _, err := frames.WriteTo(s.conn); err != nil {
			return err
		}
		buffer.Reset()
	}
	if buffer.Len() == 0 {
		return nil
	}
	_, err := s.conn.Write(buffer.Bytes())
	return err
}

// close ends the connection after a while at the latest, whether or not the client answers the close.
func (s *socket) close(reason error) {
	code, text := farewell(reason)
	_, err := s.conn.Write(ws.MustCompileFrame(ws.NewCloseFrame(ws.NewCloseFrameBody(code, text))))
	linger := time.Now().Add(lingering)
	if err != nil || errors.Is(reason, errLost) {
		linger = time.Now()
	}
	_ = s.conn.SetReadDeadline(linger)
}

// beat returns a ping and, since pages do not see those, an event. A client that does not answer is gone.
func (*socket) beat() []*event { return []*event{{control: ws.OpPing}, beat} }
