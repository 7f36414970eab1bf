package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gobwas/ws"
	"golang.org/x/sys/unix"
)

// fleet is clients that receive over WebSockets. One goroutine serves all of them and does no more than it must, so that
// what is measured is the server: it shares the cores with it.
type fleet struct {
	dialect   dialect
	epoll     int
	receivers []receiver
	server    unix.SockaddrInet4
	serving   sync.WaitGroup
	stopped   atomic.Bool

	there     atomic.Int64 // receivers that are connected and told of everything from here on
	next      int64        // number of the message that is published next
	tally     atomic.Pointer[tally]
	delivered atomic.Int64 // messages that receivers have read
	changed   chan struct{}

	failed chan struct{} // closed with err
	err    error
}

// receiver is a client.
type receiver struct {
	socket    int
	connected bool   // TCP is
	upgraded  bool   // and WebSocket is
	partial   []byte // what has come of a frame that is not whole
	last      int64  // number of the last message
}

// open connects n clients to a server, all at once. The caller closes the fleet.
func open(address string, n int, d dialect) (*fleet, error) {
	tcp, err := net.ResolveTCPAddr("tcp4", address)
	if err != nil {
		return nil, err
	}
	f := &fleet{
		dialect: d, epoll: -1, receivers: make([]receiver, n), next: 1,
		server: unix.SockaddrInet4{Port: tcp.Port, Addr: [4]byte(tcp.IP.To4())}, changed: make(chan struct{}, 1), failed: make(chan struct{}),
	}
	for i := range f.receivers {
		f.receivers[i].socket = -1
	}
	if f.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, fmt.Errorf("epoll_create1: %w", err)
	}
	f.serving.Go(func() {
		if err := f.serve(); err != nil {
			f.err = err
			close(f.failed)
		}
	})
	return f, nil
}

// close disconnects all clients, and leaves nothing behind that waits for the network.
func (f *fleet) close() {
	f.stopped.Store(true)
	f.serving.Wait()
	for i := range f.receivers {
		if socket := f.receivers[i].socket; socket >= 0 {
			_ = unix.SetsockoptLinger(socket, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
			_ = unix.Close(socket)
		}
	}
	_ = unix.Close(f.epoll)
}

// serve connects, and reads until the fleet is closed.
func (f *fleet) serve() error {
	for i := range f.receivers {
		if err := f.connect(i); err != nil {
			return fmt.Errorf("connect client %d: %w", i, err)
		}
	}
	chunk := make([]byte, 64<<10)
	var events [256]unix.EpollEvent
	for !f.stopped.Load() {
		n, err := unix.EpollWait(f.epoll, events[:], 100)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("epoll_wait: %w", err)
		}
		for _, e := range events[:max(n, 0)] {
			if err := f.handle(int(e.Fd), chunk); err != nil {
				return fmt.Errorf("client %d: %w", e.Fd, err)
			}
		}
	}
	return nil
}

func (f *fleet) connect(i int) (err error) {
	r := &f.receivers[i]
	if r.socket, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0); err != nil {
		return err
	}
	if err := unix.SetsockoptInt(r.socket, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
		return err
	}
	if err := unix.Connect(r.socket, &f.server); err != nil && !errors.Is(err, unix.EINPROGRESS) {
		return err
	}
	return unix.EpollCtl(f.epoll, unix.EPOLL_CTL_ADD, r.socket, &unix.EpollEvent{Events: unix.EPOLLOUT, Fd: int32(i)})
}

// handle goes on with a client whose socket is ready.
func (f *fleet) handle(i int, chunk []byte) error {
	r := &f.receivers[i]
	if !r.connected {
		if code, err := unix.GetsockoptInt(r.socket, unix.SOL_SOCKET, unix.SO_ERROR); err != nil || code != 0 {
			return errors.Join(err, unix.Errno(code))
		}
		r.connected = true
		if err := unix.EpollCtl(f.epoll, unix.EPOLL_CTL_MOD, r.socket, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(i)}); err != nil {
			return err
		}
		return r.send(upgrade(f.dialect.path))
	}
	n, err := unix.Read(r.socket, chunk)
	switch {
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
		return nil
	case err != nil:
		return fmt.Errorf("receive: %w", err)
	case n == 0:
		return fmt.Errorf("receive: %w", io.ErrUnexpectedEOF)
	}
	now, data := time.Now(), chunk[:n]
	if len(r.partial) > 0 {
		r.partial = append(r.partial, data...)
		data = r.partial
	}
	rest, err := f.read(i, data, now)
	r.partial = append(r.partial[:0:0], rest...)
	return err
}

// send sends what surely fits into the socket.
func (r *receiver) send(data []byte) error {
	n, err := unix.Write(r.socket, data)
	if err == nil && n < len(data) {
		err = io.ErrShortWrite
	}
	return err
}

// read takes what has come for a client, and returns what is not whole yet.
func (f *fleet) read(i int, data []byte, now time.Time) (rest []byte, err error) {
	r := &f.receivers[i]
	if !r.upgraded {
		head, after, whole := bytes.Cut(data, []byte("\r\n\r\n"))
		if !whole {
			return data, nil
		}
		if !bytes.HasPrefix(head, []byte("HTTP/1.1 101 ")) {
			return nil, fmt.Errorf("not upgraded: %s", head)
		}
		r.upgraded, data = true, after
		if f.dialect.hello != nil {
			if err := r.send(frame(ws.OpText, []byte(f.dialect.hello(i)))); err != nil {
				return nil, err
			}
		}
	}
	for {
		opcode, payload, after, whole := parse(data)
		if !whole {
			return data, nil
		}
		data = after
		switch opcode {
		case ws.OpText:
			if err := f.hear(r, payload, now); err != nil {
				return nil, err
			}
		case ws.OpPing:
			if err := r.send(frame(ws.OpPong, payload)); err != nil {
				return nil, err
			}
		case ws.OpClose:
			return nil, fmt.Errorf("closed: %q", payload)
		default:
			return nil, fmt.Errorf("a frame of type %d came", opcode)
		}
	}
}

// hear takes a text that a client was sent: a message, or what the dialect needs.
func (f *fleet) hear(r *receiver, text []byte, now time.Time) error {
	number, found := numberIn(text)
	if !found {
		answer, there := f.dialect.hear(text)
		if there {
			f.there.Add(1)
			f.tell()
		}
		if answer != "" {
			return r.send(frame(ws.OpText, []byte(answer)))
		}
		return nil
	}
	if number != r.last+1 {
		return fmt.Errorf("message %d came after %d", number, r.last)
	}
	r.last = number
	f.delivered.Add(1)
	if t := f.tally.Load(); t != nil && t.count(number, now, len(f.receivers)) {
		f.tell()
	}
	return nil
}

// tell wakes whoever waits for the fleet.
func (f *fleet) tell() {
	select {
	case f.changed <- struct{}{}:
	default:
	}
}

// wait waits for the fleet to be as wanted.
func (f *fleet) wait(ctx context.Context, wanted func() bool) error {
	for !wanted() {
		select {
		case <-f.changed:
		case <-f.failed:
			return f.err
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// waitUntilThere waits until all clients are connected and told of everything.
func (f *fleet) waitUntilThere(ctx context.Context) error {
	err := f.wait(ctx, func() bool { return f.there.Load() == int64(len(f.receivers)) })
	if err != nil {
		return fmt.Errorf("%d of %d clients are connected: %w", f.there.Load(), len(f.receivers), err)
	}
	return nil
}
