package live

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/jackc/pgx/v5"
)

// lookUp looks up something by its key. If there is no such thing, into stays as it is.
func lookUp(ctx context.Context, conn *pgx.Conn, into any, query string, key any) error {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	err := conn.QueryRow(ctx, query, key).Scan(into)
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
where (p.id = any ($1) or $1 is null) and (p.archived_at is null or $2)
order by p.id`

	sqlCustomers = `
select m.project_id, m.user_id, u.fullname
from headway.member m
join headway.appuser u on u.id = m.user_id
where m.project_id = any ($1) and m.role = 'customer'
order by m.project_id, m.user_id`

	// The parts that headway.progress sums: every row is read once, however many customers share it.
	sqlProgress = `
select c.project_id, coalesce(c.user_id, 0), c.done, c.total
from headway.current_progress c
where c.project_id = any ($1)`

	messageColumns = `m.id, m.sender, m.channel, left(m.content, 1000), m.seq, m.kind, m.task_id, m.sent_at`

	sqlBetween = `
select ` + messageColumns + `
from headway.message m
where m.channel = $1 and m.seq > $2 and m.seq <= $3
order by m.seq desc
limit $4`

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

	sqlLastSeqs = `
select n.name, coalesce(c.last_seq, 0)
from unnest($1::text[]) n (name)
left join headway.channel c on c.name = n.name`

	// No row: the policies hide what every database has.
	sqlLoud = `
select headway.notify_mode() <> 'off'
from headway.channel c
where c.name = 'broadcast'`
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
		if projects, err = f.readProjects(ctx, tx, only); err != nil {
			return err
		}
		query, args := sqlRecent, []any{keep}
		if f.Project != 0 {
			query, args = sqlRecentOfProject, append(args, f.Project)
		}
		rows, _ := tx.Query(ctx, query, args...) // CollectRows returns its error
		if recent, err = pgx.CollectRows(rows, scanMessage); err != nil {
			return fmt.Errorf("read messages: %w", err)
		}
		err = tx.QueryRow(ctx, sqlLoud).Scan(&loud)
		if errors.Is(err, pgx.ErrNoRows) {
			return ErrHidden
		} else if err != nil {
			return fmt.Errorf("ask whether notifications are on: %w", err)
		}
		return nil
	})
	if err != nil {
		return false, err
	}
	if f.Project != 0 && len(projects) == 0 {
		return false, &noProjectError{f.Project}
	}
	for _, p := range projects {
		for _, c := range p.Customers {
			f.names[c.UserID] = c.Name
		}
	}

	f.mu.Lock()
	moves := f.board.replace(projects)
	f.mu.Unlock()
	slices.Reverse(recent)
	if !f.started {
		return loud, f.start(ctx, conn, recent)
	}
	f.emit(Event{Kind: Read, Moves: moves})
	return loud, f.sayMissed(ctx, conn, recent)
}

// goBack forgets messages that the database does not have: it may be a standby that lagged behind before it was promoted,
// and its next messages have their numbers. A channel that it does not have may be made there anew.
func (f *Follower) goBack(ctx context.Context, conn *pgx.Conn) error {
	return inSnapshot(ctx, conn, func(ctx context.Context, tx pgx.Tx) error {
		var channel string
		var last int64
		rows, _ := tx.Query(ctx, sqlLastSeqs, slices.Collect(maps.Keys(f.lastSeq))) // ForEachRow returns its error
		_, err := pgx.ForEachRow(rows, []any{&channel, &last}, func() error {
			f.lastSeq[channel] = min(f.lastSeq[channel], last)
			return nil
		})
		if err != nil {
			return fmt.Errorf("read channels: %w", err)
		}
		return nil
	})
}

// start takes over the latest messages when something is read for the first time.
func (f *Follower) start(ctx context.Context, conn *pgx.Conn, recent []Message) (err error) {
	for i := range recent {
		m := &recent[i]
		f.lastSeq[m.Channel] = max(f.lastSeq[m.Channel], m.Seq)
		f.firstID = max(f.firstID, m.ID)
		if m.ProjectID, err = f.home(ctx, conn, m.Channel); err != nil {
			return err
		}
		if m.SenderName, err = f.name(ctx, conn, m.Sender); err != nil {
			return err
		}
	}
	f.mu.Lock()
	f.board.Recent = recent
	f.mu.Unlock()
	f.started = true
	f.emit(Event{Kind: Read})
	return nil
}

// sayMissed says those of the latest messages that were not heard. From a quiet channel one may be an old message, while
// newer ones from others are gone.
func (f *Follower) sayMissed(ctx context.Context, conn *pgx.Conn, recent []Message) error {
	missed := slices.DeleteFunc(recent, func(m Message) bool {
		last, known := f.lastSeq[m.Channel]
		return known && m.Seq <= last || !known && m.ID <= f.firstID
	})
	// Of two that were sent at once, the one with the lower id may have the higher seq.
	slices.SortStableFunc(missed, func(a, b Message) int { return a.SentAt.Compare(b.SentAt) })
	for _, m := range missed {
		f.lastSeq[m.Channel] = max(f.lastSeq[m.Channel], m.Seq)
		if err := f.say(ctx, conn, m); err != nil {
			return err
		}
	}
	return nil
}

// readProject reads one project again.
func (f *Follower) readProject(ctx context.Context, conn *pgx.Conn, id int64) error {
	var projects []*Project
	err := inSnapshot(ctx, conn, func(ctx context.Context, tx pgx.Tx) (err error) {
		projects, err = f.readProjects(ctx, tx, []int64{id})
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

// readProjects reads projects, by default all. An archived project is followed only if it is the one asked for.
func (f *Follower) readProjects(ctx context.Context, tx pgx.Tx, only []int64) ([]*Project, error) {
	rows, _ := tx.Query(ctx, sqlProjects, only, f.Project != 0) // what reads the rows returns the error, also below
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
	rows, _ = tx.Query(ctx, sqlCustomers, ids)
	_, err = pgx.ForEachRow(rows, []any{&project, &user, &name}, func() error {
		p := board.Project(project)
		p.Customers = append(p.Customers, &Customer{UserID: user, Name: name})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read customers: %w", err)
	}

	var part Part
	rows, _ = tx.Query(ctx, sqlProgress, ids)
	_, err = pgx.ForEachRow(rows, []any{&project, &user, &part.Done, &part.Total}, func() error {
		p := board.Project(project)
		if user == 0 {
			p.Shared = part
		} else if c := p.Customer(user); c != nil { // not of people who left
			c.Own = part
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read progress: %w", err)
	}
	return projects, nil
}

func scanMessage(row pgx.CollectableRow) (m Message, err error) {
	return m, row.Scan(&m.ID, &m.Sender, &m.Channel, &m.Content, &m.Seq, &m.Kind, &m.TaskID, &m.SentAt)
}

// inSnapshot runs queries in one snapshot, in which unqualified names are PostgreSQL's.
func inSnapshot(ctx context.Context, conn *pgx.Conn, do func(context.Context, pgx.Tx) error) error {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	return pgx.BeginTxFunc(ctx, conn, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		// Compiling the views takes longer than reading them.
		if _, err := tx.Exec(ctx, `set local search_path = pg_catalog, pg_temp; set local jit = off`); err != nil {
			return err
		}
		return do(ctx, tx)
	})
}
