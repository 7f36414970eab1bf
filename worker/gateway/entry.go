package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
)

// receive lets a connection enter when its turn comes.
func (h *hub) receive(c *conn, has *positions) {
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
				h.remove(c) // it may have left before it had entered
			}
		}()
		ctx, cancel := context.WithTimeout(ctx, reach)
		defer cancel()
		if err := h.enter(ctx, c, has); err != nil {
			if !errors.Is(err, errNobody) && !errors.Is(err, context.Canceled) {
				h.log.Warn("a client could not be brought up to date", slog.Any("error", err))
			}
			c.end(err)
			return
		}
		h.leaveUntold(c)
	})
}

// visit asks the database for a person's subscriptions. The lock is held.
func (h *hub) visit(userID int64) {
	h.inTurn(errand{userID: userID}, func(ctx context.Context) (func(outdated bool), error) {
		h.at("visit")
		before := h.subscriptions(userID)
		subscribed, err := h.store.channels(ctx, userID)
		h.at("visited")
		return func(outdated bool) { h.compare(userID, before, subscribed, outdated) }, err
	})
}

// compare has a person's connections leave and enter channels, by what they are subscribed to. Nobody else is
// told anything meanwhile, so each channel is looked up, and not searched for among all. The lock is held.
func (h *hub) compare(userID int64, before map[string]subscription, subscribed []subscription, outdated bool) {
	in := map[string]bool{}
	for _, s := range subscribed {
		in[s.Channel] = true
		if told, known := h.told[userID][s.Channel]; known && told != s.state {
			h.tellCursor(userID, s.Channel)
		}
		if t := h.topics[s.Channel]; t != nil && t.ahead(before[s.Channel], s) {
			h.forget(t)
		} else if t != nil {
			h.catchUp(t, s)
		}
	}
	for c := range h.people[userID] {
		for t := range maps.Clone(c.topics) {
			if !in[t.channel] {
				h.leave(c, t.channel)
			}
		}
		if outdated {
			continue // they may just have left
		}
		for _, s := range subscribed {
			if t := h.topics[s.Channel]; t == nil || !t.has(c) {
				h.welcome(c, s)
			}
		}
	}
}

// catchUp reads a topic if a person's subscription has more than was handed out. The lock is held.
func (h *hub) catchUp(t *topic, now subscription) {
	if now.Seq > t.seq {
		t.saidSeq = max(t.saidSeq, now.Seq)
	}
	// A subscription does not say whose own part has changed, nor who was not sent theirs with the version that was handed
	// out: everybody's is read.
	if t.version != unknown && (now.Version > t.version || !t.whole) {
		t.saidVersion = max(t.saidVersion, now.Version)
		t.changed[everybody] = true
	}
	h.read(t)
}

// ahead reports whether more was handed out than the database has. before is the topic's position when the database was
// about to be asked, and now what it answered: what was handed out in between may be newer than the answer, and proves
// nothing.
func (t *topic) ahead(before, now subscription) bool {
	return t.seq == before.Seq && t.seq != unknown && now.Seq < t.seq ||
		t.version == before.Version && t.version != unknown && now.Version < t.version
}

// subscriptions returns the positions of the topics that a person is in.
func (h *hub) subscriptions(userID int64) map[string]subscription {
	h.mu.Lock()
	defer h.mu.Unlock()
	found := map[string]subscription{}
	for c := range h.people[userID] {
		for t := range c.topics {
			found[t.channel] = subscription{Channel: t.channel, Seq: t.seq, Version: t.version}
		}
	}
	return found
}

// welcome adds a connection to one more topic, and tells the client. The lock is held.
func (h *hub) welcome(c *conn, last subscription) {
	t := h.join(c, last.Channel)
	if told := h.told[c.UserID]; told != nil {
		told[last.Channel] = last.state
	}
	if t.version == unknown && t.project != 0 {
		t.version = last.Version
	}
	if t.seq == unknown {
		t.seq = last.Seq
		h.readAll(t) // to catch up from last
	}
	text, _ := json.Marshal(map[string]any{"type": "joined", "channel": t.channel, "last_seq": t.seq})
	c.offer(&event{member: joins, channel: t.channel, seq: t.seq, project: t.project, version: t.version, json: text})
}

// enter registers a connection and brings it up to date, from what it has or with a snapshot.
func (h *hub) enter(ctx context.Context, c *conn, has *positions) error {
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
	h.at("subscriptions read")
	h.mu.Lock()
	for _, s := range subscribed {
		h.join(c, s.Channel)
	}
	h.mu.Unlock()

	if has != nil {
		if resumed, err := h.resume(ctx, c, *has); resumed || err != nil {
			return err
		}
	}
	return h.synchronize(ctx, c, has != nil)
}

