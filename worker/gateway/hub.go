package gateway

import (
	"context"
	"encoding/json"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"
)

// hub hands out what happens to those who may see it.
type hub struct {
	store *store
	log   *slog.Logger // set by open

	mu      sync.Mutex
	ctx     context.Context // for reads in the background; set by open
	conns   map[*conn]struct{}
	people  map[int64]map[*conn]struct{}
	topics  map[string]*topic
	errands map[errand]bool            // what is being read; true: it was requested again in the meantime
	told    map[int64]map[string]state // by person and channel, the least that any of their clients was last told

	clients    sync.WaitGroup // one for each of conns
	background line           // reads of what happens
	entrance   line           // arriving clients: thousands may arrive at once, without holding up those reads

	// reached is called with each step of an operation, and may hold it there. May be nil.
	reached func(step string)
}

func (h *hub) at(step string) {
	if h.reached != nil {
		h.reached(step)
	}
}

// topic is a channel that somebody is connected to, together with the project's progress if it is a project's channel.
type topic struct {
	channel string
	project int64 // 0: none
	conns   map[*conn]struct{}

	seq, version         int64          // handed out up to here
	whole                bool           // everybody was sent their own part of version, too, or had it from the start
	saidSeq, saidVersion int64          // the highest hinted at since the last read
	changed              map[int64]bool // whose own part of the progress is hinted to have changed
	owed                 map[int64]bool // whose own part is being read
	reading              bool
}

func newHub(store *store) *hub {
	return &hub{
		store:  store,
		conns:  map[*conn]struct{}{},
		people: map[int64]map[*conn]struct{}{},
		topics: map[string]*topic{},

		errands: map[errand]bool{},
		told:    map[int64]map[string]state{},

		background: line{most: 16},
		entrance:   line{most: cap(store.free)},
	}
}

// open lets the hub read in the background until ctx is done.
func (h *hub) open(ctx context.Context, log *slog.Logger) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ctx, h.log = ctx, log
}

// close ends all connections and waits for them and for reads under way.
func (h *hub) close() {
	h.mu.Lock()
	h.ctx = nil
	for c := range h.conns {
		c.end(errStopped)
	}
	h.mu.Unlock()
	h.clients.Wait()
	h.entrance.wait()
	h.background.wait()
	h.mu.Lock()
	defer h.mu.Unlock()
	clear(h.errands)
}

// register registers a connection whose person is not known yet. It returns false if the hub is not open.
func (h *hub) register(c *conn) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ctx == nil || h.ctx.Err() != nil {
		return false
	}
	h.conns[c] = struct{}{}
	h.clients.Add(1)
	return true
}

// unregister forgets a connection that has ended.
func (h *hub) unregister(c *conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.conns, c)
	h.clients.Done()
}

// beat ends connections whose token has expired, and sends a beat on those where one is due.
func (h *hub) beat(now time.Time, interval time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for c := range h.conns {
		c.look(now, interval)
	}
}

// join adds a connection to a topic. The lock is held.
func (h *hub) join(c *conn, channel string) *topic {
	t := h.topics[channel]
	if t == nil {
		t = newTopic(channel)
		h.topics[channel] = t
	}
	t.conns[c] = struct{}{}
	c.topics[t] = struct{}{}
	return t
}

func newTopic(channel string) *topic {
	return &topic{
		channel: channel,
		project: projectOf(channel),
		conns:   map[*conn]struct{}{},
		seq:     unknown,
		version: unknown,
		whole:   true,
		changed: map[int64]bool{},
		owed:    map[int64]bool{},
	}
}

// unknown is the position of a topic that has not been read yet.
const unknown = 1<<63 - 1

// projectOf returns the id in project_<id>, 0 for other channels.
func projectOf(channel string) int64 {
	digits, found := strings.CutPrefix(channel, "project_")
	id, err := strconv.ParseInt(digits, 10, 64)
	if !found || err != nil {
		return 0
	}
	return id
}

// leave removes a connection from a topic, at once, and tells the client. The lock is held.
func (h *hub) leave(c *conn, channel string) {
	t := h.topics[channel]
	if t == nil || !t.has(c) {
		return
	}
	h.unlink(c, t)
	text, _ := json.Marshal(map[string]string{"type": "left", "channel": channel})
	c.offer(&event{member: leaves, channel: channel, project: t.project, json: text})
	h.readAll(t) // the others may have been sent nothing, if the person read for could no longer read
}

func (h *hub) unlink(c *conn, t *topic) {
	delete(t.conns, c)
	delete(c.topics, t)
	if len(t.conns) == 0 {
		delete(h.topics, t.channel)
	}
}

// isIn reports whether a person is connected and in a topic. The lock is held.
func (h *hub) isIn(userID int64, channel string) bool {
	t := h.topics[channel]
	if t == nil {
		return false
	}
	for c := range h.people[userID] {
		if t.has(c) {
			return true
		}
	}
	return false
}

// hasMessages reports whether there may be messages that were not handed out.
func (t *topic) hasMessages() bool { return t.saidSeq > t.seq }

// hasProgress reports whether there may be progress, shared or personal, that was not handed out.
func (t *topic) hasProgress() bool {
	return t.version != unknown && (t.saidVersion > t.version || len(t.changed) > 0)
}

func (t *topic) has(c *conn) bool {
	_, in := t.conns[c]
	return in
}
