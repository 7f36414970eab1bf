// Command hub is a WebSocket hub without any logic, as the examples of its library show one: whoever connects is sent
// what is published. It is the floor that a gateway written in Go is compared with.
//
// It prints its address, and serves until it is told to stop: /ws, POST /publish, which sends each line and answers when that
// began in nanoseconds since 1970, and /memory, the bytes of heap and of stacks in use.
package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime"
	"sync"
	"syscall"
	"time"

	"github.com/coder/websocket"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "hub:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer) error {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Fprintln(out, listener.Addr())
	h := &hub{subscribers: map[chan []byte]struct{}{}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /ws", h.subscribe)
	mux.HandleFunc("POST /publish", h.publish)
	mux.HandleFunc("GET /memory", func(w http.ResponseWriter, _ *http.Request) {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		fmt.Fprintln(w, m.HeapInuse, m.StackInuse)
	})
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
		return server.Close()
	}
}

// hub knows who is to be told what.
type hub struct {
	mu          sync.Mutex
	subscribers map[chan []byte]struct{}
}

// waiting is how many messages may wait for a subscriber. Those who read more slowly are let go.
const waiting = 256

func (h *hub) subscribe(w http.ResponseWriter, r *http.Request) {
	ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{CompressionMode: websocket.CompressionDisabled})
	if err != nil {
		return
	}
	defer func() { _ = ws.CloseNow() }()
	ctx := ws.CloseRead(r.Context())
	messages := make(chan []byte, waiting)
	h.mu.Lock()
	h.subscribers[messages] = struct{}{}
	h.mu.Unlock()
	defer func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.subscribers, messages)
	}()
	messages <- []byte("hello")
	for {
		select {
		case message, open := <-messages:
			if !open || ws.Write(ctx, websocket.MessageText, message) != nil {
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

func (h *hub) publish(w http.ResponseWriter, r *http.Request) {
	lines, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	began := time.Now()
	for message := range bytes.SplitSeq(lines, []byte("\n")) {
		h.send(message)
	}
	fmt.Fprint(w, began.UnixNano())
}

func (h *hub) send(message []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for messages := range h.subscribers {
		select {
		case messages <- message:
		default:
			delete(h.subscribers, messages)
			close(messages)
		}
	}
}
