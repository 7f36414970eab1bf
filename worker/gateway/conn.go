package gateway

import (
	"context"
	"errors"
	"maps"
	"sync"
	"time"
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
// a membership (all of them), or nothing that has a position.
type event struct {
	member  membership
	channel string
	seq     int64
	project int64
	version int64
	own     bool // with what is the client's own, which may come after what all share of the same version
	json    []byte
}

var (
	errSlow    = errors.New("resync")        // the client reads more slowly than things happen
	errExpired = errors.New("token expired") // nothing is told after that
	errStopped = errors.New("stopped")       // the gateway is
)

// conn is a client that listens. The hub offers it events; whoever serves the transport takes them.
type conn struct {
	Identity
	limit  int                 // bytes that may wait
	tracks bool                // take returns positions
	topics map[*topic]struct{} // the hub's

	mu       sync.Mutex
	position Positions
	syncing  bool    // the snapshot is being read
	kept     []event // what came meanwhile
	queue    [][]byte
	size     int // bytes in queue and kept
	err      error
	ready    chan struct{} // something is in the queue, or err is set
}

func newConn(identity Identity, limit int) *conn {
	return &conn{
		Identity: identity,
		limit:    limit,
		topics:   map[*topic]struct{}{},
		position: Positions{Channels: map[string]int64{}, Projects: map[int64]int64{}},
		syncing:  true,
		ready:    make(chan struct{}, 1),
	}
}

// offer queues an event unless the client has it.
func (c *conn) offer(e event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return
	}
	if c.size+len(e.json) > c.limit {
		c.fail(errSlow)
		return
	}
	if c.syncing {
		c.kept = append(c.kept, e)
		c.size += len(e.json)
		return
	}
	c.push(e)
}

// begin ends the synchronization: the client has what position says, is told first, then what was kept and is newer.
func (c *conn) begin(position Positions, first [][]byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	maps.Copy(c.position.Channels, position.Channels)
	maps.Copy(c.position.Projects, position.Projects)
	for _, text := range first {
		c.queue = append(c.queue, text)
		c.size += len(text)
	}
	c.syncing = false
	kept := c.kept
	c.kept = nil
	for _, e := range kept {
		c.size -= len(e.json)
		c.push(e)
	}
	c.signal()
}

// restart forgets what was kept: the snapshot that is about to be read is newer.
func (c *conn) restart() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range c.kept {
		c.size -= len(e.json)
	}
	c.kept = nil
}

// push queues an event that is newer than what the client has. The lock is held.
func (c *conn) push(e event) {
	have, member := c.position.Channels[e.channel]
	switch {
	case e.member == joins:
		if member {
			return
		}
		c.position.Channels[e.channel] = e.seq
		if e.project != 0 {
			c.position.Projects[e.project] = e.version
		}
	case e.member == leaves:
		if !member {
			return
		}
		delete(c.position.Channels, e.channel)
		delete(c.position.Projects, e.project)
	case e.channel != "":
		if !member || e.seq <= have {
			return
		}
		c.position.Channels[e.channel] = e.seq
	case e.project != 0:
		if have, member := c.position.Projects[e.project]; !member || e.version < have || e.version == have && !e.own {
			return
		}
		c.position.Projects[e.project] = e.version
	}
	c.queue = append(c.queue, e.json)
	c.size += len(e.json)
	c.signal()
}

// end closes the connection for a reason. What waits is not told any more.
func (c *conn) end(reason error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.fail(reason)
	}
}

func (c *conn) fail(reason error) {
	c.err = reason
	c.queue, c.kept, c.size = nil, nil, 0
	c.signal()
}

func (c *conn) signal() {
	select {
	case c.ready <- struct{}{}:
	default:
	}
}

// renew has the connection last until another time.
func (c *conn) renew(expires time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.Expires = expires
	c.signal()
}

// take waits for events and returns them with the position after the last. It is an error when ctx is done, the token
// has expired or the connection was ended.
func (c *conn) take(ctx context.Context, now func() time.Time) ([][]byte, Positions, error) {
	for {
		c.mu.Lock()
		queue, err, left := c.queue, c.err, c.Expires.Sub(now())
		c.queue, c.size = nil, 0
		var position Positions
		if c.tracks {
			position = Positions{Channels: maps.Clone(c.position.Channels), Projects: maps.Clone(c.position.Projects)}
		}
		c.mu.Unlock()
		switch {
		case left <= 0:
			return nil, position, errExpired
		case err != nil || len(queue) > 0:
			return queue, position, err
		}
		expiry := time.NewTimer(left)
		select {
		case <-c.ready:
			expiry.Stop()
		case <-expiry.C:
		case <-ctx.Done():
			expiry.Stop()
			return nil, position, context.Cause(ctx)
		}
	}
}
