package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
)

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

// hear takes a notification from headway_events. What cannot be parsed is ignored.
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
		if h.isIn(said.UserID, said.Channel) { // anything else could not even be asked for, such as a name with a zero byte
			h.tellCursor(said.UserID, said.Channel)
		}
	default:
		if t := h.topics[said.Channel]; t != nil {
			t.saidSeq = max(t.saidSeq, said.Seq)
			h.read(t)
		}
	}
}

// everybody stands for all customers in topic.changed.
const everybody = 0

// forget resets a topic and has its clients reconnect without a position: the database has less than before, as after a
// failover to a server that was missing the last commits, and will reuse the same numbers. The lock is held.
func (h *hub) forget(t *topic) {
	t.seq, t.version, t.whole = unknown, unknown, true
	for c := range t.conns {
		c.end(errSlow)
	}
}

// look reads everything that is new, to make up for a time in which nothing was heard.
func (h *hub) look() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for id := range h.people {
		h.visit(id) // one query has the numbers of all of their channels: those with something new are read
	}
}

// readAll reads a topic in the background, without a hint that there is anything new. The lock is held.
func (h *hub) readAll(t *topic) {
	t.saidSeq, t.saidVersion = unknown, unknown
	h.read(t)
}

// later calls read in the background. If that fails, it calls again after a while, unless the hub is stopped. The lock is
// held, also when again is called, but not when read is.
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
			if !errors.Is(err, pgx.ErrNoRows) { // whom it was read for have just left; others can read it once that is heard of
				h.log.Warn("what happened could not be read, retrying", slog.Any("error", err))
			}
			h.after(retry, again)
			h.at("failed")
		}
	})
}

// errand is what is read for one person: how far they have read in a channel, and whether they muted it, or, without a
// channel, their subscriptions.
type errand struct {
	userID  int64
	channel string
}

// inTurn calls read in the background for a person who is connected, one call at a time: otherwise the result of the
// first could be sent last. If it is requested again in the meantime, it reads once more. The lock is held, also when
// tell is called.
func (h *hub) inTurn(e errand, read func(ctx context.Context) (tell func(outdated bool), err error)) {
	if len(h.people[e.userID]) == 0 {
		return
	}
	if _, reading := h.errands[e]; reading {
		h.errands[e] = true
		return
	}
	h.errands[e] = false
	again := func() {
		delete(h.errands, e)
		h.inTurn(e, read)
	}
	h.later(func(ctx context.Context) error {
		tell, err := read(ctx)
		if err != nil {
			return err
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		if tell(h.errands[e]); h.errands[e] {
			again()
		} else {
			delete(h.errands, e)
		}
		return nil
	}, again)
}

// retry is how long the hub waits before it repeats a failed read.
const retry = time.Second

// after calls do after a while, with the lock held.
func (h *hub) after(d time.Duration, do func()) {
	time.AfterFunc(d, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		do()
	})
}

