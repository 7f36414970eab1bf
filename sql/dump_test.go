package sql_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"headway/internal/pgtest"
	"headway/internal/postgres"
	"headway/sql"
)

const (
	// withoutTriggers has rows arrive as they are. Foreign keys go unchecked, too; they held where the rows are from.
	withoutTriggers = "set session_replication_role = replica;\n"

	// withoutSeeds removes what a new schema has in it. A database with more than that refuses what follows.
	withoutSeeds = "delete from headway.setting; delete from headway.channel;\n"
)

// TestADatabaseMovesByDump moves a database to an empty cluster in every way that docs/backup.md tells, and then uses
// it. It comes from the PostgreSQL that has a pg_dump: for a newer server without one, this is an upgrade.
func TestADatabaseMovesByDump(t *testing.T) {
	t.Parallel()
	from := everything(t, nil)
	to := startServer(t, postgres.Options{})

	for way, move := range map[string]func(t *testing.T, target *site){
		"whole": func(t *testing.T, target *site) {
			target.load(t, from.dump(t))
		},
		"as an archive, in parallel": func(t *testing.T, target *site) {
			archive := filepath.Join(t.TempDir(), "archive")
			from.dump(t, "--format=custom", "--file="+archive)
			client(t, "pg_restore", "--exit-on-error", "--jobs=3", "--dbname="+target.URL, archive)
		},
		"without what else is in the database": func(t *testing.T, target *site) {
			full := from.server.create(t)
			full.load(t, from.dump(t))
			pgtest.Execute(t, full.Conn(t), "create schema shop create table customer (user_id bigint references headway.appuser)")
			target.load(t, full.dump(t, "--schema=headway"), full.dump(t, "--table="+sql.VersionTable))
		},
		"in sections": func(t *testing.T, target *site) {
			for _, section := range []string{"pre-data", "data", "post-data"} {
				target.load(t, from.dump(t, "--section="+section))
			}
		},
		"first the schema, then the data": func(t *testing.T, target *site) {
			target.load(t, from.dump(t, "--schema-only"))
			target.load(t, withoutTriggers, from.dump(t, "--data-only"))
		},
		"the data into a schema that headway made": func(t *testing.T, target *site) {
			target.migrate(t)
			target.load(t, withoutTriggers, withoutSeeds, from.dump(t, "--data-only", "--schema=headway"))
		},
	} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			target := to.create(t)
			move(t, target)
			moved(t, from, target)
		})
	}
}

// TestDataIsNotDoubledByTriggers has data arrive where triggers make some of it already.
func TestDataIsNotDoubledByTriggers(t *testing.T) {
	t.Parallel()
	from := everything(t, nil)
	to := startServer(t, postgres.Options{})
	data := from.dump(t, "--data-only", "--schema=headway")
	migrated := func(t *testing.T, target *site) { target.migrate(t) }

	for where, c := range map[string]struct {
		prepare func(t *testing.T, target *site)
		script  string
	}{
		"a schema that headway made": {
			prepare: migrated,
			script:  data,
		},
		"a schema that headway made, without what it put there": {
			prepare: migrated,
			script:  withoutTriggers + withoutSeeds + "set session_replication_role = origin;\n" + data,
		},
		"a schema from a dump": {
			prepare: func(t *testing.T, target *site) { target.load(t, from.dump(t, "--schema-only")) },
			script:  data,
		},
		"a database that is in use": {
			prepare: func(t *testing.T, target *site) {
				target.migrate(t)
				pgtest.Execute(t, target.Conn(t), aProject)
			},
			script: withoutTriggers + withoutSeeds + data,
		},
	} {
		t.Run(where, func(t *testing.T) {
			t.Parallel()
			target := to.create(t)
			c.prepare(t, target)
			before := target.rows(t)
			out, err := target.tryLoad(t, c.script)
			if err == nil || !strings.Contains(out, "duplicate key value violates unique constraint") {
				t.Errorf("%v: %s", err, out)
			}
			same(t, "what was there and what is", target.rows(t), before)
		})
	}
}

// TestADeletedProjectComesBack runs the scripts in docs/backup.md. What a backup has of other tables does not come back.
func TestADeletedProjectComesBack(t *testing.T) {
	db := everything(t, nil)
	doc, err := os.ReadFile("../docs/backup.md")
	if err != nil {
		t.Fatal(err)
	}
	scripts := regexp.MustCompile("(?s)```psql\n(.*?)```").FindAllStringSubmatch(string(doc), -1)
	if len(scripts) != 2 {
		t.Fatalf("%d scripts", len(scripts))
	}
	t.Chdir(t.TempDir())
	conn := db.Conn(t)
	rows := func() string {
		return regexp.MustCompile(`(?m)^headway\.(digest_item|shared_progress) .*\n`).ReplaceAllString(db.rows(t), "")
	}
	pgtest.Execute(t, conn, "select headway.fold()")
	before := rows()
	db.load(t, scripts[0][1])
	pgtest.Execute(t, conn, "delete from headway.project where id = 1")
	if rows() == before {
		t.Error("the project is still there")
	}
	db.load(t, scripts[1][1])
	same(t, "what was deleted and what came back", rows(), before)
	exact(t, conn, "brought back")
	pgtest.Execute(t, conn, "select headway.post(1, 'project_1', 'We are back.')")
}

// TestARestoredCopyCanBeSilenced has nobody mailed what was unread when the backup was made.
func TestARestoredCopyCanBeSilenced(t *testing.T) {
	t.Parallel()
	db := everything(t, nil)
	conn := db.Conn(t)
	const mail = "select headway.digests_to_send() + (select count(*)::integer from headway.due_digests('2100-01-01 12:00Z'))"
	if value[int](t, conn, mail) == 0 {
		t.Fatal("there is nothing to keep back")
	}
	// As docs/backup.md says; what a backup has waiting to be folded is posted and mailed, too.
	pgtest.Execute(t, conn, `
		do $$ begin while headway.fold() > 0 loop end loop; end $$;
		update headway.subscription s set mailed_seq = c.last_seq
		from headway.channel c where c.name = s.channel and s.mailed_seq < c.last_seq;
		update headway.digest set state = 'cancelled', lease_until = null, claimed_by = null
		where state in ('reserved', 'sending')`)
	pgtest.Execute(t, conn, "select headway.fold()")
	if n := value[int](t, conn, mail); n > 0 {
		t.Errorf("%d digests would be sent", n)
	}
}
