package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"strconv"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5"
)

// pageSize is how many messages are read at a time, and how many a client may have missed that resumes.
const pageSize = 500

// hub hands out what happens to those who may see it.
type hub struct {
	store *store
	log   *slog.Logger

	mu     sync.Mutex
	ctx    context.Context // of what is read in the background; set by run
	people map[int64]map[*conn]struct{}
	topics map[string]*topic

	background sync.WaitGroup

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

	seq, version             int64          // handed out up to here
	hintedSeq, hintedVersion int64          // somebody said that there is this one
	changed                  map[int64]bool // whose own part of the progress is said to have changed
	reading                  bool
}

func newHub(store *store, log *slog.Logger) *hub {
	return &hub{store: store, log: log, people: map[int64]map[*conn]struct{}{}, topics: map[string]*topic{}}
}

// open lets the hub read in the background until ctx is done.
func (h *hub) open(ctx context.Context) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ctx = ctx
}

// close ends all connections and waits for what is being read.
func (h *hub) close() {
	h.mu.Lock()
	for _, conns := range h.people {
		for c := range conns {
			c.end(errStopped)
		}
	}
	h.mu.Unlock()
	h.background.Wait()
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
		t.hintedVersion = max(t.hintedVersion, said.Version)
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
			t.hintedSeq = max(t.hintedSeq, said.Seq)
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
		t.hintedSeq++
		t.hintedVersion++
		t.changed[everybody] = true
		h.read(t)
	}
}

// later runs do in the background, unless the hub is stopped. The lock is held.
func (h *hub) later(do func(ctx context.Context)) {
	if h.ctx == nil || h.ctx.Err() != nil {
		return
	}
	ctx := h.ctx
	h.background.Add(1)
	go func() {
		defer h.background.Done()
		ctx, cancel := context.WithTimeout(ctx, reach)
		defer cancel()
		do(ctx)
	}()
}

// read has a topic read in the background, if there may be something. The lock is held.
func (h *hub) read(t *topic) {
	if t.reading || len(t.conns) == 0 || t.hintedSeq <= t.seq && t.hintedVersion <= t.version {
		return
	}
	t.reading = true
	h.later(func(ctx context.Context) {
		err := h.handOut(ctx, t)
		h.mu.Lock()
		defer h.mu.Unlock()
		t.reading = false
		if err == nil {
			h.read(t)
			return
		}
		t.changed[everybody] = true // whoever it was
		// The next notification, or the next look, tries again.
		if ctx.Err() == nil {
			h.log.Warn("events could not be read", slog.String("channel", t.channel), slog.Any("error", err))
		}
	})
}

