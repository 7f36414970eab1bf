package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"headway/bench/lab"
	"headway/internal/listen"
	"headway/internal/pause"
	"headway/sql"
)

// patience is how long a notification may be overdue before it counts as lost.
const patience = 30 * time.Second

// replay is one measurement.
type replay struct {
	url         string
	connections int
	rate        float64 // completions a second; 0: as many as possible
}

// completion is a line of the file.
type completion struct {
	TaskID      int64
	UserID      int64
	CompletedAt time.Time
}

// run loads a file, replays it and looks at what became of it.
func (r replay) run(ctx context.Context, file string) (result, error) {
	conn, err := pgx.Connect(ctx, r.url)
	if err != nil {
		return result{}, err
	}
	defer conn.Close(context.WithoutCancel(ctx))

	completions, err := load(ctx, conn, file)
	if err != nil {
		return result{}, fmt.Errorf("load %s: %w", file, err)
	}
	res := result{connections: r.connections, completions: len(completions), paced: r.rate > 0}

	if res.bareBefore, err = r.bare(ctx, conn, completions); err != nil {
		return result{}, fmt.Errorf("insert into a bare table: %w", err)
	}
	if err := r.headway(ctx, completions, &res); err != nil {
		return result{}, fmt.Errorf("complete: %w", err)
	}
	if res.bareAfter, err = r.bare(ctx, conn, completions); err != nil {
		return result{}, fmt.Errorf("insert into a bare table: %w", err)
	}
	return res, inspect(ctx, conn, &res)
}

const (
	createScratch = `
drop schema if exists replay cascade;
create schema replay;
create table replay.history (
  at timestamptz not null,
  project text not null,
  contributor text not null,
  task text not null,
  task_id bigint not null default nextval(pg_get_serial_sequence('headway.task', 'id'))
)`

	copyHistory = `copy replay.history (at, project, contributor, task) from stdin with (format csv, header match)`

	createAll = `
create table replay.person as
select p.contributor, nextval(pg_get_serial_sequence('headway.appuser', 'id')) as id
from (select distinct h.contributor from replay.history h) p;

create table replay.project as
select p.name, nextval(pg_get_serial_sequence('headway.project', 'id')) as id
from (select h.project as name from replay.history h group by h.project order by min(h.at)) p;

insert into headway.appuser (id, fullname) select p.id, 'Contributor ' || p.contributor from replay.person p;
insert into headway.project (id, name) select p.id, p.name from replay.project p;

insert into headway.member (project_id, user_id, role)
select distinct p.id, u.id, 'customer'
from replay.history h
join replay.project p on p.name = h.project
join replay.person u on u.contributor = h.contributor;

insert into headway.task (id, project_id, title)
select h.task_id, p.id, case when h.task ~ '\S' then h.task else 'Untitled' end
from replay.history h
join replay.project p on p.name = h.project;

analyze`

	selectHistory = `
select h.task_id, p.id as user_id, h.at as completed_at
from replay.history h
join replay.person p on p.contributor = h.contributor
order by h.at, h.task_id`
)

// load makes people, projects and tasks of a file and returns what there is to complete, in order.
func load(ctx context.Context, conn *pgx.Conn, file string) ([]completion, error) {
	lines, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer lines.Close()

	if err := sql.Migrate(ctx, conn, sql.Latest(), nil); err != nil {
		return nil, err
	}
	if _, err := conn.Exec(ctx, createScratch); err != nil {
		return nil, err
	}
	if _, err := conn.PgConn().CopyFrom(ctx, lines, copyHistory); err != nil {
		return nil, err
	}
	if _, err := conn.Exec(ctx, createAll); err != nil {
		return nil, err
	}
	rows, _ := conn.Query(ctx, selectHistory) // CollectRows returns its error
	completions, err := pgx.CollectRows(rows, pgx.RowToStructByName[completion])
	if err == nil && len(completions) == 0 {
		err = errors.New("there is no line in it")
	}
	return completions, err
}

const createBare = `
drop table if exists replay.bare;
create table replay.bare (
  task_id bigint not null,
  user_id bigint not null,
  completed_by bigint,
  completed_at timestamptz not null default now(),
  primary key (task_id, user_id)
)`

