package sql_test

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"headway/internal/pgtest"
	"headway/internal/postgres"
	"headway/sql"
)

// TestTheOwnerMakesABackup has a login dump that may act as the owner and is no superuser: no policy is in its way, and
// nothing is missing.
func TestTheOwnerMakesABackup(t *testing.T) {
	t.Parallel()
	from := everything(t, nil)
	pgtest.Execute(t, from.Conn(t), `
		create role keeper login in role headway_owner;
		grant select on public.headway_schema_version to keeper`)
	keeper := strings.Replace(from.URL, "postgres@", "keeper@", 1)
	scope := []string{"--table=headway.*", "--table=public.headway_schema_version"}
	kept := client(t, "pg_dump", append(scope, "--role=headway_owner", "--dbname="+keeper)...)
	key := regexp.MustCompile(`(?m)^\\(un)?restrict .*$`) // a random one in each dump
	same(t, "the owner's dump and a superuser's", key.ReplaceAllString(kept, ""), key.ReplaceAllString(from.dump(t, scope...), ""))
	title := column(t, from.Conn(t), "select min(title) from headway.task")[0]
	if !strings.Contains(kept, title) {
		t.Errorf("%s is not in it", title)
	}
}

// TestADumpIsRestoredByAnotherLogin has somebody restore it who is neither a superuser nor whoever migrated. What they
// restore is theirs, or headway_owner's where they act as that; who may do what is the same.
func TestADumpIsRestoredByAnotherLogin(t *testing.T) {
	t.Parallel()
	from := everything(t, nil)
	to := startServer(t, postgres.Options{})
	dump := from.dump(t, "--no-owner")
	maintenance := pgtest.DB{URL: to.URL("postgres")}
	pgtest.Execute(t, maintenance.Conn(t), "create role keeper login; create role deputy login in role headway_owner")
	privileges, err := os.ReadFile("testdata/privileges.txt")
	if err != nil {
		t.Fatal(err)
	}

	for way, c := range map[string]struct{ login, prepare, script, owner string }{
		"who keeps it": {
			login:  "keeper",
			script: "set session authorization keeper;\n",
			owner:  "keeper",
		},
		"who acts as the owner": {
			login:   "deputy",
			prepare: "grant create on database %s to headway_owner; grant create on schema public to headway_owner",
			script:  "set session authorization deputy;\nset role headway_owner;\n",
			owner:   "headway_owner",
		},
	} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			target := to.create(t)
			conn := target.Conn(t)
			pgtest.Execute(t, conn, fmt.Sprintf("alter database %s owner to %s", target.Name, c.login))
			if c.prepare != "" {
				pgtest.Execute(t, conn, fmt.Sprintf(c.prepare, target.Name))
			}
			target.load(t, c.script, dump)

			same(t, "the rows here and there", target.rows(t), from.rows(t))
			same(t, "privileges here and there", privilegeTable(t, conn), string(privileges))
			for _, thing := range column(t, conn, ownedByOthers) {
				if !strings.HasSuffix(thing, " of "+c.owner) {
					t.Errorf("%s, not %s's", thing, c.owner)
				}
			}
			pgtest.Execute(t, conn, lookers)
			if err := compareTheirs(t.Context(), conn); err != nil {
				t.Error(err)
			}
			exact(t, conn, "as it came")
			goesOn(t, conn)
			works(t, target)

			// With the next migration it is the owner's, if whoever runs it may act as that.
			if c.owner != "headway_owner" {
				pgtest.Execute(t, conn, "grant headway_owner to "+c.login)
			}
			for _, version := range []int32{sql.Latest() - 1, sql.Latest()} {
				if err := migrateAs(t, &target.DB, c.login, version); err != nil {
					t.Fatalf("to version %d: %v", version, err)
				}
			}
			if others := column(t, conn, ownedByOthers); len(others) > 0 {
				t.Errorf("not headway_owner's: %q", others)
			}
			same(t, "privileges before and after", privilegeTable(t, conn), string(privileges))
			if err := compareTheirs(t.Context(), conn); err != nil {
				t.Error(err)
			}
		})
	}
}
