package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"
)

// store reads and writes as an end user.
type store struct {
	pool      *pgxpool.Pool
	free      chan struct{} // a semaphore for the pool's connections, except one, which is left to the worker
	strangers chan struct{} // another one for requests with a ticket, of which anybody may send any number
}

// newStore returns a store for a pool of this many connections.
func newStore(pool *pgxpool.Pool, connections int) *store {
	return &store{pool: pool, free: make(chan struct{}, max(1, connections-1)), strangers: make(chan struct{}, 2)}
}

// enter waits for a place in a semaphore and returns what frees it.
func enter(ctx context.Context, room chan struct{}) (leave func(), err error) {
	select {
	case room <- struct{}{}:
		return func() { <-room }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

const (
	// Unqualified names are PostgreSQL's, whatever others have created in public. The policies make plans so large that
	// compiling them would take longer than anything that is asked here. Clients get intervals as documented, whatever the
	// database's IntervalStyle.
	sqlIdentify = `
select set_config('headway.user_id', $1, true), set_config('search_path', 'pg_catalog, pg_temp', true), set_config('jit', 'off', true),
  set_config('intervalstyle', 'postgres', true)`

	// How much somebody has read of a subscription s: up to the cursor, and what is marked above it.
	sqlRead = `s.read_seq + (select count(*) from headway.seen e where e.channel = s.channel and e.user_id = s.user_id)`

	sqlChannels = `
select c.name, c.last_seq, coalesce(p.version, 0), ` + sqlRead + `, s.muted
from headway.subscription s
join headway.channel c on c.name = s.channel
left join headway.shared_progress p on p.project_id = c.project_id
where s.user_id = $1`

	sqlCursor = `
select ` + sqlRead + `, s.muted, json_build_object(
  'type', 'read', 'channel', s.channel, 'last_seq', c.last_seq, 'read_seq', s.read_seq, 'unread', coalesce(u.messages, 0), 'muted', s.muted
)
from headway.subscription s
join headway.channel c on c.name = s.channel
left join headway.unread u on u.user_id = s.user_id and u.channel = s.channel
where s.user_id = $1 and s.channel = $2`

	sqlSnapshot = `select headway.snapshot($1)`

	// A message m, as it is sent to clients and returned to their requests.
	sqlMessage = `json_build_object(
  'type', 'message', 'id', m.id, 'channel', m.channel, 'seq', m.seq, 'kind', m.kind, 'sender', m.sender,
  'fullname', headway.sender_name(m.id), 'content', m.content, 'task_id', m.task_id, 'data', m.data, 'sent_at', m.sent_at
)`

	sqlMessages = `
select m.seq, ` + sqlMessage + `
from (
  select m.*, sum(octet_length(m.content) + coalesce(octet_length(m.data::text), 0)) over (
    order by m.seq rows between unbounded preceding and 1 preceding
  ) as bytes_before
  from headway.messages_since($1, $2, $3) m
) m
where coalesce(m.bytes_before, 0) < $4
order by m.seq`

	sqlShared = `
select s.version, s.done, s.total from headway.current_shared_progress s where s.project_id = $1`

	sqlOwn = `
select s.version, s.done, s.total, o.done, o.total, o.percent
from headway.current_shared_progress s
left join headway.current_bar($1, $2) o on true
where s.project_id = $1`
)

// as calls do in a transaction as an end user, so that the database's policies decide what it sees and may do.
func (s *store) as(ctx context.Context, userID int64, do func(tx pgx.Tx) error) error {
	leave, err := enter(ctx, s.free)
	if err != nil {
		return err
	}
	defer leave()
	return pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		var batch pgx.Batch
		batch.Queue("set local role headway_user")
		batch.Queue(sqlIdentify, fmt.Sprint(userID))
		if err := tx.SendBatch(ctx, &batch).Close(); err != nil {
			return fmt.Errorf("act as an end user: %w", err)
		}
		return do(tx)
	})
}

// ask runs one query as an end user and collects its rows. It takes a single round trip, so that nobody else waits for
// its next step to reach the database.
func ask[T any](ctx context.Context, s *store, userID int64, scan pgx.RowToFunc[T], query string, arguments ...any) (found []T, err error) {
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Release() // closes it if its transaction is still open
	var batch pgx.Batch
	batch.Queue("begin")
	batch.Queue("set local role headway_user")
	batch.Queue(sqlIdentify, fmt.Sprint(userID))
	batch.Queue(query, arguments...).Query(func(rows pgx.Rows) error {
		found, err = pgx.CollectRows(rows, scan)
		return err
	})
	batch.Queue("commit")
	if err := conn.SendBatch(ctx, &batch).Close(); err != nil {
		return nil, err
	}
	return found, nil
}

// one returns the only row, or [pgx.ErrNoRows].
func one[T any](found []T, err error) (row T, _ error) {
	switch {
	case err != nil:
		return row, err
	case len(found) == 0:
		return row, pgx.ErrNoRows
	}
	return found[0], nil
}

// message is a row of a channel, ready to send.
type message struct {
	Seq  int64
	JSON []byte
}

// room is how much of a channel is read at a time: a number of messages, or bytes of text, whichever is reached first.
type room struct{ messages, bytes int }

// page is how much is read at a time, and the most that a client may have missed and still resume.
var page = room{messages: 500, bytes: 1 << 20}

// take subtracts the room that messages need, and reports whether any is left.
func (r *room) take(found []message) bool {
	r.messages -= len(found)
	for _, m := range found {
		r.bytes -= len(m.JSON)
	}
	return r.messages > 0 && r.bytes > 0
}

