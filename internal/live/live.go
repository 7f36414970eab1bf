// Package live follows a database from outside, as any client may: it listens first, then reads the views, then
// applies the notifications that are newer than what it read.
//
// It needs LISTEN and select, nothing else, and never writes. What it knows goes to whoever draws or prints it;
// how that looks belongs in package bar.
package live

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Channel is where everything is notified.
const Channel = "headway_events"

const (
	// queryTimeout bounds whatever is asked of the server.
	queryTimeout = 30 * time.Second

	// pingInterval is how often a silent connection is asked whether its peer is still there.
	pingInterval = 5 * time.Second

	// pollInterval is how often everything is read where nothing is notified.
	pollInterval = time.Second

	// probeTimeout is how long a notification may take to come back.
	probeTimeout = 3 * time.Second

	// keep is how many messages are kept.
	keep = 50
)

// Kind is what has happened.
type Kind int

// What happens while one follows.
const (
	Read      Kind = iota + 1 // everything was read; but for the first time, Moves says what had changed meanwhile
	Listening                 // what happens from now on is heard
	Moved                     // bars moved
	Said                      // a message was sent
	Deaf                      // nothing is notified here, so it is read once a second; Err says why
	Lost                      // the connection was lost, Err says why, and is made anew after Wait
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

	// Read connects to the same database, by whatever way.
	Read func(context.Context) (*pgx.Conn, error)

	// Project is the only project to follow; 0: all that are not archived.
	Project int64

	// ReadInterval is how often everything is read again though nothing was missed: joining and renaming notify nothing.
	// Default: 30s.
	ReadInterval time.Duration

	// On is told what happens, one event at a time. The board stands still until it returns; it must not call Look.
	On func(*Board, Event)

	mu      sync.Mutex
	board   Board
	names   map[int64]string // of people
	homes   map[string]int64 // channel to project
	lastSeq map[string]int64 // by channel
	started bool             // something was read
}

// Look gives the board to draw; it stands still meanwhile.
func (f *Follower) Look(at func(*Board)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	at(&f.board)
}

// emit tells of an event while the board stands still.
func (f *Follower) emit(e Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.On != nil {
		f.On(&f.board, e)
	}
}

// Run follows until ctx is done, which is no error. A connection that is lost is made anew, with growing pauses; only
// the first one has to succeed.
func (f *Follower) Run(ctx context.Context) error {
	f.names, f.homes, f.lastSeq = map[int64]string{}, map[string]int64{}, map[string]int64{}
	f.ReadInterval = cmp.Or(f.ReadInterval, 30*time.Second)
	wait := time.Duration(0)
	for {
		began := time.Now()
		err := f.session(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if !f.started || errors.As(err, new(*NoProjectError)) {
			return err
		}
		if time.Since(began) > 10*time.Second {
			wait = 0
		}
		wait = min(max(2*wait, 100*time.Millisecond), 10*time.Second)
		pause := wait/2 + rand.N(wait)
		f.emit(Event{Kind: Lost, Err: err, Wait: pause})
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil
		}
	}
}

// NoProjectError says that the project to follow is not there.
type NoProjectError struct{ ID int64 }

// Error implements error.
func (e *NoProjectError) Error() string {
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
	defer func() { shut(ctx, reader) }()

	// The order that misses nothing: listen, then read, then apply what is newer.
	deaf := Hears(ctx, listener, reader, probeTimeout)
	if deaf != nil && !errors.Is(deaf, ErrDeaf) {
		return deaf
	}
	if deaf == nil {
		if err := listen(ctx, listener, Channel); err != nil {
			return err
		}
	}
	loud, err := f.read(ctx, reader)
	if err != nil {
		return err
	}
	if deaf != nil {
		return f.poll(ctx, reader, deaf)
	}
	// It is its own server session, so it serves for everything from here on.
	shut(ctx, reader)
	reader = listener

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
		notification, err := next(ctx, listener, deadline)
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
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		if _, err := f.read(ctx, reader); err != nil {
			return err
		}
	}
}

// errSilent says that the database has nothing notified.
var errSilent = errors.New("the setting notify_payload is off, or the server's notification queue is half full")

// ErrDeaf says that what is notified does not arrive.
var ErrDeaf = errors.New("a notification that was sent did not come back")