// read reads a topic in the background, if there may be something new. The lock is held.
func (h *hub) read(t *topic) {
	if t.reading || len(t.conns) == 0 || !t.hasMessages() && !t.hasProgress() {
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

// breath is how long a topic rests after it was handed out. What arrives in the meantime is handed out together, and
// goes to each client in one write, which costs about the same for one event as for fifty. Nor does a page redraw more
// often.
const breath = 20 * time.Millisecond

// handOut reads what is new in a topic and offers it to everyone in it. Hints that arrive in the meantime are left for
// the next time.
func (h *hub) handOut(ctx context.Context, t *topic) (err error) {
	h.mu.Lock()
	saidSeq, saidVersion, changed := t.saidSeq, t.saidVersion, t.changed
	seq, messages, progress := t.seq, t.hasMessages(), t.hasProgress()
	t.saidSeq, t.saidVersion, t.changed = 0, 0, map[int64]bool{}
	readers := map[int64]bool{}
	for c := range t.conns {
		readers[c.UserID] = true
		if len(readers) == 3 {
			break // one is enough, unless they are just leaving
		}
	}
	h.mu.Unlock()
	h.at("handing out")
	defer func() {
		if err != nil {
			h.mu.Lock()
			defer h.mu.Unlock()
			t.saidSeq, t.saidVersion = max(t.saidSeq, saidSeq), max(t.saidVersion, saidVersion)
			maps.Copy(t.changed, changed)
		}
	}()
	if messages {
		if err := h.handOutMessages(ctx, t, readers, seq); err != nil {
			return err
		}
	}
	if progress {
		return h.handOutProgress(ctx, t, readers, changed)
	}
	return nil
}

// handOutMessages sends everybody in a channel the messages after seq, at most a page of them.
func (h *hub) handOutMessages(ctx context.Context, t *topic, readers map[int64]bool, seq int64) error {
	var found []message
	for id := range readers {
		var err error
		if found, err = h.store.messages(ctx, id, t.channel, seq, page); err != nil {
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
	if left := page; !left.take(found) {
		t.saidSeq = unknown // there may be more
	}
	return nil
}

// handOutProgress sends everybody in a project the shared part, if it is new, and those whose own part changed all of
// their progress, even if they were already sent the shared part of the same version.
func (h *hub) handOutProgress(ctx context.Context, t *topic, readers, changed map[int64]bool) error {
	var found share
	var err error
	for id := range readers {
		if found, err = h.store.shared(ctx, id, t.project); err == nil {
			break
		} else if !errors.Is(err, pgx.ErrNoRows) {
			return err
		}
	}
	h.at("progress read")
	if err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	isNew := found.Version > t.version
	if !isNew && t.whole {
		return nil
	}
	t.version, t.whole = max(t.version, found.Version), changed[everybody]
	same := progressEvent(t.project, found, nil)
	for c := range t.conns {
		switch {
		case changed[everybody] || changed[c.UserID]:
			h.owe(t, c.UserID)
		case isNew:
			c.offer(same)
		}
	}
	return nil
}

// owe sends one person their own progress in the background. The lock is held.
func (h *hub) owe(t *topic, userID int64) {
	if t.owed[userID] {
		return
	}
	t.owed[userID] = true
	h.later(func(ctx context.Context) error { return h.tellOwn(ctx, t, userID) }, func() { h.owe(t, userID) })
}

// tellOwn sends one person their progress in a project, as it is at the time of sending.
func (h *hub) tellOwn(ctx context.Context, t *topic, userID int64) error {
	for {
		h.mu.Lock()
		before := t.version
		h.mu.Unlock()
		all, own, err := h.store.own(ctx, userID, t.project)
		h.at("own read")
		h.mu.Lock()
		if err == nil && all.Version < t.version && t.version != before && t.version != unknown {
			h.mu.Unlock()
			continue // they may have been sent the shared part of a later one
		}
		delete(t.owed, userID)
		switch {
		case errors.Is(err, pgx.ErrNoRows): // they have just left
			err = nil
		case err != nil, t.version == unknown: // after a reset, they are reconnecting anyway
		case all.Version < t.version:
			h.forget(t)
		default:
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
	text, _ := json.Marshal(map[string]any{ // only numbers
		"type": "progress", "project_id": project, "version": s.Version,
		"shared":   map[string]int64{"done": s.Done, "total": s.Total},
		"progress": own,
	})
	return &event{project: project, version: s.Version, own: own != nil, json: text}
}

// tellCursor tells all of a person's connections how far they have read in a channel, and whether they muted it. The lock is held.
func (h *hub) tellCursor(userID int64, channel string) {
	h.inTurn(errand{userID, channel}, func(ctx context.Context) (func(outdated bool), error) {
		found, err := h.store.cursor(ctx, userID, channel)
		h.at("cursor read")
		if errors.Is(err, pgx.ErrNoRows) { // they have just left
			return func(bool) {}, nil
		}
		return func(bool) {
			for c := range h.people[userID] {
				c.offer(&event{json: found.JSON})
			}
			if told := h.told[userID]; told != nil {
				told[channel] = found.state
			}
		}, err
	})
}
