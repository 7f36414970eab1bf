package worker_test

import (
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
)

// proxy passes connections on to a server until it is told otherwise.
type proxy struct {
	t        *testing.T
	listener net.Listener
	group    sync.WaitGroup

	mu     sync.Mutex
	server string // where the next connection leads
	links  []*link
	closed bool
}

// link is one connection through a proxy. A silent one takes everything and passes nothing on, in either direction, as
// a half-open connection does.
type link struct {
	client, server net.Conn
	silent         atomic.Bool
}

// newProxy starts a proxy in front of the server of a URL.
func newProxy(t *testing.T, url string) *proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{t: t, listener: listener}
	p.turn(url)
	p.group.Go(p.accept)
	t.Cleanup(func() { p.shut(); p.group.Wait() })
	return p
}

// url is a URL by way of the proxy.
func (p *proxy) url(direct string) string {
	p.t.Helper()
	u := parse(p.t, direct)
	u.Host = p.listener.Addr().String()
	return u.String()
}

func parse(t *testing.T, address string) *url.URL {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func (p *proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.mu.Lock()
		to := p.server
		p.mu.Unlock()
		server, err := net.Dial("tcp", to)
		if err != nil {
			client.Close()
			continue
		}
		l := &link{client: client, server: server}
		p.mu.Lock()
		if p.links = append(p.links, l); p.closed {
			l.close()
		}
		p.mu.Unlock()
		p.group.Go(func() { l.pass(l.client, l.server) })
		p.group.Go(func() { l.pass(l.server, l.client) })
	}
}

func (l *link) pass(from, to net.Conn) {
	buffer := make([]byte, 4096)
	for {
		n, err := from.Read(buffer)
		switch {
		case l.silent.Load():
			if err != nil {
				return
			}
		case err != nil:
			l.close()
			return
		default:
			_, _ = to.Write(buffer[:n]) // the next read tells
		}
	}
}

func (l *link) close() { l.client.Close(); l.server.Close() }

// silence makes the connections that there are silent; new ones are not.
func (p *proxy) silence() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range p.links {
		l.silent.Store(true)
	}
}

// turn has new connections lead to the server of another URL; those that there are stay with theirs.
func (p *proxy) turn(url string) {
	p.t.Helper()
	to := parse(p.t, url).Host
	p.mu.Lock()
	defer p.mu.Unlock()
	p.server = to
}

// shut closes all connections and takes no new ones.
func (p *proxy) shut() {
	p.listener.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, l := range p.links {
		l.close()
	}
}
