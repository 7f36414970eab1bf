package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// pageSize is how many messages are read at a time, and how many a client may have missed that resumes.
const pageSize = 500

// hub hands out what happens to those who may see it.
type hub struct {
	store *store
	log   *slog.Logger

	mu     sync.Mutex
	ctx    context.Context // of what is read in the background; set by open
	conns  map[*conn]struct{}
	people map[int64]map[*conn]struct{}
	topics map[string]*topic

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

// receive has a connection enter when its turn comes.
func (h *hub) receive(c *conn, has *Positions) {
	h.mu.Lock()
	ctx := h.ctx
	h.mu.Unlock()
	if ctx == nil {
		c.end(errStopped)
		return
	}
	h.entrance.add(func() {
		if c.ended() != nil {
			return
		}
		defer func() {
			if c.ended() != nil {
				h.exit(c) // it may have left before it was in
			}
		}()
		ctx, cancel := context.WithTimeout(ctx, reach)
		defer cancel()
		if err := h.enter(ctx, c, has); err != nil {
			if !errors.Is(err, errNobody) && !errors.Is(err, context.Canceled) {
				h.log.Warn("a client could not be brought up to date", slog.Any("error", err))
			}
			c.end(err)
		}
	})
}

// hint is what a notification says there may be to read.
type hint struct {
	Kind      string  `json:"kind"`
	Channel   string  `json:"channel"`
	Seq       int64   `json:"seq"`
	ProjectID int64   `json:"project_id"`
	Version   int64   `json:"version"`
	UserID    int64   `json:"user_id"`
	UserIDs   []int64 `json:"user_ids"`
	Truncated bool    `json:"truncated"`
	Customers []struct {
		UserID int64 `json:"user_id"`
	} `json:"customers"`
}

// hear takes a notification of headway_events. What cannot be read is nothing.
func (h *hub) hear(payload string) {
	var said hint
	if json.Unmarshal([]byte(payload), &said) != nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	switch said.Kind {
	case "progress":
		t := h.topics["project_"+strconv.FormatInt(said.ProjectID, 10)]
		if t == nil {
			return
		}
		t.saidVersion = max(t.saidVersion, said.Version)
		for _, c := range said.Customers {
			t.changed[c.UserID] = true
		}
		if said.Truncated || said.Customers == nil {
			t.changed[everybody] = true
		}
		h.read(t)
	case "subscribed":
		for _, id := range said.UserIDs {
			h.visit(id)
		}
	case "unsubscribed":
		for _, id := range said.UserIDs {
			for c := range h.people[id] {
				h.leave(c, said.Channel)
			}
			h.visit(id)
		}
	case "read":
		h.tellCursor(said.UserID, said.Channel)
	default:
		if t := h.topics[said.Channel]; t != nil {
			t.saidSeq = max(t.saidSeq, said.Seq)
			h.read(t)
		}
	}
}

// everybody stands in topic.changed for all customers.
const everybody = 0

// look has everything read again: for the time in which nothing was heard.
func (h *hub) look() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for id := range h.people {
		h.visit(id)
	}
	for _, t := range h.topics {
		t.changed[everybody] = true
		h.readAll(t)
	}
}

// readAll has a topic read in the background, though nobody said that there is something. The lock is held.
func (h *hub) readAll(t *topic) {
	t.saidSeq, t.saidVersion = unknown, unknown
	h.read(t)
}

// later has something read in the background, and where that fails, has it tried again after a while, unless the hub is
// stopped. The lock is held, also when again is called.
func (h *hub) later(read func(ctx context.Context) error, again func()) {
	if h.ctx == nil || h.ctx.Err() != nil {
		return
	}
	open := h.ctx
	h.background.add(func() {
		if open.Err() != nil {
			return
		}
		ctx, cancel := context.WithTimeout(open, reach)
		defer cancel()
		if err := read(ctx); err != nil && open.Err() == nil {
			h.log.Warn("what happens could not be read and is tried again", slog.Any("error", err))
			h.after(retry, again)
			h.at("failed")
		}
	})
}

