package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/gobwas/ws"

	"headway/internal/gatewaytest"
	"headway/internal/pgtest"
)

// memory is a connection on which everything has come already.
type memory struct {
	net.Conn
	io.Reader
	io.Writer
}

func (m memory) Read(p []byte) (int, error)    { return m.Reader.Read(p) }
func (m memory) Write(p []byte) (int, error)   { return m.Writer.Write(p) }
func (memory) SetReadDeadline(time.Time) error { return nil }

func reading(sent []byte) *socket {
	s := &socket{conn: memory{Reader: bytes.NewReader(sent)}}
	s.client = newConn(nowhere{}, limits{waiting: 1000, now: time.Now})
	s.client.passing = true // nothing is told
	return s
}

// sent is what a client sends.
func sent(frames ...ws.Frame) []byte {
	var out []byte
	for _, f := range frames {
		out = append(out, ws.MustCompileFrame(ws.MaskFrame(f))...)
	}
	return out
}

func TestMessagesAreReadFromFrames(t *testing.T) {
	t.Parallel()
	for what, c := range map[string]struct {
		sent []byte
		want string
		err  error
	}{
		"one frame": {sent(ws.NewTextFrame([]byte("hello"))), "hello", nil},
		"fragments with a ping between": {sent(
			ws.NewFrame(ws.OpText, false, []byte("he")), ws.NewPingFrame([]byte("there?")),
			ws.NewFrame(ws.OpContinuation, false, nil), ws.NewFrame(ws.OpContinuation, true, []byte("llo")),
		), "hello", nil},
		"after a pong":                 {sent(ws.NewPongFrame(nil), ws.NewTextFrame([]byte("hello"))), "hello", nil},
		"goodbye":                      {sent(ws.NewCloseFrame(ws.NewCloseFrameBody(ws.StatusGoingAway, ""))), "", errGoodbye},
		"not masked":                   {ws.MustCompileFrame(ws.NewTextFrame([]byte("hello"))), "", errProtocol},
		"a continuation of nothing":    {sent(ws.NewFrame(ws.OpContinuation, true, nil)), "", errProtocol},
		"a message within a message":   {sent(ws.NewFrame(ws.OpText, false, nil), ws.NewTextFrame(nil)), "", errProtocol},
		"a control frame in fragments": {sent(ws.NewFrame(ws.OpPing, false, nil)), "", errProtocol},
		"too long":                     {sent(ws.NewTextFrame(make([]byte, maxHello+1))), "", errTooLong},
		"too long in fragments":        {sent(ws.NewFrame(ws.OpText, false, make([]byte, maxHello)), ws.NewFrame(ws.OpContinuation, true, []byte("x"))), "", errTooLong},
		"longer than anything":         {[]byte{0x81, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0}, "", errTooLong},
		"cut off":                      {sent(ws.NewTextFrame([]byte("hello")))[:8], "", io.ErrUnexpectedEOF},
		"nothing":                      {nil, "", io.EOF},
	} {
		s := reading(c.sent)
		got, err := s.read()
		if string(got) != c.want || !errors.Is(err, c.err) {
			t.Errorf("%s: read %.20q, %v", what, got, err)
		}
		if strings.Contains(what, "ping") && (len(s.client.queue) != 1 || s.client.queue[0].control != ws.OpPong || string(s.client.queue[0].json) != "there?") {
			t.Errorf("%s: answered %+v", what, s.client.queue)
		}
	}
}

