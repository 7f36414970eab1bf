package smtp

import (
	"context"
	"crypto/x509"
	"errors"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"headway/internal/pause"
)

// Timeouts limit how long things may take.
type Timeouts struct {
	Connect time.Duration // to connect, encrypt and log in. Default: 1 minute.
	Command time.Duration // for the greeting and the reply to a command. Default: 1 minute.
	Write   time.Duration // for a piece of a mail to be accepted by the network. Default: 30 seconds.
	Reply   time.Duration // for the reply to a whole mail; the server may have the mail when this ends. Default: 3 minutes.
	Total   time.Duration // for a mail with all of the above. Keep it below the lease. Default: 4 minutes.
}

// Pool sends mail over a limited number of connections, which are opened when needed and kept for a while. It may be
// used by multiple goroutines. [NewPool] makes one; its fields may be changed until it is first used.
type Pool struct {
	Server   Server
	Timeouts Timeouts

	// RootCAs are the authorities for the server's certificate. Nil: the system's.
	RootCAs *x509.CertPool

	// IdleTimeout is how long a connection may wait for a mail before it is closed. Default: 1 minute.
	IdleTimeout time.Duration

	// Pause is how long nothing is sent after the server has said that it is busy (421) or has refused a login; in the
	// latter case it doubles, up to sixteenfold, while logins keep being refused. Default: 1 minute.
	Pause time.Duration

	slots   chan struct{}
	limiter *rate.Limiter
	closing sync.WaitGroup // sessions

	mu     sync.Mutex
	idle   []*session
	resume time.Time // after a pause
	shut   int       // pauses in a row for a refused login
	denied int       // recipients presumed refused in a row
	closed bool
}

// NewPool makes a pool of at most this many connections.
func NewPool(server Server, connections int) *Pool {
	p := &Pool{
		Server: server,
		Timeouts: Timeouts{
			Connect: time.Minute, Command: time.Minute, Write: 30 * time.Second, Reply: 3 * time.Minute, Total: 4 * time.Minute,
		},
		IdleTimeout: time.Minute,
		Pause:       time.Minute,
		slots:       make(chan struct{}, max(connections, 1)),
		limiter:     rate.NewLimiter(rate.Inf, 1),
	}
	if server.Rate > 0 {
		p.limiter.SetLimit(rate.Limit(server.Rate))
	}
	return p
}

// Close closes idle connections; those in use are closed when they are released.
func (p *Pool) Close() {
	p.mu.Lock()
	idle := p.idle
	p.idle, p.closed = nil, true
	p.mu.Unlock()
	for _, s := range idle {
		s.idle.Stop()
		p.closing.Go(func() { s.close(true) })
	}
	p.closing.Wait()
}

// Acquire waits until a mail may be sent and returns a connection for it, logged in. It waits for one of the pool's
// connections, for the end of a pause that the server asked for, and for [Server.Rate]. The error is an [*Error] with
// the outcome [Retry]: no mail is to blame, so acquire first, and then claim a mail.
func (p *Pool) Acquire(ctx context.Context) (*Conn, error) {
	select {
	case p.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, failure("wait", context.Cause(ctx))
	}
	c := &Conn{pool: p}
	if err := p.ready(ctx); err != nil {
		c.Release()
		return nil, failure("wait", err)
	}
	if c.session = p.take(); c.session == nil {
		var err error
		c.session, _, err = p.dial(ctx)
		p.note(err)
		if err != nil {
			c.Release()
			return nil, err
		}
	}
	return c, nil
}

// Paused reports whether sending is paused, so that [Pool.Acquire] would wait.
func (p *Pool) Paused() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return time.Now().Before(p.resume)
}

// ready waits for the end of a pause and for the rate limit.
func (p *Pool) ready(ctx context.Context) error {
	for {
		p.mu.Lock()
		wait, closed := time.Until(p.resume), p.closed
		p.mu.Unlock()
		if closed {
			return errors.New("the pool is closed")
		}
		if wait <= 0 {
			if err := p.limiter.Wait(ctx); err != nil || !p.Paused() { // a pause may have begun meanwhile
				return err
			}
			continue
		}
		if !pause.For(ctx, wait) {
			return context.Cause(ctx)
		}
	}
}

