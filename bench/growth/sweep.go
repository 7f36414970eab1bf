package growth

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"headway/bench/lab"
)

// sweepAt is how many people are looked at for mail.
type sweepAt struct {
	projects    int
	people      int // in each project; every person is in ten projects
	due         int
	repetitions int
}

func sweepPlan(quick bool) sweepAt {
	if quick {
		return sweepAt{projects: 100, people: 100, due: 50, repetitions: 3}
	}
	return sweepAt{projects: 1000, people: 1000, due: 1000, repetitions: 7}
}

// projectsOfEach is in how many projects a person is.
const projectsOfEach = 10

// SweepResult is what it takes to find and reserve the digests that are due.
type SweepResult struct {
	Case          string // what everybody else has
	Subscriptions int
	Due           int
	Time          time.Duration
}

// A person's own channel and broadcast are empty, so only those of projects count as subscriptions here; all of them
// are looked at.
const (
	sqlSweepPeople = `
insert into headway.appuser (id, fullname, email)
select i, 'Person ' || i, 'person' || i || '@example.com' from generate_series(1, %d) i`

	sqlSweepProjects = `insert into headway.project (id, name) select i, 'Project ' || i from generate_series(1, %d) i`

	// Person i is in the projects from 1+(i-1)%%n on.
	sqlSweepMembers = `
insert into headway.member (project_id, user_id, role)
select 1 + (u.id - 1 + k) %% %d, u.id, 'customer' from headway.appuser u, generate_series(0, %d) k`

	// Of the ten messages in each project, five are older than anybody waits. Nobody has sent them.
	sqlSweepMessages = `
insert into headway.message (sender, channel, content, seq, kind, sent_at)
select null, 'project_' || p.id, 'completed "Task ' || s || '"', s, 'task_completed',
  now() - case when s <= 5 then interval '1 day' else interval '10 minutes' end + s * interval '1 second'
from headway.project p, generate_series(1, 10) s`

	sqlSweepCursors = `
update headway.subscription s set read_seq = $1, mailed_seq = $1 where s.channel ~ '^project_\d+$' and s.read_seq < $1`

	// Persons who are due have read nothing in one project.
	sqlSweepDue = `
update headway.subscription s set read_seq = 0, mailed_seq = 0
where s.user_id <= $1 and s.channel = 'project_' || (1 + (s.user_id - 1) % $2)`
)

func measureSweeps(ctx context.Context, l *lab.Lab, at sweepAt) ([]SweepResult, error) {
	people := at.projects * at.people / projectsOfEach
	db, err := l.Headway(ctx, "sweep", func(ctx context.Context, conn *pgx.Conn) error {
		return lab.Execute(ctx, conn,
			fmt.Sprintf(sqlSweepPeople, people),
			fmt.Sprintf(sqlSweepProjects, at.projects),
			// What joining means for the bars is of no interest here, and a million recounts.
			`alter table headway.member disable trigger member_after_insert`,
			fmt.Sprintf(sqlSweepMembers, at.projects, projectsOfEach-1),
			`alter table headway.member enable trigger member_after_insert`,
			`insert into headway.subscription (channel, user_id) select 'project_' || m.project_id, m.user_id from headway.member m`,
			`set session_replication_role = replica`,
			sqlSweepMessages,
			`reset session_replication_role`,
			`update headway.channel set last_seq = 10 where name ~ '^project_\d+$'`,
		)
	})
	if err != nil {
		return nil, err
	}
	conn, err := db.Connect(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Close(context.WithoutCancel(ctx))

	var results []SweepResult
	for _, c := range []struct {
		title  string
		cursor int
	}{
		{"everybody else has something unread, but not for long", 5},
		{"everybody else has read everything", 10},
	} {
		if _, err := conn.Exec(ctx, sqlSweepCursors, c.cursor); err != nil {
			return nil, err
		}
		// A cursor does not move back, except for those who measure.
		if err := lab.Execute(ctx, conn, `set session_replication_role = replica`); err != nil {
			return nil, err
		}
		if _, err := conn.Exec(ctx, sqlSweepDue, at.due, at.projects); err != nil {
			return nil, err
		}
		if err := lab.Execute(ctx, conn, `reset session_replication_role`, `vacuum analyze`, `checkpoint`); err != nil {
			return nil, err
		}
		result := SweepResult{Case: c.title, Due: at.due}
		count := `select count(*) from headway.subscription s`
		if err := conn.QueryRow(ctx, count).Scan(&result.Subscriptions); err != nil {
			return nil, err
		}
		var times []time.Duration
		for range at.repetitions {
			took, err := sweep(ctx, conn, at.due)
			if err != nil {
				return nil, err
			}
			times = append(times, took)
		}
		result.Time = lab.Median(times)
		results = append(results, result)
	}
	return results, nil
}

// sweep reserves what is due and takes it back.
func sweep(ctx context.Context, conn *pgx.Conn, due int) (took time.Duration, err error) {
	tx, err := conn.Begin(ctx)
	if err != nil {
		return 0, err
	}
	var reserved int
	began := time.Now()
	err = tx.QueryRow(ctx, `select headway.reserve_digests($1)`, 2*due).Scan(&reserved)
	took = time.Since(began)
	if err == nil && reserved != due {
		err = fmt.Errorf("%d digests were reserved rather than %d", reserved, due)
	}
	return took, errors.Join(err, tx.Rollback(context.WithoutCancel(ctx)), vacuum(ctx, conn))
}

// vacuum removes what a sweep that was taken back has left.
func vacuum(ctx context.Context, conn *pgx.Conn) error {
	return lab.Execute(ctx, conn, `vacuum headway.subscription, headway.digest, headway.digest_item`)
}