// FuzzRead has whoever is at the other end send anything.
func FuzzRead(f *testing.F) {
	f.Add(sent(ws.NewTextFrame([]byte("hello"))))
	f.Add(sent(ws.NewFrame(ws.OpText, false, []byte("he")), ws.NewPingFrame(nil), ws.NewFrame(ws.OpContinuation, true, []byte("llo"))))
	f.Add([]byte{0x81, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	f.Add([]byte{0x88, 0x80, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		s := reading(data)
		for {
			message, err := s.read()
			if len(message) > len(data) || len(message) > maxHello {
				t.Fatalf("%d bytes out of %d", len(message), len(data))
			}
			if err != nil {
				return
			}
		}
	})
}

// TestFramesAreWhatALibraryReads writes payloads of every kind of length, some of which no buffer takes.
func TestFramesAreWhatALibraryReads(t *testing.T) {
	t.Parallel()
	var written bytes.Buffer
	s := &socket{conn: memory{Writer: &written}, buffers: &buffers{}}
	var events []*event
	for i, n := range []int{0, 125, 126, 1<<16 - 1, 1 << 16, 10, 3 * mostBuffered, 3 * mostBuffered, 7} {
		events = append(events, &event{json: bytes.Repeat([]byte{byte('a' + i)}, n)})
	}
	if err := s.write(events, positions{}); err != nil {
		t.Fatal(err)
	}
	for _, e := range events {
		header, err := ws.ReadHeader(&written)
		if err != nil || header.OpCode != ws.OpText || !header.Fin || header.Masked || !bytes.Equal(written.Next(int(header.Length)), e.json) {
			t.Fatalf("%d bytes: %+v, %v", len(e.json), header, err)
		}
	}
	if written.Len() > 0 {
		t.Errorf("%d bytes are left", written.Len())
	}
}

// quiet is a client that reads what comes, and therefore answers pings, until the connection ends.
func (c *client) quiet() <-chan error {
	ended := make(chan error, 1)
	go func() {
		for {
			if _, _, err := c.ws.Read(context.Background()); err != nil {
				ended <- err
				return
			}
		}
	}()
	return ended
}

func TestWhoDoesNotAnswerIsNotThere(t *testing.T) {
	t.Parallel()
	b := setup(t, func(g *Gateway) { g.PingInterval = 5 * time.Second })
	silent, there := b.dial(t, 2, nil), b.dial(t, 3, nil)
	silent.want("snapshot") // and reads no more, which is when this library answers pings
	ended := there.quiet()
	pgtest.Eventually(t, time.Minute, func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return b.counts[2] == 0
	}, "a client that does not answer is kept")
	select {
	case err := <-ended:
		t.Errorf("one that answers is let go: %v", err)
	default:
	}
}

func TestATokenThatExpiresEndsAConnectionOnWhichNothingHappens(t *testing.T) {
	t.Parallel()
	var c gatewaytest.Clock
	b := setup(t, func(g *Gateway) { g.Now = c.Now })
	bob := b.dial(t, 2, nil)
	bob.want("snapshot")
	c.Forward(2 * time.Hour)
	if e, err := bob.next(); websocket.CloseStatus(err) != websocket.StatusCode(statusUnauthorized) {
		t.Errorf("Bob is told %+v, %v", e, err)
	}
}

func TestANewTokenKeepsTheConnection(t *testing.T) {
	t.Parallel()
	b := setup(t)
	bob := b.dialUntil(t, 2, nil, time.Now().Add(30*time.Second))
	bob.want("snapshot")
	if err := bob.ws.Write(t.Context(), websocket.MessageText, []byte(`{"token": "`+gatewaytest.Token(t, 2, time.Now().Add(time.Hour))+`"}`)); err != nil {
		t.Fatal(err)
	}
	pgtest.Eventually(t, 20*time.Second, func() bool {
		b.hub.mu.Lock()
		defer b.hub.mu.Unlock()
		for c := range b.hub.conns {
			c.mu.Lock()
			defer c.mu.Unlock()
			return time.Until(c.Expires) > time.Minute
		}
		return false
	}, "the new token is not taken")
	if err := bob.ws.Write(t.Context(), websocket.MessageText, []byte(`{"token": "`+gatewaytest.Token(t, 3, time.Now().Add(time.Hour))+`"}`)); err != nil {
		t.Fatal(err)
	}
	if e, err := bob.next(); websocket.CloseStatus(err) != websocket.StatusCode(statusUnauthorized) {
		t.Errorf("with a token of Charlie's: %+v, %v", e, err)
	}
}

// TestWhoIsRefusedAndSaysGoodbyeIsLetGo has somebody answer the end of their connection, as browsers do, which then wait
// until it is closed; somebody else was refused before, and says nothing. It is their first token that is refused, or the
// next one.
func TestWhoIsRefusedAndSaysGoodbyeIsLetGo(t *testing.T) {
	t.Parallel()
	b := setup(t)
	refused := func(tokens ...string) net.Conn {
		conn, _, _, err := ws.Dial(t.Context(), strings.Replace(b.server.URL, "http", "ws", 1)+"/api/ws")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		_ = conn.SetDeadline(time.Now().Add(time.Minute))
		for _, token := range tokens {
			if err := ws.WriteFrame(conn, ws.MaskFrame(ws.NewTextFrame([]byte(`{"token": "`+token+`"}`)))); err != nil {
				t.Fatal(err)
			}
		}
		for opCode := ws.OpText; opCode != ws.OpClose; {
			head, err := ws.ReadHeader(conn)
			if err == nil {
				_, err = io.CopyN(io.Discard, conn, head.Length)
			}
			if err != nil {
				t.Fatal(err)
			}
			opCode = head.OpCode
		}
		return conn
	}
	isLetGo := func(tokens ...string) bool {
		for range 3 { // a machine may be so busy that both are let go before the one says goodbye
			silent, polite := refused(tokens...), refused(tokens...)
			if err := ws.WriteFrame(polite, ws.MaskFrame(ws.NewCloseFrame(ws.NewCloseFrameBody(ws.StatusNormalClosure, "")))); err != nil {
				t.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, polite); err != nil {
				t.Fatal(err)
			}
			_ = silent.SetReadDeadline(time.Now().Add(100 * time.Millisecond)) // time enough for one who was let go before
			if _, err := io.Copy(io.Discard, silent); errors.Is(err, os.ErrDeadlineExceeded) {
				return true
			}
		}
		return false
	}
	if !isLetGo("none") {
		t.Error("they wait for as long as somebody who says nothing")
	}
	if !isLetGo(gatewaytest.Token(t, 2, time.Now().Add(time.Hour)), "none") {
		t.Error("with a next token, they wait for as long as somebody who says nothing")
	}
}

// TestWhoIsSlowIsNoStranger: a client that is told that its token is not valid may sign its user out.
func TestWhoIsSlowIsNoStranger(t *testing.T) {
	t.Parallel()
	b := setup(t, func(g *Gateway) { g.HelloTimeout = time.Millisecond })
	ws, _, err := websocket.Dial(t.Context(), b.server.URL+"/api/ws", nil) //nolint:bodyclose // the library closes it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ws.CloseNow() })
	bob := &client{t: t, ws: ws}
	if e, err := bob.next(); websocket.CloseStatus(err) != websocket.StatusCode(statusTryAgain) {
		t.Errorf("told %+v, %v", e, err)
	}
}

// TestAPositionThatCannotBeReadIsNotResumed has Bob come with a good token and something that is no position.
func TestAPositionThatCannotBeReadIsNotResumed(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, position := range []string{`1`, `"x"`, `[]`, `{"channels": {"broadcast": "3"}}`, `{"projects": {"one": 1}}`, `{"channels": {"broadcast": 1e30}}`} {
		ws, _, err := websocket.Dial(t.Context(), b.server.URL+"/api/ws", nil) //nolint:bodyclose // the library closes it
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = ws.CloseNow() })
		text := fmt.Sprintf(`{"token": %q, "position": %s}`, gatewaytest.Token(t, 2, time.Now().Add(time.Hour)), position)
		if err := ws.Write(t.Context(), websocket.MessageText, []byte(text)); err != nil {
			t.Fatal(err)
		}
		bob := &client{t: t, ws: ws}
		if e, err := bob.next(); err != nil || e.Type != "resync" {
			t.Errorf("with the position %s told %+v, %v", position, e, err)
		}
	}
}