// Hears returns nil if what is notified by way of sender arrives at listener, ErrDeaf if it does not within the
// timeout, as behind a pooler in transaction mode.
func Hears(ctx context.Context, listener, sender *pgx.Conn, timeout time.Duration) error {
	channel := fmt.Sprintf("headway_probe_%016x", rand.Uint64())
	if err := listen(ctx, listener, channel); err != nil {
		return err
	}
	if _, err := sender.Exec(ctx, `select pg_notify($1, '')`, pgx.QueryExecModeExec, channel); err != nil {
		return fmt.Errorf("notify: %w", err)
	}
	// No query may pass on the listener meanwhile: through a pooler it could, by luck, reach the server connection
	// that has just been notified.
	deadline := time.Now().Add(timeout)
	for time.Now().Before(deadline) {
		notification, err := next(ctx, listener, deadline)
		if err != nil {
			return err
		}
		if notification != nil && notification.Channel == channel {
			return nil
		}
	}
	return ErrDeaf
}

func listen(ctx context.Context, conn *pgx.Conn, channel string) error {
	if _, err := conn.Exec(ctx, "listen "+channel); err != nil {
		return fmt.Errorf("listen %s: %w", channel, err)
	}
	return nil
}

// next returns the next notification, nil if none comes until the deadline.
func next(ctx context.Context, conn *pgx.Conn, deadline time.Time) (*pgconn.Notification, error) {
	waiting, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	notification, err := conn.WaitForNotification(waiting)
	switch {
	case err == nil:
		return notification, nil
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case conn.IsClosed():
		return nil, fmt.Errorf("wait for a notification: %w", err)
	}
	return nil, nil
}

func ping(ctx context.Context, conn *pgx.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, pingInterval)
	defer cancel()
	if err := conn.Ping(ctx); err != nil {
		return fmt.Errorf("ping: %w", err)
	}
	return nil
}

// shut closes a connection, also when ctx is done.
func shut(ctx context.Context, conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), pingInterval)
	defer cancel()
	_ = conn.Close(ctx) // it can fail only where there is nothing to close any more
}

// hear applies a notification. One that nobody understands is passed over: any role may notify anything.
func (f *Follower) hear(ctx context.Context, conn *pgx.Conn, n *pgconn.Notification) error {
	if n.Channel != Channel {
		return nil // the probe's
	}
	var kind struct {
		Kind    string `json:"kind"`
		Channel string `json:"channel"`
	}
	if json.Unmarshal([]byte(n.Payload), &kind) != nil {
		return nil
	}
	switch {
	case kind.Kind == "progress":
		var news progress
		if json.Unmarshal([]byte(n.Payload), &news) != nil {
			return nil
		}
		return f.hearProgress(ctx, conn, &news)
	case kind.Channel != "":
		var m Message
		if json.Unmarshal([]byte(n.Payload), &m) != nil {
			return nil
		}
		return f.hearMessage(ctx, conn, m)
	}
	return nil
}

func (f *Follower) hearProgress(ctx context.Context, conn *pgx.Conn, news *progress) error {
	if f.Project != 0 && f.Project != news.ProjectID {
		return nil
	}
	f.mu.Lock()
	project := f.board.Project(news.ProjectID)
	var moves []Move
	readAgain := true
	if project != nil {
		moves, readAgain = project.apply(news)
	}
	f.mu.Unlock()
	if readAgain {
		return f.readProject(ctx, conn, news.ProjectID)
	}
	if len(moves) > 0 {
		f.emit(Event{Kind: Moved, Moves: moves})
	}
	return nil
}

func (f *Follower) hearMessage(ctx context.Context, conn *pgx.Conn, m Message) error {
	if m.Seq <= f.lastSeq[m.Channel] {
		return nil // what was read had it in already
	}
	f.lastSeq[m.Channel] = m.Seq
	if m.Content == nil {
		rows, err := conn.Query(ctx, sqlMessage, pgx.QueryExecModeExec, m.ID)
		if err != nil {
			return fmt.Errorf("read message %d: %w", m.ID, err)
		}
		m, err = pgx.CollectExactlyOneRow(rows, scanMessage)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil // it went with its project, or was never there
		} else if err != nil {
			return fmt.Errorf("read message: %w", err)
		}
	}
	return f.say(ctx, conn, m)
}

var projectChannel = regexp.MustCompile(`^project_([0-9]+)(_staff)?$`)

// say adds a message to the board, if it is for us, and tells of it.
func (f *Follower) say(ctx context.Context, conn *pgx.Conn, m Message) error {
	var err error
	if m.ProjectID, err = f.home(ctx, conn, m.Channel); err != nil {
		return err
	}
	if f.Project != 0 && m.ProjectID != f.Project && m.Channel != "broadcast" {
		return nil
	}
	if m.SenderName, err = f.name(ctx, conn, m.Sender); err != nil {
		return err
	}
	f.mu.Lock()
	if !personal(m.Channel) {
		f.board.Recent = append(f.board.Recent, m)
		f.board.Recent = f.board.Recent[max(0, len(f.board.Recent)-keep):]
	}
	f.mu.Unlock()
	f.emit(Event{Kind: Said, Message: m})
	return nil
}

