package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"strings"
	"sync"
	"time"

	"headway/internal/bar"
	"headway/internal/live"
	"headway/internal/pause"
	"headway/internal/terminal"
)

const (
	// freshFor is how long a bar shows that it has moved.
	freshFor = 2 * time.Second

	// frameInterval is the minimum time between two frames.
	frameInterval = 40 * time.Millisecond

	// maxLines is how many bars that moved at once are printed individually.
	maxLines = 20
)

// view shows what a follower knows: in place on a terminal, otherwise a line per change.
type view struct {
	follower *live.Follower
	palette  bar.Palette
	out      io.Writer
	block    *terminal.Block                                      // nil: lines go to out
	frame    func(board *live.Board, columns, lines int) []string // what the terminal shows
	note     func(project *live.Project, c *live.Customer) string // behind a bar; nil customer: the sum
	notes    int                                                  // columns reserved for it
	dirty    chan struct{}

	mu    sync.Mutex
	gains map[gainOf]gain
}

type gainOf struct{ project, customer int64 }

type gain struct {
	before int64
	until  time.Time
}

func newView(follower *live.Follower, e env) *view {
	tty := terminal.Of(e.stdout, e.getenv)
	return &view{
		follower: follower,
		palette:  terminal.Palette(tty, e.getenv),
		out:      e.stdout,
		note:     func(*live.Project, *live.Customer) string { return "" },
		notes:    len("+100"),
		dirty:    make(chan struct{}, 1),
		gains:    map[gainOf]gain{},
	}
}

// touch requests a new frame.
func (v *view) touch() {
	select {
	case v.dirty <- struct{}{}:
	default: // already requested
	}
}

// lines draws a frame now.
func (v *view) lines() (lines []string) {
	columns, rows := v.block.Size()
	v.follower.Look(func(b *live.Board) { lines = v.frame(b, columns, rows) })
	return lines
}

// redraw draws frames until ctx is done.
func (v *view) redraw(ctx context.Context) {
	for {
		v.block.Draw(v.lines())
		if !pause.For(ctx, frameInterval) {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-v.dirty:
		case <-v.block.Resized():
		case <-v.expiry():
		}
	}
}

// redrawWhile draws frames until do has returned.
func (v *view) redrawWhile(ctx context.Context, do func(context.Context) error) error {
	return together(ctx, func(ctx context.Context) error { v.redraw(ctx); return nil }, do)
}

// expiry receives when a bar that has moved should stop showing it; never if there is none.
func (v *view) expiry() <-chan time.Time {
	v.mu.Lock()
	defer v.mu.Unlock()
	var first time.Time
	for key, g := range v.gains {
		switch {
		case time.Now().After(g.until):
			delete(v.gains, key)
			first = time.Now()
		case first.IsZero() || g.until.Before(first):
			first = g.until
		}
	}
	if first.IsZero() {
		return nil
	}
	return time.After(time.Until(first))
}

// remember makes bars show for a while that they moved.
func (v *view) remember(moves []live.Move) {
	v.mu.Lock()
	defer v.mu.Unlock()
	now := time.Now()
	for _, m := range moves {
		key := gainOf{m.Project.ID, customerID(m.Customer)}
		g, known := v.gains[key]
		if !known || now.After(g.until) {
			g.before = m.Before.Done
		}
		g.until = now.Add(freshFor)
		v.gains[key] = g
	}
}

func customerID(c *live.Customer) int64 {
	if c == nil {
		return 0
	}
	return c.UserID
}

// row is the bar of a customer; nil: the sum.
func (v *view) row(p *live.Project, c *live.Customer) bar.Row {
	part, name := p.Sum(), p.Name
	if c != nil {
		part, name = p.Bar(c), c.Name
	}
	row := bar.Row{Name: bar.Clean(name), Done: part.Done, Total: part.Total, Note: v.note(p, c), Heading: c == nil}
	v.mu.Lock()
	defer v.mu.Unlock()
	if g, ok := v.gains[gainOf{p.ID, customerID(c)}]; ok && time.Now().Before(g.until) {
		row.Gained = part.Done - g.before
	}
	return row
}