// TestAClientThatSaysGoodbyeIsAnswered closes as browsers do, which wait for the answer.
func TestAClientThatSaysGoodbyeIsAnswered(t *testing.T) {
	t.Parallel()
	b := setup(t)
	bob := b.dial(t, 2, nil)
	bob.want("snapshot")
	if err := bob.ws.Close(websocket.StatusNormalClosure, ""); err != nil {
		t.Error(err)
	}
	pgtest.Eventually(t, 20*time.Second, func() bool {
		b.hub.mu.Lock()
		defer b.hub.mu.Unlock()
		return len(b.hub.conns) == 0 && len(b.hub.people) == 0 && len(b.hub.topics) == 0 && len(b.hub.told) == 0
	}, "something is left of the connection")
}

// TestAClientIsToldWhyItsConnectionEnds: what it does then, it decides by the code.
func TestAClientIsToldWhyItsConnectionEnds(t *testing.T) {
	t.Parallel()
	for reason, want := range map[error]ws.StatusCode{
		errNoToken: 4401, errBadToken: 4401, errExpired: 4401, errNobody: 4401, errSlow: 4409, errTooMany: 4429,
		errStopped: 1012, errProtocol: 1002, errTooLong: 1009, errGoodbye: 1000, errLost: 1013, context.DeadlineExceeded: 1013,
	} {
		if code, _ := farewell(fmt.Errorf("wrapped: %w", reason)); code != want {
			t.Errorf("%v ends it with %d, want %d", reason, code, want)
		}
	}
}