// leaveUntold removes a connection from topics that its client was not told of. It was added to them from subscriptions
// that were read before it was heard that the person had left. If it stayed, it could not be welcomed when they come back.
func (h *hub) leaveUntold(c *conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for t := range maps.Clone(c.topics) {
		if !c.isIn(t.channel) {
			h.unlink(c, t)
			h.readAll(t)      // as after leaving: the others may have been sent nothing
			h.visit(c.UserID) // they may be back already
		}
	}
}

// synchronize sends a snapshot, followed by what is newer.
func (h *hub) synchronize(ctx context.Context, c *conn, again bool) error {
	for {
		c.restart()
		fresh := h.fresh(c)
		snap, err := h.store.snapshot(ctx, c.UserID)
		if err != nil {
			return err
		}
		h.at("snapshot read")
		position := snap.position()
		late := false
		h.mu.Lock()
		h.note(c.UserID, snap)
		for name := range position.Channels {
			if t := h.topics[name]; t == nil || !t.has(c) {
				h.join(c, name) // what it gained between the snapshot and now is in the next one
				late = true
			}
		}
		late = late || !h.start(fresh, position)
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

// note records, from a snapshot, how far a person has read, and what they muted. The lock is held.
func (h *hub) note(userID int64, snap *snapshot) {
	if h.told[userID] == nil {
		h.told[userID] = map[string]state{}
	}
	for _, c := range snap.Channels {
		// The lowest that any connection was told: if another one was told more, or there are marks above the cursor, which
		// a snapshot does not include, the next visit finds a difference and tells all of them.
		if told, known := h.told[userID][c.Channel]; !known {
			h.told[userID][c.Channel] = state{c.ReadSeq, c.Muted}
		} else if c.ReadSeq < told.Read {
			h.told[userID][c.Channel] = state{c.ReadSeq, told.Muted}
		}
	}
}

// fresh returns the topics of a connection that have not been read yet.
func (h *hub) fresh(c *conn) []*topic {
	h.mu.Lock()
	defer h.mu.Unlock()
	var fresh []*topic
	for t := range c.topics {
		if t.seq == unknown {
			fresh = append(fresh, t)
		}
	}
	return fresh
}

// start sets the position of topics that were fresh to that of a client. It returns false if they have started further
// on with another client in the meantime, so that this one would miss what is in between. The lock is held.
func (h *hub) start(fresh []*topic, at positions) bool {
	for _, t := range fresh {
		if seq, found := at.Channels[t.channel]; found && t.seq == unknown {
			t.seq = seq
		} else if found && t.seq > seq {
			return false
		}
		if version, found := at.Projects[t.project]; found && t.version == unknown {
			t.version = version
		} else if found && t.version > version {
			return false
		}
		h.read(t)
	}
	return true
}

// resume sends what a client missed. It returns false if that is unknown, or too much.
func (h *hub) resume(ctx context.Context, c *conn, has positions) (bool, error) {
	for {
		fresh := h.fresh(c)
		snap, err := h.store.snapshot(ctx, c.UserID)
		if err != nil {
			return false, err
		}
		h.at("snapshot read")
		position := snap.position()
		h.mu.Lock()
		for name := range position.Channels {
			if t := h.topics[name]; t == nil || !t.has(c) {
				h.mu.Unlock()
				return false, nil
			}
		}
		h.mu.Unlock()
		missed, err := h.missed(ctx, c, has, position)
		if missed == nil || err != nil {
			return false, err
		}
		h.mu.Lock()
		h.note(c.UserID, snap)
		started := h.start(fresh, position)
		h.mu.Unlock()
		if !started {
			continue
		}
		// The snapshot has everything else: progress, cursors, unread counts.
		c.begin(position, append([][]byte{fmt.Appendf(nil, `{"type":"resumed","snapshot":%s}`, snap.text)}, missed...))
		return true, nil
	}
}

// missed returns the messages after those that a client has, at least up to position, which it moves to the last of
// them. Nil means that they are unknown, or too many.
func (h *hub) missed(ctx context.Context, c *conn, has, position positions) ([][]byte, error) {
	missed, left := [][]byte{}, page
	for _, name := range slices.Sorted(maps.Keys(position.Channels)) {
		last := position.Channels[name]
		seq, known := has.Channels[name]
		if !known || seq < 0 || seq > last || last-seq > int64(left.messages) {
			return nil, nil
		}
		if seq == last {
			continue
		}
		found, err := h.store.messages(ctx, c.UserID, name, seq, left)
		if err != nil {
			return nil, err
		}
		left.take(found)
		for _, m := range found {
			missed = append(missed, m.JSON)
			seq = m.Seq
		}
		if seq < last {
			return nil, nil
		}
		position.Channels[name] = seq
	}
	return missed, nil
}

// remove removes a connection from everything.
func (h *hub) remove(c *conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for t := range maps.Clone(c.topics) {
		h.unlink(c, t)
	}
	delete(h.people[c.UserID], c)
	if len(h.people[c.UserID]) == 0 {
		delete(h.people, c.UserID)
		delete(h.told, c.UserID)
	}
}
