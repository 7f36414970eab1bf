package smtp

import (
	"bytes"
	"context"
	"net"
	"sync"
	"time"
)

// conn is a connection on which nothing waits for ever. The SMTP client sets a deadline for every command but takes it
// away while a body is written (emersion/go-smtp#175), so every single read and write gets one here, and on top of them
// comes the limit of all that is being done.
type conn struct {
	net.Conn
	write time.Duration // for each write

	mu       sync.Mutex
	read     time.Duration // for each read
	asked    time.Time     // what the SMTP client asked for
	until    time.Time     // the limit
	reads    int
	greeting []byte // the first line received
}

// limit has every read and write end with ctx, until the function that it returns is called.
func (c *conn) limit(ctx context.Context) (release func()) {
	c.mu.Lock()
	c.until, _ = ctx.Deadline()
	c.mu.Unlock()
	stop := context.AfterFunc(ctx, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.until = time.Unix(1, 0)
		_ = c.Conn.SetDeadline(c.until) // what is closed already has ended
	})
	return func() {
		if stop() {
			c.mu.Lock()
			c.until = time.Time{}
			c.mu.Unlock()
		}
	}
}

// encrypt puts TLS on top of what was there, and all the rest on top of that.
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

// arm sets the deadline of a read or a write that is about to begin.
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

// readSoFar counts the reads: none since a mail was closed means that its end never went out.
func (c *conn) readSoFar() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.reads
}

// greet collects the first line.
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

// SetDeadline is what the SMTP client calls.
func (c *conn) SetDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked = t
	return nil
}

// SetReadDeadline is as SetDeadline: nobody reads and writes at a time.
func (c *conn) SetReadDeadline(t time.Time) error { return c.SetDeadline(t) }

// SetWriteDeadline is as SetDeadline: nobody reads and writes at a time.
func (c *conn) SetWriteDeadline(t time.Time) error { return c.SetDeadline(t) }