// messages returns those of a channel after seq, in order, as far as there is room; none if the person may not read it.
func (s *store) messages(ctx context.Context, userID int64, channel string, seq int64, r room) ([]message, error) {
	found, err := ask(ctx, s, userID, pgx.RowToStructByPos[message], sqlMessages, channel, seq, r.messages, r.bytes)
	if err != nil {
		return nil, fmt.Errorf("read messages of %s: %w", channel, err)
	}
	return found, nil
}

// state is how much a person has read of a channel, and whether they muted it.
type state struct {
	Read  int64
	Muted bool
}

// subscription is the position of a channel and its project, and how much somebody has read.
type subscription struct {
	Channel      string
	Seq, Version int64
	state
}

// channels returns a person's subscriptions.
func (s *store) channels(ctx context.Context, userID int64) ([]subscription, error) {
	found, err := ask(ctx, s, userID, pgx.RowToStructByPos[subscription], sqlChannels, userID)
	if err != nil {
		return nil, fmt.Errorf("read subscriptions: %w", err)
	}
	return found, nil
}

// cursor is how much a person has read of a channel, and the event that says so.
type cursor struct {
	state
	JSON []byte
}

func (s *store) cursor(ctx context.Context, userID int64, channel string) (cursor, error) {
	found, err := one(ask(ctx, s, userID, pgx.RowToStructByPos[cursor], sqlCursor, userID, channel))
	if err != nil {
		return cursor{}, fmt.Errorf("read the cursor in %s: %w", channel, err)
	}
	return found, nil
}

// own returns the shared part and a customer's own part, at the same moment; nil for staff.
func (s *store) own(ctx context.Context, userID, projectID int64) (all share, own *bar, err error) {
	found, err := one(ask(ctx, s, userID, pgx.RowToStructByPos[struct {
		share
		OwnDone, OwnTotal *int64
		Percent           *int
	}], sqlOwn, projectID, userID))
	if err != nil {
		return share{}, nil, fmt.Errorf("read progress: %w", err)
	}
	if found.OwnDone != nil {
		own = &bar{Done: *found.OwnDone, Total: *found.OwnTotal, Percent: *found.Percent}
	}
	return found.share, own, nil
}

// snapshot is the result of headway.snapshot(): the text, and the parts that the gateway needs.
type snapshot struct {
	text     json.RawMessage
	Projects []struct {
		ProjectID int64 `json:"project_id"`
		Version   int64 `json:"version"`
	} `json:"projects"`
	Channels []struct {
		Channel string `json:"channel"`
		LastSeq int64  `json:"last_seq"`
		ReadSeq int64  `json:"read_seq"`
		Muted   bool   `json:"muted"`
	} `json:"channels"`
}

// position returns the position of a client that has it.
func (s *snapshot) position() positions {
	p := positions{Channels: map[string]int64{}, Projects: map[int64]int64{}}
	for _, c := range s.Channels {
		p.Channels[c.Channel] = c.LastSeq
	}
	for _, project := range s.Projects {
		p.Projects[project.ProjectID] = project.Version
	}
	return p
}

// errNobody says that there is no such person.
var errNobody = errors.New("the token's subject is not in headway.appuser")

func (s *store) snapshot(ctx context.Context, userID int64) (*snapshot, error) {
	text, err := one(ask(ctx, s, userID, pgx.RowTo[[]byte], sqlSnapshot, userID))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read the snapshot: %w", err)
	case text == nil:
		return nil, errNobody
	}
	snap := &snapshot{text: text}
	if err := json.Unmarshal(snap.text, snap); err != nil {
		return nil, fmt.Errorf("read the snapshot: %w", err)
	}
	return snap, nil
}

// share is the part of a project's progress that all its customers have in common.
type share struct {
	Version     int64
	Done, Total int64
}

// shared returns the shared part, or [pgx.ErrNoRows] if the person is not a member.
func (s *store) shared(ctx context.Context, userID, projectID int64) (share, error) {
	found, err := one(ask(ctx, s, userID, pgx.RowToStructByPos[share], sqlShared, projectID))
	if err != nil {
		return share{}, fmt.Errorf("read the progress of project %d: %w", projectID, err)
	}
	return found, nil
}

// errNoTicket says that this ticket was never issued, was used, or has expired.
var errNoTicket = errors.New("not a ticket")

// redeem returns whom a ticket is for, or errNoTicket. A ticket is valid once.
func (s *store) redeem(ctx context.Context, ticket string) (found Identity, err error) {
	var id pgtype.UUID
	if err := id.Scan(ticket); err != nil {
		return Identity{}, errNoTicket
	}
	ctx, cancel := context.WithTimeout(ctx, reach)
	defer cancel()
	for _, room := range []chan struct{}{s.strangers, s.free} {
		leave, err := enter(ctx, room)
		if err != nil {
			return Identity{}, err
		}
		defer leave()
	}
	err = s.pool.QueryRow(ctx, "select user_id, expires_at from headway.redeem_ticket($1)", id).Scan(&found.UserID, &found.Expires)
	if errors.Is(err, pgx.ErrNoRows) {
		err = errNoTicket
	}
	return found, err
}

// issue makes a ticket that lets a person listen until their token expires.
func (s *store) issue(ctx context.Context, identity Identity) (ticket string, err error) {
	leave, err := enter(ctx, s.free)
	if err != nil {
		return "", err
	}
	defer leave()
	err = s.pool.QueryRow(ctx, "select headway.issue_ticket($1, $2)::text", identity.UserID, identity.Expires).Scan(&ticket)
	return ticket, err
}

// reach bounds how long the database may take for one request.
const reach = 10 * time.Second
