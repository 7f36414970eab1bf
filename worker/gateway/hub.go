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
	log   *slog.Logger

	mu      sync.Mutex
	ctx     context.Context // of what is read in the background; set by open
	conns   map[*conn]struct{}
	people  map[int64]map[*conn]struct{}
	topics  map[string]*topic
	errands map[errand]bool            // what is being read; true: it was asked for again meanwhile
	told    map[int64]map[string]int64 // by person and channel, how far those who are there have read, as they were told

	clients    sync.WaitGroup // one for each of conns
	background line           // what is read of what happens: whoever waits has not begun
	entrance   line           // of clients that come: thousands may come at once, and the others go on being told

	// reached is told how far something has come, and may keep it there. Nil: nobody is.
	reached func(step string)
}

func (h *hub) at(step string) {
	if h.reached != nil {
		h.reached(step)
	}
}

// topic is a channel that somebody is connected to, and where it is a project's, the project's progress.
type topic struct {
	channel string
	project int64 // 0: none
	conns   map[*conn]struct{}

	seq, version         int64          // handed out up to here
	whole                bool           // everybody was told their own part of version, too, or had it from the start
	saidSeq, saidVersion int64          // somebody said that there is this one, since it was last read
	changed              map[int64]bool // whose own part of the progress is said to have changed
	owed                 map[int64]bool // whose own part is being read
	reading              bool
}

func newHub(store *store, log *slog.Logger) *hub {
	return &hub{
		store:  store,
		log:    log,
		conns:  map[*conn]struct{}{},
		people: map[int64]map[*conn]struct{}{},
		topics: map[string]*topic{},

		errands: map[errand]bool{},
		told:    map[int64]map[string]int64{},

		background: line{most: 16},
		entrance:   line{most: max(1, int(store.pool.Config().MaxConns)-1)},
	}
}

// open lets the hub read in the background until ctx is done.
func (h *hub) open(ctx context.Context) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ctx = ctx
}

// close ends all connections and waits for them and for what is being read.
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

// meet takes note of a connection, of somebody yet unknown. False: the hub is not open.
func (h *hub) meet(c *conn) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ctx == nil || h.ctx.Err() != nil {
		return false
	}
	h.conns[c] = struct{}{}
	h.clients.Add(1)
	return true
}

// part forgets a connection that is no more.
func (h *hub) part(c *conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.conns, c)
	h.clients.Done()
}

// beat ends connections whose token has expired, and beats those whose time has come.
func (h *hub) beat(now time.Time, interval time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for c := range h.conns {
		c.look(now, interval)
	}
}

// join enters a connection in a topic. The lock is held.
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

// unknown is the position of a topic that nobody has read yet.
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

// leave takes a connection out of a topic, at once, and says so. The lock is held.
func (h *hub) leave(c *conn, channel string) {
	t := h.topics[channel]
	if t == nil || !t.has(c) {
		return
	}
	h.drop(c, t)
	text, _ := json.Marshal(map[string]string{"type": "left", "channel": channel})
	c.offer(&event{member: leaves, channel: channel, project: t.project, json: text})
	h.readAll(t) // those who stay may have been told nothing, where whoever read for them could not any more
}

func (h *hub) drop(c *conn, t *topic) {
	delete(t.conns, c)
	delete(c.topics, t)
	if len(t.conns) == 0 {
		delete(h.topics, t.channel)
	}
}

// hasMessages reports whether there may be messages that were not handed out.
func (t *topic) hasMessages() bool { return t.saidSeq > t.seq }

// hasProgress reports whether there may be progress that was not handed out, of all or of somebody.
func (t *topic) hasProgress() bool {
	return t.version != unknown && (t.saidVersion > t.version || len(t.changed) > 0)
}

func (t *topic) has(c *conn) bool {
	_, in := t.conns[c]
	return in
}
