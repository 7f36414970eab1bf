package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"headway/internal/bar"
	"headway/internal/live"
	"headway/internal/pause"
)

const (
	// readingTime is how long a caption is shown before something happens, watchingTime how long the result is shown.
	readingTime  = 800 * time.Millisecond
	watchingTime = 1000 * time.Millisecond

	// arrival is how long the notification of a change may take.
	arrival = 10 * time.Second
)

// scene is one thing that happens. What the audience sees of it is what was notified.
type scene struct {
	caption string
	play    func(ctx context.Context) error
}

// scenes are the story. Bob does nothing in it.
func (d *demo) scenes() []scene {
	return []scene{
		{"Each customer's bar counts the tasks that are for them. The first bar adds them up, for Dora, who is staff.", nil},
		{"Charlie chooses the photographs, a task that they all share: Abe's and Bob's bars move as well.", func(ctx context.Context) error {
			return d.complete(ctx, choosePhotos, d.charlie)
		}},
		{"Charlie writes the product pages, assigned to Bob and Charlie: Abe's bar stays.", func(ctx context.Context) error {
			return d.complete(ctx, writeProducts, d.charlie)
		}},
		{"Abe asks something in the chat. Everyone who has not read it gets a badge.", func(ctx context.Context) error {
			return d.post(ctx, d.abe, "Which size do you need the team photo in?")
		}},
		{"Dora reads and answers. Her badge disappears, Bob's grows.", func(ctx context.Context) error {
			if err := d.read(ctx, d.dora); err != nil {
				return err
			}
			return d.post(ctx, d.dora, "2,000 pixels wide, please. And no collages!")
		}},
		{"Charlie tries to finish the proofreading too early. PostgreSQL refuses:", func(ctx context.Context) error {
			return d.completeTooEarly(ctx, proofread, d.charlie)
		}},
		{"Abe reads the answer, writes the page about us, and Charlie can finish.", func(ctx context.Context) error {
			return errors.Join(
				d.read(ctx, d.abe),
				d.complete(ctx, writeAbout, d.abe),
				d.complete(ctx, proofread, d.charlie),
			)
		}},
	}
}

// tell plays the scenes, and the digest at the end.
func (d *demo) tell(ctx context.Context) error {
	for _, user := range []int64{d.abe, d.bob, d.charlie, d.dora} {
		if err := d.readBadges(ctx, user); err != nil {
			return err
		}
	}
	for i, s := range d.scenes() {
		d.stage.setCaption(s.caption, true)
		if d.view.block == nil && i == 0 {
			d.view.follower.Look(d.view.plainBoard)
		}
		if err := d.pause(ctx, readingTime); err != nil {
			return err
		}
		if s.play == nil {
			continue
		}
		if err := s.play(ctx); err != nil {
			return err
		}
		if err := d.pause(ctx, watchingTime); err != nil {
			return err
		}
	}
	return d.mail(ctx)
}

// pause lets people read. If nobody does, it takes no time.
func (d *demo) pause(ctx context.Context, duration time.Duration) error {
	if d.view.block == nil {
		return ctx.Err()
	}
	pause.For(ctx, duration)
	return ctx.Err()
}

// complete completes a task and waits until everybody has been notified.
func (d *demo) complete(ctx context.Context, title string, user int64) error {
	id := d.tasks[title]
	if _, err := d.conn.Exec(ctx, `select headway.complete_task($1, $2)`, id, user); err != nil {
		return fmt.Errorf("complete %q: %w", title, err)
	}
	// Progress and activity are notified in one transaction, the activity last.
	return d.stage.await(ctx, fmt.Sprintf("the completion of %q", title), func(s *stage) bool { return s.completed[id] })
}

// completeTooEarly shows the database's answer.
func (d *demo) completeTooEarly(ctx context.Context, title string, user int64) error {
	_, err := d.conn.Exec(ctx, `select headway.complete_task($1, $2)`, d.tasks[title], user)
	refused, is := errors.AsType[*pgconn.PgError](err)
	if !is {
		return cmp.Or(err, fmt.Errorf("%q was completed before its prerequisites", title))
	}
	d.stage.addCaption(refused.Hint)
	return nil
}

// post posts to the project's channel and waits until that was notified.
func (d *demo) post(ctx context.Context, user int64, text string) error {
	var id int64
	err := d.conn.QueryRow(ctx, `
insert into headway.message (sender, channel, content) values ($1, 'project_' || $2::bigint, $3) returning id`,
		user, d.project, text).Scan(&id)
	if err != nil {
		return fmt.Errorf("post: %w", err)
	}
	return d.stage.await(ctx, "a message", func(s *stage) bool { return s.said[id] })
}

// read marks everything read for a person, whose client then reads its badges again.
func (d *demo) read(ctx context.Context, user int64) error {
	_, err := d.conn.Exec(ctx, `select headway.mark_read(s.user_id, s.channel) from headway.subscription s where s.user_id = $1`, user)
	if err != nil {
		return fmt.Errorf("mark read: %w", err)
	}
	return d.readBadges(ctx, user)
}

// readBadges reads what a person's client reads when it reconnects.
func (d *demo) readBadges(ctx context.Context, user int64) error {
	var document []byte
	if err := d.conn.QueryRow(ctx, `select headway.snapshot($1)`, user).Scan(&document); err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	var snapshot struct {
		Channels []badge `json:"channels"`
	}
	if err := json.Unmarshal(document, &snapshot); err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	d.stage.setBadges(user, snapshot.Channels)
	return nil
}