// retry is how long the hub waits before it reads again what could not be read.
const retry = time.Second

// after does something in a while, with the lock held.
func (h *hub) after(d time.Duration, do func()) {
	time.AfterFunc(d, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		do()
	})
}

// read has a topic read in the background, if there may be something. The lock is held.
func (h *hub) read(t *topic) {
	if t.reading || len(t.conns) == 0 || t.saidSeq <= t.seq && t.saidVersion <= t.version {
		return
	}
	t.reading = true
	readOn := func() {
		t.reading = false
		h.read(t)
	}
	h.later(func(ctx context.Context) error {
		err := h.handOut(ctx, t)
		if err == nil {
			h.after(breath, readOn)
		}
		return err
	}, readOn)
}

// breath is how long a topic rests after it was handed out. What comes meanwhile is handed out at once, and goes to each
// client in one write, which costs about the same for one event as for fifty. A page is not drawn more often either.
const breath = 20 * time.Millisecond

// handOut reads what a topic has and offers it to all who are in it. What is said meanwhile is read after it.
func (h *hub) handOut(ctx context.Context, t *topic) (err error) {
	h.mu.Lock()
	saidSeq, saidVersion, changed := t.saidSeq, t.saidVersion, t.changed
	t.saidSeq, t.saidVersion, t.changed = 0, 0, map[int64]bool{}
	seq, version := t.seq, t.version
	readers := map[int64]bool{}
	for c := range t.conns {
		if readers[c.UserID] = true; len(readers) == 3 {
			break // one is enough, unless they are just leaving
		}
	}
	h.mu.Unlock()
	defer func() {
		if err != nil {
			h.mu.Lock()
			defer h.mu.Unlock()
			t.saidSeq, t.saidVersion = max(t.saidSeq, saidSeq), max(t.saidVersion, saidVersion)
			t.changed[everybody] = true // whoever it was
		}
	}()
	if saidSeq > seq {
		if err := h.handOutMessages(ctx, t, readers, seq); err != nil {
			return err
		}
	}
	if saidVersion > version && t.project != 0 {
		return h.handOutProgress(ctx, t, readers, changed)
	}
	return nil
}

