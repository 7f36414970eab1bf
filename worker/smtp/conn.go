package smtp

import (
	"bytes"
	"context"
	"net"
	"sync"
	"time"
)

// conn is a connection on which nothing waits forever. The SMTP client sets a deadline for every command but clears it
// while a body is being written (emersion/go-smtp#175), so every single read and write gets one here, in addition to
// the limit on the whole operation.
type conn struct {
	net.Conn
	write time.Duration // for each write

	mu       sync.Mutex
	read     time.Duration // for each read
	asked    time.Time     // the deadline set by the SMTP client
	until    time.Time     // the limit
	reads    int
	greeting []byte // the first line received
}

// limit makes every read and write end with ctx, until the returned function is called. After that, nothing may be read
// or written before limit is called again.
func (c *conn) limit(ctx context.Context) (release func() bool) {
	c.mu.Lock()
	c.until, _ = ctx.Deadline()
	c.mu.Unlock()
	return context.AfterFunc(ctx, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.until = time.Unix(1, 0)
		_ = c.Conn.SetDeadline(c.until) // if it is closed, it has ended already
	})
}

// encrypt puts TLS on top of the connection, and everything else on top of TLS.
func (c *conn) encrypt(encrypted net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.Conn = encrypted
}

// patience sets how long each read may take.
func (c *conn) patience(read time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.read = read
}

// arm sets the deadline for a read or a write that is about to begin.
func (c *conn) arm(patience time.Duration, set func(time.Time) error) error {
	deadline := time.Now().Add(patience)
	for _, other := range []time.Time{c.asked, c.until} {
		if !other.IsZero() && other.Before(deadline) {
			deadline = other
		}
	}
	return set(deadline)
}

func (c *conn) Read(p []byte) (int, error) {
	c.mu.Lock()
	c.reads++
	err := c.arm(c.read, c.Conn.SetReadDeadline)
	c.mu.Unlock()
	if err != nil {
		return 0, err
	}
	n, err := c.Conn.Read(p)
	c.greet(p[:n])
	return n, err
}

func (c *conn) Write(p []byte) (int, error) {
	c.mu.Lock()
	err := c.arm(c.write, c.Conn.SetWriteDeadline)
	c.mu.Unlock()
	if err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

// readSoFar counts the reads: if there was none since the body was closed, the end of the mail was never sent.
func (c *conn) readSoFar() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.reads
}

// greet collects the first line received.
func (c *conn) greet(p []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !bytes.HasSuffix(c.greeting, []byte("\n")) && len(c.greeting) < 512 {
		line, _, found := bytes.Cut(p, []byte("\n"))
		c.greeting = append(c.greeting, line...)
		if found {
			c.greeting = append(c.greeting, '\n')
		}
	}
}

// SetDeadline is called by the SMTP client.
func (c *conn) SetDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked = t
	return nil
}

// SetReadDeadline is the same as SetDeadline: reads and writes never overlap.
func (c *conn) SetReadDeadline(t time.Time) error { return c.SetDeadline(t) }

// SetWriteDeadline is the same as SetDeadline: reads and writes never overlap.
func (c *conn) SetWriteDeadline(t time.Time) error { return c.SetDeadline(t) }
