// Package live follows a database from outside, as any client may: it listens first, then reads the views, then applies
// the notifications that are newer than what it has read.
//
// It needs LISTEN and select, nothing else, and never writes. What it knows is for others to draw or print; how that
// looks belongs in package bar.
package live

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"headway/internal/listen"
	"headway/internal/pause"
)

const (
	// queryTimeout bounds every query.
	queryTimeout = 30 * time.Second

	// pingInterval is how often a silent connection is checked for whether its peer is still there.
	pingInterval = 5 * time.Second

	// pollInterval is how often everything is read if nothing is notified.
	pollInterval = time.Second

	// probeTimeout is how long a notification may take to come back.
	probeTimeout = 3 * time.Second

	// keep is how many messages are kept.
	keep = 50
)

// Kind is the kind of an event.
type Kind int

// The kinds of events while following.
const (
	Read      Kind = iota + 1 // everything was read; except for the first time, Moves says what has changed
	Listening                 // from now on, everything that happens is heard
	Moved                     // bars moved
	Said                      // a message was sent
	Deaf                      // nothing is notified here, so everything is read once a second; Err says why
	Lost                      // the connection was lost, Err says why, and is reopened after Wait
)

// Event is something that has happened.
type Event struct {
	Kind    Kind
	Moves   []Move
	Message Message
	Err     error
	Wait    time.Duration
}

// Follower follows until its context ends. Its fields are set before [Follower.Run] is called.
type Follower struct {
	// Listen connects to where LISTEN works.
	Listen func(context.Context) (*pgx.Conn, error)

	// Read connects to the same database, in whatever way.
	Read func(context.Context) (*pgx.Conn, error)

	// Project is the only project to follow; 0: all that are not archived.
	Project int64

	// ReadInterval is how often everything is read again even if nothing was missed: joining and renaming are not
	// notified. Default: 30s.
	ReadInterval time.Duration

	// On is called with each event, one at a time. The board does not change until it returns; it must not call Look.
	On func(*Board, Event)

	mu      sync.Mutex
	board   Board
	names   map[int64]string // of people
	homes   map[string]int64 // channel to project
	lastSeq map[string]int64 // by channel
	firstID int64            // of the newest message at the start
	started bool             // something has been read
}

// Look calls at with the board, which does not change meanwhile.
func (f *Follower) Look(at func(*Board)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	at(&f.board)
}

// emit reports an event while the board does not change.
func (f *Follower) emit(e Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.On != nil {
		f.On(&f.board, e)
	}
}

// Run follows until ctx is done, which is no error. A lost connection is reopened, with growing pauses; only the first
// one has to succeed.
func (f *Follower) Run(ctx context.Context) error {
	f.begin()
	f.ReadInterval = cmp.Or(f.ReadInterval, 30*time.Second)
	reconnect := pause.Backoff{First: 100 * time.Millisecond, Max: 10 * time.Second}
	for {
		began := time.Now()
		err := f.session(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if !f.started || errors.As(err, new(*noProjectError)) {
			return err
		}
		if time.Since(began) > 10*time.Second {
			reconnect.Reset()
		}
		wait := reconnect.Next()
		f.emit(Event{Kind: Lost, Err: err, Wait: wait})
		if !pause.For(ctx, wait) {
			return nil
		}
	}
}

// begin makes the maps, in which nothing is known yet.
func (f *Follower) begin() {
	f.names, f.homes, f.lastSeq = map[int64]string{}, map[string]int64{}, map[string]int64{}
}

// ErrHidden says that row-level security hides everything from the login, which acts for end users.
var ErrHidden = errors.New("row-level security hides the rows")

// noProjectError says that the project to follow does not exist.
type noProjectError struct{ ID int64 }

// Error implements error.
func (e *noProjectError) Error() string {
	return fmt.Sprintf("there is no project %d: `select id, name from headway.project` lists them", e.ID)
}

// session follows on one connection until it is lost.
func (f *Follower) session(ctx context.Context) error {
	listener, err := f.Listen(ctx)
	if err != nil {
		return err
	}
	defer shut(ctx, listener)
	reader, err := f.Read(ctx)
	if err != nil {
		return err
	}
	defer shut(ctx, reader)

	// The order that misses nothing: listen, then read, then apply what is newer.
	deaf := listen.Hears(ctx, listener, reader, probeTimeout)
	if deaf != nil && !errors.Is(deaf, listen.ErrDeaf) {
		return deaf
	}
	if deaf == nil {
		if err := errors.Join(listen.Keep(ctx, listener), listen.To(ctx, listener, listen.Events)); err != nil {
			return err
		}
	}
	if err := f.goBack(ctx, reader); err != nil {
		return err
	}
	loud, err := f.read(ctx, reader)
	if err != nil {
		return err
	}
	if deaf != nil {
		return f.poll(ctx, reader, deaf)
	}
	// The listener has a server session of its own, so it is used for everything from here on.
	shut(ctx, reader)
	return f.follow(ctx, listener, loud)
}

// follow applies what is notified until the connection is lost. Where nothing is, as loud says, it reads once a second.
func (f *Follower) follow(ctx context.Context, listener *pgx.Conn, loud bool) error {
	said := !loud
	nextRead := time.Now().Add(f.ReadInterval)
	for {
		if said != loud {
			said = loud
			if loud {
				f.emit(Event{Kind: Listening})
			} else {
				f.emit(Event{Kind: Deaf, Err: errSilent})
			}
		}
		deadline := time.Now().Add(min(pingInterval, f.ReadInterval))
		if !loud {
			deadline = time.Now().Add(pollInterval)
		}
		notification, err := listen.Next(ctx, listener, deadline)
		if err != nil {
			return err
		}
		if notification != nil {
			if err := f.hear(ctx, listener, notification); err != nil {
				return err
			}
		}
		switch now := time.Now(); {
		case !loud && notification == nil, now.After(nextRead):
			if loud, err = f.read(ctx, listener); err != nil {
				return err
			}
			nextRead = now.Add(f.ReadInterval)
		case notification == nil:
			if err := ping(ctx, listener); err != nil {
				return err
			}
		}
	}
}

// poll reads once a second.
func (f *Follower) poll(ctx context.Context, reader *pgx.Conn, why error) error {
	f.emit(Event{Kind: Deaf, Err: why})
	for pause.For(ctx, pollInterval) {
		if _, err := f.read(ctx, reader); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// errSilent says that the database notifies nothing.
var errSilent = errors.New("the setting notify_payload is off, or the server's notification queue is half full")

func ping(ctx context.Context, conn *pgx.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, pingInterval)
	defer cancel()
	if err := conn.Ping(ctx); err != nil {
		return fmt.Errorf("ping: %w", err)
	}
	return nil
}

// shut closes a connection, even when ctx is done.
func shut(ctx context.Context, conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), pingInterval)
	defer cancel()
	_ = conn.Close(ctx) // it fails only if there is nothing left to close
}