var personalChannel = regexp.MustCompile(`^user_[0-9]+$`)

// personal reports whether a channel concerns one person only.
func personal(channel string) bool { return personalChannel.MatchString(channel) }

// home returns the project that a channel belongs to, 0 where it belongs to none.
func (f *Follower) home(ctx context.Context, conn *pgx.Conn, channel string) (id int64, err error) {
	if match := projectChannel.FindStringSubmatch(channel); match != nil {
		return strconv.ParseInt(match[1], 10, 64)
	}
	id, known := f.homes[channel]
	if known || channel == "broadcast" || personal(channel) {
		return id, nil
	}
	if err := row(ctx, conn, sqlHome, []any{channel}, &id); err != nil {
		return 0, err
	}
	f.homes[channel] = id
	return id, nil
}

// name returns a person's name, empty where there is no such person.
func (f *Follower) name(ctx context.Context, conn *pgx.Conn, id *int64) (name string, err error) {
	if id == nil {
		return "", nil
	}
	if name, known := f.names[*id]; known {
		return name, nil
	}
	if err := row(ctx, conn, sqlName, []any{*id}, &name); err != nil {
		return "", err
	}
	f.names[*id] = name
	return name, nil
}

func row(ctx context.Context, conn *pgx.Conn, query string, args []any, into ...any) error {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	err := conn.QueryRow(ctx, query, append([]any{pgx.QueryExecModeExec}, args...)...).Scan(into...)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	return err
}

const (
	sqlName = `select fullname from headway.appuser where id = $1`

	sqlHome = `select coalesce(project_id, 0) from headway.channel where name = $1`

	sqlProjects = `
select p.id, p.name, s.version
from headway.project p
join headway.shared_progress s on s.project_id = p.id
where p.id = any ($1) or $1 is null and p.archived_at is null
order by p.id`

	sqlCustomers = `
select m.project_id, m.user_id, u.fullname
from headway.member m
join headway.appuser u on u.id = m.user_id
where m.project_id = any ($1) and m.role = 'customer'
order by m.project_id, m.user_id`

	// The parts that headway.progress adds up: every row is read once, however many customers share it.
	sqlProgress = `
select c.project_id, coalesce(c.user_id, 0), c.done, c.total
from headway.current_progress c
where c.project_id = any ($1)`

	messageColumns = `m.id, m.sender, m.channel, left(m.content, 1000), m.seq, m.kind, m.task_id, m.sent_at`

	sqlMessage = `select ` + messageColumns + ` from headway.message m where m.id = $1`

	sqlRecent = `
select ` + messageColumns + `
from headway.message m
where m.channel !~ '^user_[0-9]+$'
order by m.id desc
limit $1`

	// From each of the project's channels, which the index has in order.
	sqlRecentOfProject = `
select ` + messageColumns + `
from headway.channel c
cross join lateral (
  select * from headway.message m where m.channel = c.name order by m.seq desc limit $1
) m
where c.project_id = $2 or c.name = 'broadcast'
order by m.id desc
limit $1`

	sqlLoud = `select headway.setting('notify_payload') <> 'off' and pg_notification_queue_usage() < 0.5`
)