const (
	// maxShut bounds how often in a row a pause doubles.
	maxShut = 4

	// maxDenied is how many recipients in a row are presumed refused.
	maxDenied = 3
)

// doubt turns a presumed refusal of a recipient into a retry after several in a row: then the server more likely objects
// to the sender, and no list of words can cover all that servers say about one.
func (p *Pool) doubt(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err == nil {
		p.denied = 0
	} else if e, is := errors.AsType[*Error](err); is && e.presumed {
		if p.denied++; p.denied > maxDenied {
			e.Outcome = Retry
		}
	}
}

// note begins a pause if the error calls for one; servers may count failed logins.
func (p *Pool) note(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	e, is := errors.AsType[*Error](err)
	switch {
	case err == nil:
		p.shut = 0
	case !is:
	case e.Code == 421:
		if until := time.Now().Add(p.Pause); until.After(p.resume) {
			p.resume = until
		}
	case e.Step == stepAuth && e.Code >= 500 && !time.Now().Before(p.resume): // several connections are refused at once
		p.resume = time.Now().Add(p.Pause << p.shut)
		p.shut = min(p.shut+1, maxShut)
	}
}

// take returns the most recently used session; nil if none is idle.
func (p *Pool) take() *session {
	p.mu.Lock()
	defer p.mu.Unlock()
	last := len(p.idle) - 1
	if last < 0 {
		return nil
	}
	s := p.idle[last]
	p.idle = p.idle[:last]
	s.idle.Stop()
	return s
}

// keep keeps a session for another mail, for a while. It returns false if the pool is closed.
func (p *Pool) keep(s *session) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	p.idle = append(p.idle, s)
	s.idle = time.AfterFunc(p.IdleTimeout, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if i := slices.Index(p.idle, s); i >= 0 {
			p.idle = slices.Delete(p.idle, i, i+1)
			p.closing.Go(func() { s.close(true) })
		}
	})
	return true
}

// Conn is a connection lent by the pool, for one mail.
type Conn struct {
	pool     *Pool
	session  *session // nil: lost
	released bool
}

// Release gives the connection back. Only the first call has an effect.
func (c *Conn) Release() {
	if c.released {
		return
	}
	c.released = true
	if c.session != nil && !c.pool.keep(c.session) {
		c.session.close(true)
	}
	<-c.pool.slots
}

// Send sends a mail, which must be 7-bit with lines of at most 998 bytes that end in CRLF, from one plain address to
// another. Nil means that the server has taken it; every error is an [*Error]. When ctx ends, so does the connection:
// if the mail had been sent by then, its outcome is [Unknown], so allow a mail under way some time before you cancel
// it.
func (c *Conn) Send(ctx context.Context, from, to string, mail []byte) error {
	if err := check(from, to, mail); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, c.pool.Timeouts.Total)
	defer cancel()

	reused := c.session != nil && c.session.idle != nil
	err := c.try(ctx, from, to, mail)
	if e, is := errors.AsType[*Error](err); is && e.Step == stepMail && reused && c.session == nil && ctx.Err() == nil {
		// The server closed the connection while it was idle, or accepts no more mail on it, and has seen nothing of
		// this mail.
		err = c.try(ctx, from, to, mail)
	}
	c.pool.note(err)
	c.pool.doubt(err)
	return err
}

func (c *Conn) try(ctx context.Context, from, to string, mail []byte) error {
	if c.session == nil {
		var err error
		if c.session, _, err = c.pool.dial(ctx); err != nil {
			return err
		}
	}
	err := c.session.send(ctx, from, to, mail)
	e, is := errors.AsType[*Error](err)
	if !is || e.Step == stepCheck {
		return err
	}
	// A reply leaves the connection usable for another mail, once this one is dropped (RSET); but 421 announces its
	// end, after 503 the two sides disagree on the state of the session, and 452 to MAIL may also mean too many mails
	// on one connection.
	over := e.Code == 421 || e.Code == 503 || e.Code == 452 && e.Step == stepMail
	if e.Code == 0 || over || c.session.reset(ctx) != nil {
		c.session.close(false)
		c.session = nil
	}
	return err
}
