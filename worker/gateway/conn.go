package gateway

import (
	"errors"
	"maps"
	"sync"
	"time"

	"github.com/gobwas/ws"
)

// positions is what a client has: the number of the last message in each channel, and the version of each project's
// progress.
type positions struct {
	Channels map[string]int64 `json:"channels"`
	Projects map[int64]int64  `json:"projects"`
}

// membership is what an event changes about who gets a channel's events.
type membership int

const (
	joins  membership = iota + 1 // the client, from here on
	leaves                       // the client, no longer
)

// event is something to send to clients: a message (channel and seq), progress (project and version), the start or end
// of a membership (all of these), or something without a position. It is shared by all recipients and immutable.
type event struct {
	member  membership
	channel string
	seq     int64
	project int64
	version int64
	own     bool // includes the client's own part, which may follow the shared part of the same version
	json    []byte

	// control is the opcode if the frame is for the client's WebSocket rather than its page. 0: it is for the page.
	control ws.OpCode
}

// size is how much an event counts towards the limit while it waits.
func (e *event) size() int { return ws.MaxHeaderSize + len(e.json) }

var (
	errSlow    = errors.New("resync")        // the client reads more slowly than events occur
	errExpired = errors.New("token expired") // nothing is sent after that
	errStopped = errors.New("stopped")       // the gateway was stopped
	errLost    = errors.New("the connection was lost")
)

// transport is how events reach a client.
type transport interface {
	// within limits the current write, and what follows it, to a time from now. It may be called at any time.
	within(d time.Duration)

	// write sends events, and the position after the last one if the connection tracks it and there is one yet.
	write(events []*event, position positions) error

	// close tells the client why the connection ends, if still possible, and stops receiving.
	close(reason error)

	// beat returns what is sent now and then to show that the connection is alive.
	beat() []*event
}

// beat shows that the connection is alive, and nothing else.
var beat = &event{json: []byte(`{"type":"beat"}`)}

// conn is a client that listens. The hub offers it events; a goroutine passes them on while any are waiting, and
// otherwise there is none.
type conn struct {
	Identity
	out    transport
	limits limits
	tracks bool                // positions are sent
	topics map[*topic]struct{} // the hub's
	done   chan struct{}       // closed when nothing more is sent

	mu       sync.Mutex
	position positions
	syncing  bool     // the snapshot is being read
	kept     []*event // what arrived in the meantime
	queue    []*event
	size     int // of the events in queue and kept
	passing  bool
	beatAt   time.Time
	err      error
}

// limits are the limits of a connection.
type limits struct {
	waiting int              // bytes that may wait before the client is too slow
	write   time.Duration    // for a write to complete
	now     func() time.Time // the clock for expiry
}

// lingering is how long a client may take to receive the reason for the end of its connection.
const lingering = 2 * time.Second

func newConn(out transport, l limits) *conn {
	return &conn{
		out:      out,
		limits:   l,
		topics:   map[*topic]struct{}{},
		done:     make(chan struct{}),
		position: positions{Channels: map[string]int64{}, Projects: map[int64]int64{}},
		syncing:  true,
	}
}

// offer queues events that the client does not have yet. If too much is waiting already, the client is too slow; events
// that arrive together are not held against it.
func (c *conn) offer(events ...*event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.size > c.limits.waiting { // nothing waits once it has ended
		c.fail(errSlow)
	}
	if c.err != nil {
		return
	}
	for _, e := range events {
		switch {
		case c.syncing && e.control == 0:
			c.kept = append(c.kept, e)
			c.size += e.size()
		case c.wants(e):
			c.push(e)
		}
	}
}

// begin ends the synchronization: the client has what position says; first is sent, then what was kept and is newer.
func (c *conn) begin(position positions, first [][]byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return
	}
	maps.Copy(c.position.Channels, position.Channels)
	maps.Copy(c.position.Projects, position.Projects)
	for _, text := range first {
		c.push(&event{json: text})
	}
	c.syncing = false
	kept := c.kept
	c.kept = nil
	for _, e := range kept {
		c.size -= e.size()
		if c.wants(e) {
			c.push(e)
		}
	}
}