// bars draws all projects in this many lines.
func (v *view) bars(b *live.Board, columns, lines int) []string {
	groups := make([]bar.Group, 0, len(b.Projects))
	for _, p := range b.Projects {
		// Rows that cannot be shown need only be counted.
		rows := make([]bar.Row, len(p.Customers))
		for i := range min(lines, len(rows)) {
			rows[i] = v.row(p, p.Customers[i])
		}
		groups = append(groups, bar.Group{Sum: v.row(p, nil), Rows: rows})
	}
	return bar.Fit(v.palette, groups, columns, lines, v.notes)
}

// feed draws the newest messages, the newest last.
func (v *view) feed(b *live.Board, columns, lines int) (drawn []string) {
	for _, m := range b.Recent[max(0, len(b.Recent)-max(0, lines)):] {
		drawn = append(drawn, bar.Cut(v.said(b, &m, columns/4), columns))
	}
	return drawn
}

// said is a message on one line, with at most this many columns for its place.
func (v *view) said(b *live.Board, m *live.Message, place int) string {
	text := bar.Clean(m.Text())
	if m.Kind == "chat" {
		sender := bar.Clean(m.SenderName) + ":"
		text = v.palette.Strong(sender) + strings.TrimPrefix(text, sender)
	}
	where := ""
	if p := b.Project(m.ProjectID); p != nil && len(b.Projects) > 1 {
		where = bar.Cut(bar.Clean(p.Name), place) + "  "
	} else if m.ProjectID == 0 {
		where = bar.Cut(m.Channel, place) + "  "
	}
	return v.palette.Dim(clock(m.SentAt)+"  "+where) + text
}

// clock formats a time of today, or else a date.
func clock(at time.Time) string {
	at = at.Local()
	if at.Format(time.DateOnly) != time.Now().Format(time.DateOnly) {
		return fmt.Sprintf("%-8s", at.Format("2 Jan"))
	}
	return at.Format(time.TimeOnly)
}

// plain prints what changed, one line each.
func (v *view) plain(b *live.Board, e live.Event) {
	if e.Kind == live.Said {
		fmt.Fprintln(v.out, v.said(b, &e.Message, math.MaxInt))
		return
	}
	hidden := 0
	for i, m := range e.Moves {
		name := "all customers"
		if m.Customer != nil {
			name = bar.Clean(m.Customer.Name)
			if i >= maxLines {
				hidden++
				continue
			}
		}
		v.printf("%s  %s  %d%% -> %d%%  %s/%s", bar.Clean(m.Project.Name), name,
			bar.Percent(m.Before.Done, m.Before.Total), bar.Percent(m.After.Done, m.After.Total),
			bar.Count(m.After.Done), bar.Count(m.After.Total))
	}
	if hidden > 0 {
		v.printf("and %s more bars moved", bar.Count(hidden))
	}
}

// plainBoard prints the bars of all projects, the first ones of each.
func (v *view) plainBoard(b *live.Board) {
	for _, p := range b.Projects {
		for i, c := range p.Customers {
			if i == maxLines {
				v.printf("%s  and %s more", bar.Clean(p.Name), bar.Count(len(p.Customers)-i))
				break
			}
			v.plainBar(p, bar.Clean(c.Name), p.Bar(c))
		}
		v.plainBar(p, "all customers", p.Sum())
	}
}

func (v *view) plainBar(p *live.Project, name string, part live.Part) {
	v.printf("%s  %s  %d%%  %s/%s", bar.Clean(p.Name), name, bar.Percent(part.Done, part.Total), bar.Count(part.Done), bar.Count(part.Total))
}

// printf prints a line with the time.
func (v *view) printf(format string, args ...any) {
	fmt.Fprintln(v.out, time.Now().Format(time.TimeOnly)+"  "+fmt.Sprintf(format, args...))
}
