package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"headway/internal/bar"
	"headway/internal/listen"
	"headway/internal/live"
	"headway/internal/sqlstate"
	"headway/internal/terminal"
	"headway/sql"
)

// watch draws live bars until Ctrl-C.
func watch(ctx context.Context, e env, args []string) error {
	flags := newFlags("headway watch [--project N]",
		"Shows every customer's bar and everything that happens, live, until Ctrl-C. On a terminal it redraws in place,\n"+
			"elsewhere it prints a line per change. It only reads; once a second if nothing is notified, as when\n"+
			"DATABASE_URL is a pooler in transaction mode and HEADWAY_LISTEN_URL is not set.")
	var project int64
	flags.Func("project", "only project `N`; by default all that are not archived", func(value string) (err error) {
		project, err = strconv.ParseInt(value, 10, 64)
		if err != nil || project < 1 {
			return errors.New("ids are positive integers")
		}
		return nil
	})
	if helped, err := parse(e, flags, args); helped || err != nil {
		return err
	}
	where, login, err := checkSchema(ctx, e)
	if err != nil {
		return unlessDone(ctx, err)
	}

	follower := &live.Follower{
		Listen:  func(ctx context.Context) (*pgx.Conn, error) { return connectListen(ctx, e) },
		Read:    func(ctx context.Context) (*pgx.Conn, error) { return connect(ctx, e) },
		Project: project,
	}
	w := &watcher{view: newView(follower, e), where: where, status: "connecting"}
	follower.On = w.on

	if tty := terminal.Of(e.stdout, e.getenv); tty != nil {
		w.frame = w.draw
		w.block = terminal.NewBlock(tty, true)
		err = w.redrawWhile(ctx, follower.Run)
		w.block.Close(w.lines())
	} else {
		err = follower.Run(ctx)
	}
	return refused(err, login, "see everybody's bars and messages", "headway_admin")
}

// unlessDone returns err, or nil if it only says that ctx is done: being told to stop is no failure.
func unlessDone(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return nil
	}
	return err
}

// checkSchema returns which database this is and who connects, or an error if its schema is not this binary's.
func checkSchema(ctx context.Context, e env) (where, login string, err error) {
	conn, err := connect(ctx, e)
	if err != nil {
		return "", "", err
	}
	defer disconnect(ctx, conn)
	if err := sql.Check(ctx, conn); err != nil {
		return "", "", err
	}
	config := conn.Config()
	return fmt.Sprintf("%s on %s:%d", config.Database, config.Host, config.Port), config.User, nil
}

// watcher is the view of headway watch.
type watcher struct {
	*view
	where   string
	status  string // guarded by the follower, like the board
	trouble bool
	started bool
}

// on records what happens.
func (w *watcher) on(b *live.Board, e live.Event) {
	was := w.status
	switch e.Kind {
	case live.Listening:
		w.status, w.trouble = "listening", false
	case live.Lost:
		w.status, w.trouble = fmt.Sprintf("connection lost, reconnecting in %v: %s", e.Wait.Round(10*time.Millisecond), oneLine(e.Err)), true
	case live.Deaf:
		w.status, w.trouble = "reading once a second: "+deafAdvice(e.Err), true
	}

	w.remember(e.Moves)
	first := !w.started
	w.started = true
	if w.block != nil {
		w.touch()
		return
	}
	if first {
		w.plainBoard(b)
	} else {
		w.plain(b, e)
	}
	if w.status != was {
		w.printf("%s", w.status)
	}
}

// draw makes a frame: where this is, the bars, what happened last.
func (w *watcher) draw(b *live.Board, columns, lines int) []string {
	status := w.palette.Good(w.status)
	if w.trouble {
		status = w.palette.Bad(w.status)
	}
	frame := []string{bar.Cut(w.palette.Strong("headway watch")+w.palette.Dim("  "+w.where+"  ")+status, columns), ""}
	if len(b.Projects) == 0 && w.started {
		frame = append(frame, bar.Cut("There are no projects yet.", columns))
	}
	left := lines - len(frame)

	// The bars come first, except for some lines of what happens.
	wanted := 0
	for _, p := range b.Projects {
		wanted += 1 + len(p.Customers)
	}
	feed := min(len(b.Recent), 8, left/3)
	if room := left - wanted - 1; room > feed {
		feed = min(len(b.Recent), room)
	}
	if feed > 0 {
		left -= feed + 1
	}
	frame = append(frame, w.bars(b, columns, left)...)
	if feed > 0 {
		frame = append(frame, "")
		frame = append(frame, w.feed(b, columns, feed)...)
	}
	return frame[:min(len(frame), lines)]
}

// deafAdvice explains why nothing is heard, and what to do.
func deafAdvice(err error) string {
	switch {
	case sqlstate.Of(err) == sqlstate.ReadOnlySQLTransaction:
		return "this is a standby, where LISTEN does not work"
	case errors.Is(err, listen.ErrDeaf):
		return "LISTEN does not work through this address, so set HEADWAY_LISTEN_URL to a direct one"
	}
	return oneLine(err)
}

// oneLine joins an error's lines for the status: what went wrong is often on the last, below the place.
func oneLine(err error) string { return bar.Clean(strings.Join(strings.Fields(reason(err)), " ")) }