// handOutMessages tells everybody in a channel the messages after seq: a page of them.
func (h *hub) handOutMessages(ctx context.Context, t *topic, readers map[int64]bool, seq int64) error {
	var found []message
	for id := range readers {
		var err error
		if found, err = h.store.messages(ctx, id, t.channel, seq, pageSize); err != nil {
			return err
		} else if len(found) > 0 {
			break
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	events := make([]*event, len(found))
	for i, m := range found {
		events[i] = &event{channel: t.channel, seq: m.Seq, json: m.JSON}
		t.seq = max(t.seq, m.Seq)
	}
	for c := range t.conns {
		c.offer(events...)
	}
	if len(found) == pageSize {
		t.saidSeq = unknown // there may be more
	}
	return nil
}

// handOutProgress tells everybody in a project the part that they share, and those whose own part changed all of it.
func (h *hub) handOutProgress(ctx context.Context, t *topic, readers, changed map[int64]bool) error {
	var found share
	for id := range readers {
		var err error
		if found, err = h.store.shared(ctx, id, t.project); err == nil {
			break
		} else if !errors.Is(err, pgx.ErrNoRows) {
			return err
		}
	}
	h.at("progress read")
	h.mu.Lock()
	defer h.mu.Unlock()
	if found.Version <= t.version {
		return nil
	}
	t.version = found.Version
	same := progressEvent(t.project, found, nil)
	for c := range t.conns {
		if changed[everybody] || changed[c.UserID] {
			h.owe(t, c.UserID)
		} else {
			c.offer(same)
		}
	}
	return nil
}

// owe has one person told their own progress in the background. The lock is held.
func (h *hub) owe(t *topic, userID int64) {
	if t.owed[userID] {
		return
	}
	t.owed[userID] = true
	h.later(func(ctx context.Context) error { return h.tellOwn(ctx, t, userID) }, func() { h.owe(t, userID) })
}

// tellOwn tells one person their progress in a project, as it is when they are told.
func (h *hub) tellOwn(ctx context.Context, t *topic, userID int64) error {
	for {
		all, own, err := h.store.own(ctx, userID, t.project)
		h.at("own read")
		h.mu.Lock()
		switch {
		case errors.Is(err, pgx.ErrNoRows): // they have just left
			delete(t.owed, userID)
			err = nil
		case err != nil:
			delete(t.owed, userID)
		case all.Version < t.version:
			h.mu.Unlock()
			continue // they may have been told what all share of a later one
		default:
			delete(t.owed, userID)
			for c := range h.people[userID] {
				if t.has(c) {
					c.offer(progressEvent(t.project, all, own))
				}
			}
		}
		h.mu.Unlock()
		return err
	}
}

// bar is a customer's progress. Nil: they are staff.
type bar struct {
	Done    int64 `json:"done"`
	Total   int64 `json:"total"`
	Percent int   `json:"percent"`
}

func progressEvent(project int64, s share, own *bar) *event {
	text, _ := json.Marshal(map[string]any{ // numbers only
		"type": "progress", "project_id": project, "version": s.Version,
		"shared":   map[string]int64{"done": s.Done, "total": s.Total},
		"progress": own,
	})
	return &event{project: project, version: s.Version, own: own != nil, json: text}
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

// visit asks the database what a person is subscribed to. The lock is held.
func (h *hub) visit(userID int64) {
	if len(h.people[userID]) == 0 {
		return
	}
	h.later(func(ctx context.Context) error {
		h.at("visit")
		subscribed, err := h.store.channels(ctx, userID)
		if err != nil {
			return err
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		for c := range h.people[userID] {
			for t := range maps.Clone(c.topics) {
				if !slices.ContainsFunc(subscribed, func(p position) bool { return p.Channel == t.channel }) {
					h.leave(c, t.channel)
				}
			}
			for _, p := range subscribed {
				if t := h.topics[p.Channel]; t == nil || !t.has(c) {
					h.welcome(c, p)
				}
			}
		}
		return nil
	}, func() { h.visit(userID) })
}

// welcome enters a connection in one more topic, and says so. The lock is held.
func (h *hub) welcome(c *conn, last position) {
	t := h.join(c, last.Channel)
	text, _ := json.Marshal(map[string]any{"type": "joined", "channel": last.Channel, "last_seq": last.Seq})
	c.offer(&event{member: joins, channel: last.Channel, seq: last.Seq, project: t.project, version: last.Version, json: text})
	h.start(Positions{Channels: map[string]int64{last.Channel: last.Seq}, Projects: map[int64]int64{t.project: last.Version}})
}

func (t *topic) has(c *conn) bool {
	_, in := t.conns[c]
	return in
}

// enter registers a connection and brings it up to date: from what it has, or with a snapshot.
func (h *hub) enter(ctx context.Context, c *conn, has *Positions) error {
	h.mu.Lock()
	if h.people[c.UserID] == nil {
		h.people[c.UserID] = map[*conn]struct{}{}
	}
	h.people[c.UserID][c] = struct{}{}
	h.mu.Unlock()

	subscribed, err := h.store.channels(ctx, c.UserID)
	if err != nil {
		return err
	}
	h.mu.Lock()
	for _, p := range subscribed {
		h.join(c, p.Channel)
	}
	h.mu.Unlock()

	if has != nil {
		if resumed, err := h.resume(ctx, c, *has); resumed || err != nil {
			return err
		}
	}
	return h.synchronize(ctx, c, has != nil)
}

// synchronize sends a snapshot, and after it what is newer.
func (h *hub) synchronize(ctx context.Context, c *conn, again bool) error {
	for restarted := false; ; restarted = true {
		c.restart()
		snap, err := h.store.snapshot(ctx, c.UserID)
		if err != nil {
			return err
		}
		h.at("snapshot read")
		position := Positions{Channels: map[string]int64{}, Projects: map[int64]int64{}}
		late := false
		h.mu.Lock()
		for _, ch := range snap.Channels {
			position.Channels[ch.Channel] = ch.LastSeq
			if t := h.topics[ch.Channel]; t == nil || !t.has(c) {
				h.join(c, ch.Channel) // what it got between the snapshot and now is in the next one
				late = true
			}
		}
		for _, p := range snap.Projects {
			position.Projects[p.ProjectID] = p.Version
		}
		if !late {
			h.start(position)
			if restarted {
				h.visit(c.UserID) // it may have been entered where it just left
			}
		}
		h.mu.Unlock()
		if late {
			continue
		}
		var first [][]byte
		if again {
			first = append(first, []byte(`{"type":"resync"}`))
		}
		c.begin(position, append(first, fmt.Appendf(nil, `{"type":"snapshot","snapshot":%s}`, snap.text)))
		return nil
	}
}

// start has topics that nobody had read yet begin where a snapshot ends. The lock is held.
func (h *hub) start(position Positions) {
	for name, seq := range position.Channels {
		if t := h.topics[name]; t != nil {
			t.seq = min(t.seq, seq)
			if version, found := position.Projects[t.project]; found && t.project != 0 {
				t.version = min(t.version, version)
			}
			h.read(t)
		}
	}
}

// resume sends what a client missed. False: that is not known, or too much.
func (h *hub) resume(ctx context.Context, c *conn, has Positions) (bool, error) {
	snap, err := h.store.snapshot(ctx, c.UserID)
	if err != nil {
		return false, err
	}
	position := Positions{Channels: map[string]int64{}, Projects: map[int64]int64{}}
	var missed [][]byte
	h.mu.Lock()
	for _, ch := range snap.Channels {
		if t := h.topics[ch.Channel]; t == nil || !t.has(c) {
			h.mu.Unlock()
			return false, nil
		}
	}
	h.mu.Unlock()
	left := pageSize
	for _, ch := range snap.Channels {
		seq, known := has.Channels[ch.Channel]
		if !known || seq > ch.LastSeq || ch.LastSeq-seq > int64(left) {
			return false, nil
		}
		position.Channels[ch.Channel] = seq
		if seq == ch.LastSeq {
			continue
		}
		found, err := h.store.messages(ctx, c.UserID, ch.Channel, seq, left)
		if err != nil {
			return false, err
		}
		for _, m := range found {
			missed = append(missed, m.JSON)
			position.Channels[ch.Channel] = m.Seq
		}
		left -= len(found)
	}
	for _, p := range snap.Projects {
		position.Projects[p.ProjectID] = p.Version
	}
	h.mu.Lock()
	h.start(position)
	h.mu.Unlock()
	// The snapshot says what else there is: progress, cursors, what is unread.
	missed = append([][]byte{fmt.Appendf(nil, `{"type":"resumed","snapshot":%s}`, snap.text)}, missed...)
	c.begin(position, missed)
	return true, nil
}

// exit takes a connection out.
func (h *hub) exit(c *conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for t := range maps.Clone(c.topics) {
		h.drop(c, t)
	}
	delete(h.people[c.UserID], c)
	if len(h.people[c.UserID]) == 0 {
		delete(h.people, c.UserID)
	}
}

// tellCursor tells all of a person's connections how far they have read. The lock is held.
func (h *hub) tellCursor(userID int64, channel string) {
	if len(h.people[userID]) == 0 {
		return
	}
	h.later(func(ctx context.Context) error {
		text, err := h.store.cursor(ctx, userID, channel)
		switch {
		case errors.Is(err, pgx.ErrNoRows):
			return nil
		case err != nil:
			return err
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		for c := range h.people[userID] {
			c.offer(&event{json: text})
		}
		return nil
	}, func() { h.tellCursor(userID, channel) })
}