// badge is how much of a channel a person has not read.
type badge struct {
	Channel string `json:"channel"`
	LastSeq int64  `json:"last_seq"`
	Unread  int    `json:"unread"`
}

// stage is what the audience has been told so far, all of it by notifications and by what clients read when they
// reconnect.
type stage struct {
	demo *demo

	mu        sync.Mutex
	changed   chan struct{} // closed and replaced with every change
	ready     bool
	completed map[int64]bool // tasks
	said      map[int64]bool // messages
	badges    map[int64][]badge
	caption   []string
}

func newStage(d *demo) *stage {
	return &stage{
		demo:      d,
		changed:   make(chan struct{}),
		completed: map[int64]bool{},
		said:      map[int64]bool{},
		badges:    map[int64][]badge{},
	}
}

// change changes something, and shows it to the audience.
func (s *stage) change(how func()) {
	s.mu.Lock()
	how()
	close(s.changed)
	s.changed = make(chan struct{})
	s.mu.Unlock()
	s.demo.view.touch()
}

// await waits until what was done has been notified.
func (s *stage) await(ctx context.Context, what string, condition func(*stage) bool) error {
	timeout := time.NewTimer(arrival)
	defer timeout.Stop()
	for {
		s.mu.Lock()
		met, changed := condition(s), s.changed
		s.mu.Unlock()
		if met {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		case <-timeout.C:
			return fmt.Errorf("no notification of %s within %v: `headway doctor` may know why", what, arrival)
		}
	}
}

// on records what was notified.
func (s *stage) on(b *live.Board, e live.Event) {
	d := s.demo
	d.view.remember(e.Moves)
	if e.Kind == live.Said {
		s.change(func() { s.count(&e.Message) })
	}
	if d.view.block == nil && e.Kind != live.Read {
		d.view.plain(b, e)
		if e.Kind == live.Said && e.Message.Kind == "chat" {
			d.view.printf("unread: Abe %d, Bob %d, Charlie %d, Dora %d", s.unread(d.abe), s.unread(d.bob), s.unread(d.charlie), s.unread(d.dora))
		}
	}
	// Last, because the story goes on from here.
	s.change(func() {
		switch e.Kind {
		case live.Listening, live.Deaf:
			s.ready = true
		case live.Said:
			s.said[e.Message.ID] = true
			if m := e.Message; m.Kind == "task_completed" && m.TaskID != nil {
				s.completed[*m.TaskID] = true
			}
		}
	})
}

// count adds a message to the badges of those who read its channel, except its sender and those who have read it.
func (s *stage) count(m *live.Message) {
	for user, badges := range s.badges {
		for i := range badges {
			if b := &badges[i]; b.Channel == m.Channel && m.Seq > b.LastSeq {
				b.LastSeq = m.Seq
				if m.Sender == nil || *m.Sender != user {
					b.Unread++
				}
			}
		}
	}
}

func (s *stage) setBadges(user int64, badges []badge) {
	s.change(func() { s.badges[user] = badges })
}

// unread is a person's badge.
func (s *stage) unread(user int64) (messages int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range s.badges[user] {
		messages += b.Unread
	}
	return messages
}

// note is the badge behind a bar. The sum has Dora's badge.
func (s *stage) note(_ *live.Project, c *live.Customer) string {
	user, who := s.demo.dora, "Dora: "
	if c != nil {
		user, who = c.UserID, ""
	}
	if n := s.unread(user); n > 0 {
		return fmt.Sprintf("%s%d unread", who, n)
	}
	return ""
}

// setCaption says what is about to happen.
func (s *stage) setCaption(text string, plain bool) {
	s.change(func() { s.caption = []string{text} })
	if s.demo.view.block == nil && plain {
		fmt.Fprintln(s.demo.stdout, "\n"+text)
	}
}

// addCaption adds the result.
func (s *stage) addCaption(text string) {
	s.change(func() { s.caption = append(s.caption, text) })
	if s.demo.view.block == nil {
		fmt.Fprintln(s.demo.stdout, "  "+text)
	}
}

// On a narrow terminal, the caption takes lines from the feed.
const (
	feedLines    = 4
	captionLines = 2
)

// frame is what is shown on a terminal: the bars, what was said, what is about to happen. Its height stays the same,
// unless the terminal is too low.
func (s *stage) frame(b *live.Board, columns, lines int) []string {
	s.mu.Lock()
	texts := s.caption
	s.mu.Unlock()
	p := s.demo.view.palette
	var caption []string
	for i, text := range texts {
		for _, line := range bar.Wrap(bar.Clean(text), columns-2) {
			line = bar.Cut(line, columns-2)
			if i > 0 {
				line = p.Warn(line)
			}
			caption = append(caption, strings.TrimRight("  "+line, " "))
		}
	}
	height := max(captionLines, min(len(caption), captionLines+feedLines-1))
	caption = caption[:min(len(caption), height)]
	for len(caption) < height {
		caption = append(caption, "")
	}

	count := 0
	for _, project := range b.Projects {
		count += 1 + len(project.Customers)
	}
	frame := s.demo.view.bars(b, columns, min(count, max(1, lines-height-1)))
	if room := min(captionLines+feedLines-height, lines-len(frame)-height-2); room > 0 {
		feed := s.demo.view.feed(b, columns, room)
		for len(feed) < room {
			feed = append(feed, "")
		}
		frame = append(append(frame, ""), feed...)
	}
	frame = append(append(frame, ""), caption...)
	return frame[:min(len(frame), lines)]
}
