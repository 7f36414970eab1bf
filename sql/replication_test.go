package sql_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"headway/internal/pgtest"
	"headway/internal/postgres"
	"headway/sql"
)

// TestADatabaseMovesByReplication has a second server follow a first one and take over from it.
func TestADatabaseMovesByReplication(t *testing.T) {
	t.Parallel()
	from := everything(t, map[string]string{"wal_level": "logical"})
	target := startServer(t, postgres.Options{}).create(t)
	first, second := from.Conn(t), target.Conn(t)

	target.migrate(t)
	target.load(t, withoutTriggers, withoutSeeds)
	pgtest.Execute(t, first, "create publication headway for tables in schema headway")
	pgtest.Execute(t, second, fmt.Sprintf("create subscription headway connection '%s' publication headway", from.URL))
	following := func(until string) {
		t.Helper()
		pgtest.Eventually(t, time.Minute, func() bool {
			return value[bool](t, second, "select bool_and(r.srsubstate = 'r') from pg_subscription_rel r") &&
				value[bool](t, first, `select coalesce(bool_and(s.replay_lsn >= $1::pg_lsn), false)
					from pg_stat_replication s where s.application_name = 'headway'`, until)
		}, "the second server does not follow")
	}
	now := func() string { return value[string](t, first, "select pg_current_wal_lsn()::text") }
	following(now())

	// Rows come, change and go, and the fold takes facts away.
	pgtest.Execute(t, first, `
		insert into headway.project (name) values ('Soon gone, too');
		select headway.fold(), headway.fold();
		select headway.post(4, 'design_review', 'Is anybody there?'), headway.mark_read(1, 'design_review');
		select headway.complete_task(9, 1), headway.reopen_task(1, 1, 4);
		delete from headway.project where name = 'Soon gone, too'`)
	following(now())
	pgtest.Execute(t, second, "drop subscription headway")
	target.load(t, strings.Join(column(t, first, `
		select format('select setval(%L, %s);', q.schemaname || '.' || q.sequencename, q.last_value)
		from pg_sequences q
		where q.schemaname = 'headway' and q.last_value is not null`), "\n"))
	moved(t, from, target)
}

// TestADatabaseMayPublishAllTables migrates up and down where others replicate everything, as change data capture and
// managed servers' upgrades do. Updates and deletes are then refused in tables by whose rows nobody can tell them apart.
func TestADatabaseMayPublishAllTables(t *testing.T) {
	t.Parallel()
	ours, terns := pgtest.Empty(t), pgtest.Empty(t)
	for _, db := range []*pgtest.DB{ours, terns} {
		pgtest.Execute(t, db.Conn(t), "create publication everything for all tables")
	}
	tern(t, terns, "last")
	conn := ours.Conn(t)
	if err := sql.Migrate(t.Context(), conn, sql.Latest(), nil); err != nil {
		t.Fatal(err)
	}
	if found := column(t, conn, `
		select c.relname from pg_class c
		where c.relnamespace = 'headway'::regnamespace and c.relkind = 'r' and c.relreplident <> 'f'
		  and not exists (select from pg_index i where i.indrelid = c.oid and i.indisprimary)`); len(found) > 0 {
		t.Errorf("rows without an identity: %v", found)
	}
	if err := sql.Migrate(t.Context(), conn, 0, nil); err != nil {
		t.Error(err)
	}
}