// read reads everything, in one snapshot, and reports whether anything is notified at all.
func (f *Follower) read(ctx context.Context, conn *pgx.Conn) (loud bool, err error) {
	var only []int64
	if f.Project != 0 {
		only = []int64{f.Project}
	}
	var projects []*Project
	var recent []Message
	err = inSnapshot(ctx, conn, func(ctx context.Context, tx pgx.Tx) error {
		if projects, err = readProjects(ctx, tx, only); err != nil {
			return err
		}
		query, args := sqlRecent, []any{pgx.QueryExecModeExec, keep}
		if f.Project != 0 {
			query, args = sqlRecentOfProject, append(args, f.Project)
		}
		rows, err := tx.Query(ctx, query, args...)
		if err != nil {
			return fmt.Errorf("read messages: %w", err)
		}
		if recent, err = pgx.CollectRows(rows, scanMessage); err != nil {
			return fmt.Errorf("read messages: %w", err)
		}
		return tx.QueryRow(ctx, sqlLoud, pgx.QueryExecModeExec).Scan(&loud)
	})
	if err != nil {
		return false, err
	}
	if f.Project != 0 && len(projects) == 0 {
		return false, &NoProjectError{f.Project}
	}
	for _, p := range projects {
		for _, c := range p.Customers {
			f.names[c.UserID] = c.Name
		}
	}

	f.mu.Lock()
	moves := f.board.replace(projects)
	f.mu.Unlock()
	first := !f.started
	f.started = true
	if !first {
		f.emit(Event{Kind: Read, Moves: moves})
	}
	slices.Reverse(recent)
	if !first {
		// What was missed meanwhile.
		for _, m := range recent {
			if m.Seq > f.lastSeq[m.Channel] {
				f.lastSeq[m.Channel] = m.Seq
				if err := f.say(ctx, conn, m); err != nil {
					return false, err
				}
			}
		}
		return loud, nil
	}
	for i := range recent {
		m := &recent[i]
		f.lastSeq[m.Channel] = max(f.lastSeq[m.Channel], m.Seq)
		if m.ProjectID, err = f.home(ctx, conn, m.Channel); err != nil {
			return false, err
		}
		if m.SenderName, err = f.name(ctx, conn, m.Sender); err != nil {
			return false, err
		}
	}
	f.mu.Lock()
	f.board.Recent = recent
	f.mu.Unlock()
	f.emit(Event{Kind: Read})
	return loud, nil
}

// readProject reads one project again.
func (f *Follower) readProject(ctx context.Context, conn *pgx.Conn, id int64) error {
	var projects []*Project
	err := inSnapshot(ctx, conn, func(ctx context.Context, tx pgx.Tx) (err error) {
		projects, err = readProjects(ctx, tx, []int64{id})
		return err
	})
	if err != nil {
		return err
	}
	f.mu.Lock()
	all := slices.DeleteFunc(slices.Clone(f.board.Projects), func(p *Project) bool { return p.ID == id })
	all = append(all, projects...)
	slices.SortFunc(all, func(a, b *Project) int { return cmp.Compare(a.ID, b.ID) })
	moves := f.board.replace(all)
	f.mu.Unlock()
	f.emit(Event{Kind: Moved, Moves: moves})
	return nil
}

func readProjects(ctx context.Context, tx pgx.Tx, only []int64) ([]*Project, error) {
	rows, err := tx.Query(ctx, sqlProjects, pgx.QueryExecModeExec, only)
	if err != nil {
		return nil, fmt.Errorf("read projects: %w", err)
	}
	projects, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (*Project, error) {
		p := &Project{}
		return p, row.Scan(&p.ID, &p.Name, &p.Version)
	})
	if err != nil {
		return nil, fmt.Errorf("read projects: %w", err)
	}
	board := Board{Projects: projects}
	ids := make([]int64, len(projects))
	for i, p := range projects {
		ids[i] = p.ID
	}

	var project, user int64
	var name string
	rows, err = tx.Query(ctx, sqlCustomers, pgx.QueryExecModeExec, ids)
	if err == nil {
		_, err = pgx.ForEachRow(rows, []any{&project, &user, &name}, func() error {
			p := board.Project(project)
			p.Customers = append(p.Customers, &Customer{UserID: user, Name: name})
			return nil
		})
	}
	if err != nil {
		return nil, fmt.Errorf("read customers: %w", err)
	}

	var part Part
	rows, err = tx.Query(ctx, sqlProgress, pgx.QueryExecModeExec, ids)
	if err == nil {
		_, err = pgx.ForEachRow(rows, []any{&project, &user, &part.Done, &part.Total}, func() error {
			p := board.Project(project)
			if user == 0 {
				p.Shared = part
			} else if c := p.Customer(user); c != nil { // not of those who left
				c.Own = part
			}
			return nil
		})
	}
	if err != nil {
		return nil, fmt.Errorf("read progress: %w", err)
	}
	return projects, nil
}

func scanMessage(row pgx.CollectableRow) (m Message, err error) {
	return m, row.Scan(&m.ID, &m.Sender, &m.Channel, &m.Content, &m.Seq, &m.Kind, &m.TaskID, &m.SentAt)
}

// inSnapshot runs queries that see the same.
func inSnapshot(ctx context.Context, conn *pgx.Conn, do func(context.Context, pgx.Tx) error) error {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	return pgx.BeginTxFunc(ctx, conn, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		// To compile the views takes longer than to read them.
		if _, err := tx.Exec(ctx, `set local jit = off`); err != nil {
			return err
		}
		return do(ctx, tx)
	})
}
