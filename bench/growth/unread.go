package growth

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"headway/bench/lab"
)

// unreadAt is how much there is to read.
type unreadAt struct {
	messages int // in one channel, that nobody has read
	people   int // who mark them read, one after the other
	reads    int
}

func unreadPlan(quick bool) unreadAt {
	if quick {
		return unreadAt{messages: 50_000, people: 10, reads: 50}
	}
	return unreadAt{messages: 1_000_000, people: 100, reads: 500}
}

// UnreadResult is what it costs to be far behind.
type UnreadResult struct {
	Messages int           // one person is behind by
	Read     time.Duration // to select from headway.unread for that person
	MarkRead time.Duration // to mark everything read
	Rows     int64         // that marking wrote
}

// As the triggers would leave it. Through them, a million messages in one transaction are a million versions of one
// channel's row.
const sqlUnread = `
insert into headway.message (sender, channel, content, seq)
select 1, 'project_1', 'This is message ' || i || ', as long as what people write to each other in a project.', i
from generate_series(1, %d) i`

func measureUnread(ctx context.Context, l *lab.Lab, at unreadAt) (UnreadResult, error) {
	db, err := l.Headway(ctx, "unread", func(ctx context.Context, conn *pgx.Conn) error {
		return lab.Execute(ctx, conn,
			fmt.Sprintf(`insert into headway.appuser (id, fullname) select i, 'Person ' || i from generate_series(1, %d) i`, at.people+2),
			`insert into headway.project (id, name) values (1, 'Garden')`,
			`insert into headway.member (project_id, user_id, role)
			select 1, u.id, case u.id when 1 then 'staff' else 'customer' end from headway.appuser u`,
			`set session_replication_role = replica`,
			fmt.Sprintf(sqlUnread, at.messages),
			`reset session_replication_role`,
			`update headway.channel set last_seq = (select max(seq) from headway.message) where name = 'project_1'`,
		)
	})
	if err != nil {
		return UnreadResult{}, err
	}
	conn, err := db.Connect(ctx)
	if err != nil {
		return UnreadResult{}, err
	}
	defer conn.Close(context.WithoutCancel(ctx))

	result := UnreadResult{Messages: at.messages}
	var reads, marks []time.Duration
	for range at.reads {
		var messages int
		began := time.Now()
		err := conn.QueryRow(ctx, `select u.messages from headway.unread u where u.user_id = $1`, 2).Scan(&messages)
		if err != nil {
			return UnreadResult{}, err
		}
		reads = append(reads, time.Since(began))
		if messages < min(at.messages, 1000) {
			return UnreadResult{}, fmt.Errorf("headway.unread shows %d messages", messages)
		}
	}
	for user := range at.people {
		var cursor int64
		began := time.Now()
		if err := conn.QueryRow(ctx, `select headway.mark_read($1, 'project_1')`, user+3).Scan(&cursor); err != nil {
			return UnreadResult{}, err
		}
		marks = append(marks, time.Since(began))
		if cursor != int64(at.messages) {
			return UnreadResult{}, fmt.Errorf("the cursor is at %d", cursor)
		}
	}
	result.Read, result.MarkRead = lab.Median(reads), lab.Median(marks)
	result.Rows, err = rowsWritten(ctx, conn, `select headway.mark_read(2, 'project_1')`)
	return result, err
}

// rowsWritten returns how many rows a statement inserts, updates and deletes, and takes it back.
func rowsWritten(ctx context.Context, conn *pgx.Conn, statement string) (rows int64, err error) {
	tx, err := conn.Begin(ctx)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, tx.Rollback(context.WithoutCancel(ctx))) }()
	// What this session did before may still be in the counts.
	var before, after int64
	if err := tx.QueryRow(ctx, sqlRowsWritten).Scan(&before); err != nil {
		return 0, err
	}
	if _, err := tx.Exec(ctx, statement); err != nil {
		return 0, err
	}
	err = tx.QueryRow(ctx, sqlRowsWritten).Scan(&after)
	return after - before, err
}

const sqlRowsWritten = `
select sum(t.n_tup_ins + t.n_tup_upd + t.n_tup_del)::bigint from pg_stat_xact_user_tables t where t.schemaname = 'headway'`
