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

// pageSize is how many messages are read at a time, and how many a client may have missed that resumes.
const pageSize = 500

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