// handOut reads what a topic has and offers it to all who are in it.
func (h *hub) handOut(ctx context.Context, t *topic) error {
	h.mu.Lock()
	seq, hintedSeq, version, hintedVersion := t.seq, t.hintedSeq, t.version, t.hintedVersion
	changed := t.changed
	t.changed = map[int64]bool{}
	readers := map[int64]bool{}
	for c := range t.conns {
		if readers[c.UserID] = true; len(readers) == 3 {
			break // one is enough, unless they are just leaving
		}
	}
	h.mu.Unlock()

	if hintedSeq > seq {
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
		for _, m := range found {
			t.offer(event{channel: m.Channel, seq: m.Seq, json: m.JSON})
			t.seq = max(t.seq, m.Seq)
		}
		if len(found) < pageSize && t.hintedSeq == hintedSeq {
			t.hintedSeq = t.seq // there is no more, whatever somebody said
		}
		h.mu.Unlock()
	}
	if hintedVersion > version && t.project != 0 {
		if err := h.handOutProgress(ctx, t, readers, changed); err != nil {
			return err
		}
		h.mu.Lock()
		if t.hintedVersion == hintedVersion {
			t.hintedVersion = t.version
		}
		h.mu.Unlock()
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
	h.mu.Lock()
	defer h.mu.Unlock()
	if found.Version <= t.version {
		return nil
	}
	t.version = found.Version
	same := progressEvent(t.project, found, nil)
	for c := range t.conns {
		if !changed[everybody] && !changed[c.UserID] {
			c.offer(same)
		}
	}
	asked := map[int64]bool{}
	for c := range t.conns {
		if id := c.UserID; (changed[everybody] || changed[id]) && !asked[id] {
			asked[id] = true
			h.later(func(ctx context.Context) { h.tellOwn(ctx, t, id) })
		}
	}
	return nil
}

// tellOwn tells one person their progress in a project, as it is when they are told.
func (h *hub) tellOwn(ctx context.Context, t *topic, userID int64) {
	all, own, err := h.store.own(ctx, userID, t.project)
	if err != nil {
		if !errors.Is(err, pgx.ErrNoRows) { // they have just left
			h.log.Warn("progress could not be read", slog.Int64("project", t.project), slog.Any("error", err))
		}
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for c := range h.people[userID] {
		if _, in := t.conns[c]; in {
			c.offer(progressEvent(t.project, all, own))
		}
	}
}

// bar is a customer's progress. Nil: they are staff.
type bar struct {
	Done    int64 `json:"done"`
	Total   int64 `json:"total"`
	Percent int   `json:"percent"`
}

func progressEvent(project int64, s share, own *bar) event {
	text, _ := json.Marshal(map[string]any{ // numbers only
		"type": "progress", "project_id": project, "version": s.Version,
		"shared":   map[string]int64{"done": s.Done, "total": s.Total},
		"progress": own,
	})
	return event{project: project, version: s.Version, own: own != nil, json: text}
}

func (t *topic) offer(e event) {
	for c := range t.conns {
		c.offer(e)
	}
}

// join enters a connection in a topic. The lock is held.
func (h *hub) join(c *conn, channel string) {
	t := h.topics[channel]
	if t == nil {
		t = &topic{channel: channel, conns: map[*conn]struct{}{}, changed: map[int64]bool{}, seq: unknown, version: unknown}
		t.project = projectOf(channel)
		h.topics[channel] = t
	}
	t.conns[c] = struct{}{}
	c.topics[t] = struct{}{}
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
	if t == nil {
		return
	}
	if _, in := t.conns[c]; !in {
		return
	}
	h.drop(c, t)
	c.forget(t.channel, t.project)
	text, _ := json.Marshal(map[string]string{"type": "left", "channel": channel})
	c.offer(event{json: text})
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
	h.later(func(ctx context.Context) {
		h.at("visit")
		subscribed, err := h.store.channels(ctx, userID)
		if err != nil {
			h.log.Warn("subscriptions could not be read", slog.Any("error", err))
			return
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		for c := range h.people[userID] {
			for t := range maps.Clone(c.topics) {
				if _, is := subscribed[t.channel]; !is {
					h.leave(c, t.channel)
				}
			}
			for name, last := range subscribed {
				if t := h.topics[name]; t == nil || !t.has(c) {
					h.welcome(c, name, last)
				}
			}
		}
	})
}

// welcome enters a connection that is up to date in one more topic, and says so. The lock is held.
func (h *hub) welcome(c *conn, channel string, last position) {
	h.join(c, channel)
	has := Positions{Channels: map[string]int64{channel: last.seq}, Projects: map[int64]int64{}}
	if project := projectOf(channel); project != 0 {
		has.Projects[project] = last.version
	}
	c.has(has)
	h.start(has)
	text, _ := json.Marshal(map[string]any{"type": "joined", "channel": channel, "last_seq": last.seq})
	c.offer(event{json: text})
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

	names, err := h.store.channels(ctx, c.UserID)
	if err != nil {
		return err
	}
	h.mu.Lock()
	for name := range names {
		h.join(c, name)
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
	for {
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
			if version, found := position.Projects[t.project]; found {
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
	h.later(func(ctx context.Context) {
		text, err := h.store.cursor(ctx, userID, channel)
		if err != nil {
			if !errors.Is(err, pgx.ErrNoRows) {
				h.log.Warn("a cursor could not be read", slog.Any("error", err))
			}
			return
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		for c := range h.people[userID] {
			c.offer(event{json: text})
		}
	})
}