// TestWhoseConnectionHasEndedIsGivenNoMoreTime has a client go on sending.
func TestWhoseConnectionHasEndedIsGivenNoMoreTime(t *testing.T) {
	t.Parallel()
	var given int
	s := reading(sent(ws.NewPongFrame(nil), ws.NewPongFrame(nil)))
	s.conn = patient{s.conn.(memory), &given}
	s.client.identify(Identity{UserID: 2})
	s.client.end(errSlow)
	if _, err := s.read(); !errors.Is(err, io.EOF) || given > 0 {
		t.Errorf("it was given more time %d times, %v", given, err)
	}
}

// patient counts how often it is given time to read.
type patient struct {
	memory
	given *int
}

func (p patient) SetReadDeadline(time.Time) error {
	*p.given++
	return nil
}

// TestWhoLeavesBeforeTheyAreInLeavesNothing disconnects while the snapshot is read.
func TestWhoLeavesBeforeTheyAreInLeavesNothing(t *testing.T) {
	t.Parallel()
	var b *bench
	var bob *client
	var once sync.Once
	gone := make(chan struct{})
	b = setup(t, func(g *Gateway) {
		g.hub.reached = func(step string) {
			if step != "snapshot read" {
				return
			}
			once.Do(func() {
				defer close(gone)
				_ = bob.ws.CloseNow()
				pgtest.Eventually(t, 20*time.Second, func() bool {
					b.mu.Lock()
					defer b.mu.Unlock()
					return b.total == 0
				}, "the client is still there")
			})
		}
	})
	b.hub.mu.Lock() // so that bob is there when it is reached
	bob = b.dial(t, 2, nil)
	b.hub.mu.Unlock()
	<-gone
	pgtest.Eventually(t, 20*time.Second, func() bool {
		b.hub.mu.Lock()
		defer b.hub.mu.Unlock()
		return len(b.hub.conns) == 0 && len(b.hub.people) == 0 && len(b.hub.topics) == 0
	}, "something is left of the connection")
}

// TestWhoDoesNotWaitForTheAnswerIsNotWaitedFor sends a frame with the handshake.
func TestWhoDoesNotWaitForTheAnswerIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	b := setup(t, func(g *Gateway) { g.HelloTimeout = time.Hour })
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", b.server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	_, err = io.WriteString(conn, "GET /api/ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n\x81\x80abcd")
	if err != nil {
		t.Fatal(err)
	}
	if said, err := io.ReadAll(conn); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("it is, after %q", said)
	}
}