// restart discards what was kept: the snapshot about to be read is newer.
func (c *conn) restart() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range c.kept {
		c.size -= e.size()
	}
	c.kept = nil
}

// wants reports whether an event is newer than what the client has, and if so notes that the client has it. The lock is
// held.
func (c *conn) wants(e *event) bool {
	have, member := c.position.Channels[e.channel]
	switch {
	case e.member == joins:
		if member {
			return false
		}
		c.position.Channels[e.channel] = e.seq
		if e.project != 0 {
			c.position.Projects[e.project] = e.version
		}
	case e.member == leaves:
		if !member {
			return false
		}
		delete(c.position.Channels, e.channel)
		delete(c.position.Projects, e.project)
	case e.channel != "":
		if !member || e.seq <= have {
			return false
		}
		c.position.Channels[e.channel] = e.seq
	case e.project != 0:
		if have, member := c.position.Projects[e.project]; !member || e.version < have || e.version == have && !e.own {
			return false
		}
		c.position.Projects[e.project] = e.version
	}
	return true
}

// isIn reports whether the client gets a channel's events.
func (c *conn) isIn(channel string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, member := c.position.Channels[channel]
	return member
}

// push queues an event. The lock is held.
func (c *conn) push(e *event) {
	c.queue = append(c.queue, e)
	c.size += e.size()
	c.wake()
}

// end closes the connection for a reason. What is still waiting is not sent.
func (c *conn) end(reason error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.fail(reason)
	}
}

// fail ends the connection. The lock is held.
func (c *conn) fail(reason error) {
	c.err = reason
	c.queue, c.kept, c.size = nil, nil, 0
	c.out.within(lingering)
	c.wake()
}

// ended returns why the connection was closed; nil if it is open.
func (c *conn) ended() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// identify sets, once, whose connection it is, and until when.
func (c *conn) identify(identity Identity) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.Identity = identity
}

// renew extends the connection until another time.
func (c *conn) renew(expires time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.Expires = expires
}

// look ends the connection if its token has expired, and sends a beat every interval.
func (c *conn) look(now time.Time, interval time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.err != nil:
	case c.expired(now):
		c.fail(errExpired)
	case c.beatAt.IsZero():
		c.beatAt = now.Add(interval)
	case !now.Before(c.beatAt):
		c.beatAt = now.Add(interval)
		for _, e := range c.out.beat() {
			c.push(e)
		}
	}
}

// expired reports whether the token has expired. The lock is held.
func (c *conn) expired(now time.Time) bool { return !c.Expires.IsZero() && !now.Before(c.Expires) }

// wake has what is waiting passed on. The lock is held.
func (c *conn) wake() {
	if !c.passing {
		c.passing = true
		go c.pass()
	}
}

// pass sends the client what is waiting until nothing is, or else why the connection ends.
func (c *conn) pass() {
	for {
		events, position, err := c.take()
		switch {
		case err != nil:
			c.out.close(err)
			close(c.done)
			return // passing stays true, so this happens once
		case events == nil:
			return
		}
		if err := c.out.write(events, position); err != nil {
			c.end(errLost)
		}
	}
}

// take returns what is waiting, with the position after it, or nil, which ends the passing. It is an error if the
// connection was ended or the token has expired.
func (c *conn) take() (events []*event, position positions, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil && c.expired(c.limits.now()) {
		c.fail(errExpired)
	}
	if c.err != nil {
		return nil, positions{}, c.err
	}
	if len(c.queue) == 0 {
		c.passing = false
		return nil, positions{}, nil
	}
	events = c.queue
	c.queue, c.size = nil, 0
	if c.tracks && !c.syncing { // until then the client has what it came with
		position = positions{Channels: maps.Clone(c.position.Channels), Projects: maps.Clone(c.position.Projects)}
	}
	c.out.within(c.limits.write)
	return events, position, nil
}
