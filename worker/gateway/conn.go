package gateway

import (
	"errors"
	"maps"
	"sync"
	"time"

	"github.com/gobwas/ws"
)

// Positions is what a client has: the number of the last message of each channel, and the version of each project's
// progress.
type Positions struct {
	Channels map[string]int64 `json:"channels"`
	Projects map[int64]int64  `json:"projects"`
}

// membership is what an event says about who gets the events of a channel.
type membership int

const (
	joins  membership = iota + 1 // the client, from here on
	leaves                       // the client, no more
)

// event is something to be told. It is a message (channel and seq), progress (project and version), the begin or end of
// a membership (all of them), or nothing that has a position. All who are told share it, and nobody changes it.
type event struct {
	member  membership
	channel string
	seq     int64
	project int64
	version int64
	own     bool // with what is the client's own, which may come after what all share of the same version
	json    []byte

	// control is the kind of frame where it is not for the page but for its WebSocket. 0: it is for the page.
	control ws.OpCode
}

// size is what an event counts for while it waits.
func (e *event) size() int { return ws.MaxHeaderSize + len(e.json) }

var (
	errSlow    = errors.New("resync")        // the client reads more slowly than things happen
	errExpired = errors.New("token expired") // nothing is told after that
	errStopped = errors.New("stopped")       // the gateway is
	errLost    = errors.New("the connection was lost")
)

// transport is how a client is told.
type transport interface {
	// within bounds the writing that goes on, and what comes after it, by a time from now. It may be called at any time.
	within(d time.Duration)

	// write tells events, and the position after the last where the connection tracks it.
	write(events []*event, position Positions) error

	// close says why the connection ends, if it still can, and has nothing more come in.
	close(reason error)

	// beat is what is told now and then so that everybody knows that the connection is there.
	beat() []*event
}

// beat tells that the connection is there, and nothing else.
var beat = &event{json: []byte(`{"type":"beat"}`)}

// conn is a client that listens. The hub offers it events; while any wait, a goroutine passes them on, and else there is
// none.
type conn struct {
	Identity
	out    transport
	limits limits
	tracks bool                // positions are told
	topics map[*topic]struct{} // the hub's
	done   chan struct{}       // closed when nothing is told any more

	mu       sync.Mutex
	position Positions
	syncing  bool     // the snapshot is being read
	kept     []*event // what came meanwhile
	queue    []*event
	size     int // of the events in queue and kept
	passing  bool
	beatAt   time.Time
	err      error
}

// limits are those of a connection.
type limits struct {
	waiting int              // bytes, for which more is too much
	write   time.Duration    // until what is written has to be on its way
	now     func() time.Time // for what expires
}

// lingering is how long a client may take to hear why its connection ends.
const lingering = 2 * time.Second

func newConn(out transport, l limits) *conn {
	return &conn{
		out:      out,
		limits:   l,
		topics:   map[*topic]struct{}{},
		done:     make(chan struct{}),
		position: Positions{Channels: map[string]int64{}, Projects: map[int64]int64{}},
		syncing:  true,
	}
}

// offer queues events, unless the client has them. Where too much waits already, the client is too slow; what comes at once
// is no fault of its.
func (c *conn) offer(events ...*event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil && c.size > c.limits.waiting {
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

// begin ends the synchronization: the client has what position says, is told first, then what was kept and is newer.
func (c *conn) begin(position Positions, first [][]byte) {
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

// restart forgets what was kept: the snapshot that is about to be read is newer.
func (c *conn) restart() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range c.kept {
		c.size -= e.size()
	}
	c.kept = nil
}

// wants reports whether an event is newer than what the client has, and notes that the client has it then. The lock is
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

// push queues an event. The lock is held.
func (c *conn) push(e *event) {
	c.queue = append(c.queue, e)
	c.size += e.size()
	c.wake()
}

// end closes the connection for a reason. What waits is not told any more.
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

// ended returns why the connection has been closed, nil: it is open.
func (c *conn) ended() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// identify says whose connection it is, once, and until when.
func (c *conn) identify(identity Identity) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.Identity = identity
}

// renew has the connection last until another time.
func (c *conn) renew(expires time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.Expires = expires
}

// look ends the connection where its token has expired, and beats every interval.
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

// expired reports whether the token has. The lock is held.
func (c *conn) expired(now time.Time) bool { return !c.Expires.IsZero() && !now.Before(c.Expires) }

// wake has what waits passed on. The lock is held.
func (c *conn) wake() {
	if !c.passing {
		c.passing = true
		go c.pass()
	}
}

// pass tells the client what waits, until nothing does, or why the connection ends.
func (c *conn) pass() {
	for {
		events, position, err := c.take()
		switch {
		case err != nil:
			c.out.close(err)
			close(c.done)
			return // passing for ever, so once
		case events == nil:
			return
		}
		if err := c.out.write(events, position); err != nil {
			c.end(errLost)
		}
	}
}

// take returns what waits, with the position after it. Nothing: passing is over. It is an error when the connection was
// ended or the token has expired.
func (c *conn) take() (events []*event, position Positions, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil && c.expired(c.limits.now()) {
		c.fail(errExpired)
	}
	if c.err != nil {
		return nil, Positions{}, c.err
	}
	if len(c.queue) == 0 {
		c.passing = false
		return nil, Positions{}, nil
	}
	events = c.queue
	c.queue, c.size = nil, 0
	if c.tracks {
		position = Positions{Channels: maps.Clone(c.position.Channels), Projects: maps.Clone(c.position.Projects)}
	}
	c.out.within(c.limits.write)
	return events, position, nil
}