// bare inserts the same rows into a table that nothing hangs on, and returns how many a second.
func (r replay) bare(ctx context.Context, conn *pgx.Conn, completions []completion) (rate float64, err error) {
	if _, err := conn.Exec(ctx, createBare); err != nil {
		return 0, err
	}
	r.rate = 0
	_, rate, err = r.insert(ctx, "replay.bare", completions)
	return rate, err
}

// headway completes everything while a worker runs and a connection listens.
func (r replay) headway(ctx context.Context, completions []completion, res *result) error {
	stop, err := lab.StartWorker(ctx, r.url)
	if err != nil {
		return err
	}
	listener, err := pgx.Connect(ctx, r.url)
	if err != nil {
		return errors.Join(err, stop())
	}
	defer listener.Close(context.WithoutCancel(ctx))
	if _, err := listener.Exec(ctx, "listen headway_events"); err != nil {
		return errors.Join(err, stop())
	}

	var committed []time.Time
	var notified map[int64]time.Time
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		notified, err = receive(ctx, listener, len(completions))
		return err
	})
	group.Go(func() (err error) {
		committed, res.rate, err = r.insert(ctx, "headway.completion", completions)
		return err
	})
	if err := errors.Join(group.Wait(), stop()); err != nil {
		return err
	}
	for i, c := range completions {
		if at, ok := notified[c.TaskID]; ok {
			// Now and then the listener hears of a commit before the one who made it.
			res.delays = append(res.delays, max(0, at.Sub(committed[i])))
		}
	}
	slices.Sort(res.delays)
	return nil
}

// receive returns when the completion of each task was notified. It returns once it has heard of as many as expected,
// or of none for long.
func receive(ctx context.Context, listener *pgx.Conn, expected int) (map[int64]time.Time, error) {
	type notification struct {
		at      time.Time
		payload string
	}
	var received []notification // parsed later: it must not hold up the one that is measured
	for completed := 0; completed < expected; {
		n, err := listen.Next(ctx, listener, time.Now().Add(patience))
		if err != nil {
			return nil, err
		}
		if n == nil {
			break
		}
		if strings.Contains(n.Payload, `"task_completed"`) {
			received = append(received, notification{time.Now(), n.Payload})
			completed++
		}
	}
	notified := make(map[int64]time.Time, len(received))
	for _, n := range received {
		var message struct {
			TaskID int64 `json:"task_id"`
		}
		if err := json.Unmarshal([]byte(n.payload), &message); err != nil {
			return nil, fmt.Errorf("notification %s: %w", n.payload, err)
		}
		notified[message.TaskID] = n.at
	}
	return notified, nil
}

// insert inserts completions into a table, each in a transaction of its own, in order as far as several connections
// at once have one. It returns when each was committed, and how many were a second.
func (r replay) insert(ctx context.Context, table string, completions []completion) (committed []time.Time, rate float64, err error) {
	conns := make([]*pgx.Conn, r.connections)
	for i := range conns {
		if conns[i], err = pgx.Connect(ctx, r.url); err != nil {
			return nil, 0, err
		}
		defer conns[i].Close(context.WithoutCancel(ctx))
		statement := "insert into " + table + " (task_id, user_id, completed_at) values ($1, $2, $3)"
		if _, err := conns[i].Prepare(ctx, "insert", statement); err != nil {
			return nil, 0, err
		}
	}

	committed = make([]time.Time, len(completions))
	var next atomic.Int64
	group, ctx := errgroup.WithContext(ctx)
	began := time.Now()
	for _, conn := range conns {
		group.Go(func() error {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(completions) {
					return nil
				}
				if r.rate > 0 {
					due := began.Add(time.Duration(float64(i) / r.rate * float64(time.Second)))
					if !pause.For(ctx, time.Until(due)) {
						return ctx.Err()
					}
				}
				c := completions[i]
				if _, err := conn.Exec(ctx, "insert", c.TaskID, c.UserID, c.CompletedAt); err != nil {
					return err
				}
				committed[i] = time.Now()
			}
		})
	}
	err = group.Wait()
	return committed, float64(len(completions)) / time.Since(began).Seconds(), err
}
