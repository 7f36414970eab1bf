package sql_test

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"headway/internal/pgtest"
	"headway/internal/postgres"
	"headway/sql"
	"headway/worker"
)

// on returns a database of a server.
func on(cluster *postgres.Cluster, name string) *pgtest.DB {
	return &pgtest.DB{URL: cluster.URL(name), Name: name}
}

// do runs statements in a database of a server as its superuser.
func do(t *testing.T, cluster *postgres.Cluster, name string, statements ...string) {
	t.Helper()
	conn := on(cluster, name).Conn(t)
	for _, statement := range statements {
		pgtest.Execute(t, conn, statement)
	}
}

// migrateAs brings a database to a version as a login.
func migrateAs(t *testing.T, db *pgtest.DB, login string, target int32) error {
	t.Helper()
	return sql.Migrate(t.Context(), db.Conn(t, pgtest.User(login)), target, nil)
}

// theRoles are the roles of headway.
const theRoles = "headway_admin headway_app headway_monitor headway_owner headway_user headway_worker"

// rolesOf returns the roles of headway that a server has.
func rolesOf(t *testing.T, conn *pgx.Conn) string {
	t.Helper()
	return strings.Join(column(t, conn, `select r.rolname from pg_roles r where r.rolname ~ '^headway_' order by r.rolname`), " ")
}

// lacksRoles fails the test unless an error is a RolesError with this text, whose SQL has this in it.
func lacksRoles(t *testing.T, err error, text, script string) {
	t.Helper()
	var lacking *sql.RolesError
	if !errors.As(err, &lacking) || !strings.Contains(err.Error(), text) || !strings.Contains(lacking.SQL(), script) {
		t.Errorf("got %v\nwant %s", err, text)
	}
}

// usable fails the test unless headway works in a database.
func usable(t *testing.T, conn *pgx.Conn) {
	t.Helper()
	pgtest.Execute(t, conn, `
		insert into headway.appuser (fullname) values ('Abe');
		insert into headway.project (name) values ('Site');
		insert into headway.member (project_id, user_id, role) select max(p.id), max(u.id), 'customer' from headway.project p, headway.appuser u;
		insert into headway.task (project_id, title) select max(p.id), 'Write' from headway.project p;
		insert into headway.completion (task_id, user_id) select max(t.id), max(u.id) from headway.task t, headway.appuser u`)
	if n := value[int](t, conn, "select headway.fold()"); n == 0 {
		t.Error("nothing is folded")
	}
	if n := value[int](t, conn, "select min(p.percent) from headway.progress p"); n != 100 {
		t.Errorf("the bar is at %d %%", n)
	}
	exact(t, conn, "as it is")
}

// ownedByOthers returns what of headway does not belong to headway_owner.
const ownedByOthers = `
	select format('schema %s of %s', n.nspname, n.nspowner::regrole) from pg_namespace n
	where n.nspname = 'headway' and n.nspowner <> 'headway_owner'::regrole
	union all
	select format('%s of %s', c.oid::regclass, c.relowner::regrole) from pg_class c
	where c.relnamespace = 'headway'::regnamespace and c.relowner <> 'headway_owner'::regrole
	union all
	select format('%s of %s', p.oid::regprocedure, p.proowner::regrole) from pg_proc p
	where p.pronamespace = 'headway'::regnamespace and p.proowner <> 'headway_owner'::regrole
	union all
	select format('type %s of %s', t.oid::regtype, t.typowner::regrole) from pg_type t
	where t.typnamespace = 'headway'::regnamespace and t.typowner <> 'headway_owner'::regrole`

// TestALoginThatMayOnlyCreateRolesMigrates is what there is on managed PostgreSQL: no superuser, but a login with
// CREATEROLE. It has two databases: its own, and one in which it may make what it needs.
func TestALoginThatMayOnlyCreateRolesMigrates(t *testing.T) {
	t.Parallel()
	server := pgtest.Server(t, postgres.Options{})
	do(t, server, "postgres", "create role deployer login createrole", "create database own owner deployer", "create database given")
	do(t, server, "given", "grant create on database given to deployer")
	err := migrateAs(t, on(server, "given"), "deployer", sql.Latest())
	if err == nil || !strings.Contains(err.Error(), "`grant create on schema public to \"deployer\"`") {
		t.Errorf("where it may not create the table of versions, it says %v", err)
	}
	do(t, server, "given", `grant create on schema public to "deployer"`)

	for _, db := range []*pgtest.DB{on(server, "own"), on(server, "given")} {
		var described string
		for i, target := range []int32{sql.Latest(), 0, 7, sql.Latest(), sql.Latest() - 1, sql.Latest()} {
			if err := migrateAs(t, db, "deployer", target); err != nil {
				t.Fatalf("%s to version %d: %v", db.Name, target, err)
			}
			conn := db.Conn(t)
			if got := rolesOf(t, conn); got != theRoles {
				t.Errorf("%s at version %d: there are the roles %s", db.Name, target, got)
			}
			if i == 0 {
				described = describe(t, conn)
			} else if target == sql.Latest() {
				same(t, "what a login without more rights makes again", describe(t, conn), described)
			}
		}
		conn := db.Conn(t)
		if others := column(t, conn, ownedByOthers); len(others) > 0 {
			t.Errorf("%s: not headway_owner's: %q", db.Name, others)
		}
		usable(t, conn)
	}

	// It makes the logins, too.
	pgtest.Execute(t, on(server, "own").Conn(t, pgtest.User("deployer")), "create role courier login in role headway_worker")
	rights, err := worker.CheckRights(t.Context(), on(server, "own").Conn(t, pgtest.User("courier")))
	if err != nil || rights.Check(false) != nil {
		t.Errorf("the worker's login: %+v, %v", rights, err)
	}

	// One leaves, and the roles stay for the other.
	if err := migrateAs(t, on(server, "own"), "deployer", 0); err != nil {
		t.Fatal(err)
	}
	usable(t, on(server, "given").Conn(t))
}

// TestTwoLoginsShareTheRolesOfAServer has each its own database; the second is no member of headway_owner.
func TestTwoLoginsShareTheRolesOfAServer(t *testing.T) {
	t.Parallel()
	server := pgtest.Server(t, postgres.Options{})
	do(t, server, "postgres",
		"create role first login createrole", "create database one owner first",
		"create role second login", "create database two owner second")
	one, two := on(server, "one"), on(server, "two")
	if err := migrateAs(t, one, "first", sql.Latest()); err != nil {
		t.Fatal(err)
	}

	err := migrateAs(t, two, "second", sql.Latest())
	lacksRoles(t, err, "second cannot migrate, because it may not act as headway_owner", "grant headway_owner to second")
	if got := version(t, two.Conn(t)); got != 0 {
		t.Errorf("it came to version %d", got)
	}
	// Whoever has made the roles may hand them on.
	var lacking *sql.RolesError
	if errors.As(err, &lacking) {
		pgtest.Execute(t, one.Conn(t, pgtest.User("first")), lacking.SQL())
	}
	if err := migrateAs(t, two, "second", sql.Latest()); err != nil {
		t.Fatal(err)
	}
	usable(t, two.Conn(t))

	// A member may also take over what the other has migrated.
	do(t, server, "one", "grant create on database one to second")
	for _, target := range []int32{sql.Latest() - 1, sql.Latest(), 0, sql.Latest()} {
		if err := migrateAs(t, one, "second", target); err != nil {
			t.Fatalf("to version %d: %v", target, err)
		}
	}
	usable(t, one.Conn(t))
	if err := migrateAs(t, one, "first", 0); err != nil {
		t.Error(err)
	}
	usable(t, two.Conn(t))
}

// TestTwoDatabasesAreMigratedAtTheSameMoment has one transaction make the roles, or join the owner, while a migration
// wants to.
func TestTwoDatabasesAreMigratedAtTheSameMoment(t *testing.T) {
	t.Parallel()
	const join = "grant headway_owner to deployer"
	for name, c := range map[string]struct{ before, first, login string }{
		"by one login":                  {"select", sql.Roles() + join, "deployer"},
		"by one login, with roles made": {sql.Roles(), join, "deployer"},
		"by two logins":                 {"select", sql.Roles() + join, "other"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := pgtest.Server(t, postgres.Options{})
			do(t, server, "postgres", "create role deployer login createrole", "create database one owner deployer",
				"create role other login superuser", "create database two owner "+c.login)
			conn := on(server, "one").Conn(t, pgtest.User("deployer"))
			pgtest.Execute(t, conn, c.before)
			first, err := conn.Begin(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			pgtest.Execute(t, conn, c.first)

			var second errgroup.Group
			migrating := on(server, "two").Conn(t, pgtest.User(c.login))
			second.Go(func() error { return sql.Migrate(t.Context(), migrating, sql.Latest(), nil) })
			watcher := on(server, "postgres").Conn(t)
			pgtest.Eventually(t, patience, func() bool {
				return value[bool](t, watcher, "select exists (select from pg_locks where not granted)")
			}, "the second does not wait for the first")
			if err := first.Commit(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := second.Wait(); err != nil {
				t.Fatal(err)
			}
			usable(t, on(server, "two").Conn(t))
		})
	}
}

// TestTheOwnerKeepsWhatIsNotHeadways has headway_owner own more than headway's schema.
func TestTheOwnerKeepsWhatIsNotHeadways(t *testing.T) {
	t.Parallel()
	server := pgtest.Server(t, postgres.Options{})
	do(t, server, "postgres", sql.Roles()+"create role plain login in role headway_owner", "create database app owner headway_owner")
	app := on(server, "app")
	do(t, server, "app", "create table public.note (); alter table public.note owner to headway_owner")
	for _, target := range []int32{sql.Latest(), 0, sql.Latest()} {
		if err := migrateAs(t, app, "plain", target); err != nil {
			t.Fatalf("to version %d: %v", target, err)
		}
		owners := column(t, app.Conn(t), `
			select d.datdba::regrole::text from pg_database d where d.datname = 'app'
			union
			select c.relowner::regrole::text from pg_class c where c.oid = 'public.note'::regclass`)
		if strings.Join(owners, " ") != "headway_owner" {
			t.Errorf("at version %d they belong to %q", target, owners)
		}
	}
}

// TestApplicationsKeepTheirTriggers has the functions of headway dropped, as every later release does before it installs its
// own, where an application has a trigger on one of its tables.
func TestApplicationsKeepTheirTriggers(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	conn := db.Conn(t)
	pgtest.Execute(t, conn, `
		create function public.note() returns trigger language plpgsql as 'begin return null; end';
		create trigger note after insert on headway.message for each row execute function public.note()`)
	uninstall, err := os.ReadFile("migrations/snapshots/v0.1.0/uninstall.sql")
	if err != nil {
		t.Fatal(err)
	}
	pgtest.Execute(t, conn, string(uninstall))
	left := column(t, conn, `
		select t.tgname from pg_trigger t join pg_class c on c.oid = t.tgrelid
		where c.relnamespace = 'headway'::regnamespace and not t.tgisinternal`)
	if !slices.Equal(left, []string{"note"}) {
		t.Errorf("left are the triggers %q, want the one of the application", left)
	}
}

// TestALoginThatMayNotMakeRolesIsToldSo has them made by hand.
func TestALoginThatMayNotMakeRolesIsToldSo(t *testing.T) {
	t.Parallel()
	server := pgtest.Server(t, postgres.Options{})
	do(t, server, "postgres", "create role plain login", "create database app owner plain",
		"create role reserved login noinherit", "create database other owner reserved")
	app, other := on(server, "app"), on(server, "other")

	err := migrateAs(t, app, "plain", sql.Latest())
	lacksRoles(t, err, "plain cannot migrate, because headway_owner, headway_app, headway_worker, headway_user, headway_admin, headway_monitor are missing: "+
		"ask somebody who may to run what `headway migrate --no-roles` prints", "'headway_monitor'")
	lacksRoles(t, sql.CheckRoles(t.Context(), app.Conn(t, pgtest.User("plain"))), "are missing", "grant headway_owner to plain")
	if got := rolesOf(t, app.Conn(t)); got != "" {
		t.Errorf("it has made %s", got)
	}

	for db, login := range map[*pgtest.DB]string{app: "plain", other: "reserved"} {
		var lacking *sql.RolesError
		if err := sql.CheckRoles(t.Context(), db.Conn(t, pgtest.User(login))); !errors.As(err, &lacking) {
			t.Fatalf("%s: %v", login, err)
		}
		do(t, server, "postgres", lacking.SQL(), lacking.SQL()) // again does no harm
		if err := sql.CheckRoles(t.Context(), db.Conn(t, pgtest.User(login))); err != nil {
			t.Error(err)
		}
		for _, target := range []int32{sql.Latest(), 0, sql.Latest()} {
			if err := migrateAs(t, db, login, target); err != nil {
				t.Fatalf("%s to version %d: %v", login, target, err)
			}
		}
		usable(t, db.Conn(t))
	}

	// Only what is missing is said to be.
	do(t, server, "postgres", "alter role headway_monitor rename to somebody")
	lacksRoles(t, sql.CheckRoles(t.Context(), app.Conn(t, pgtest.User("plain"))), "because headway_monitor is missing", "create role")
}

// TestAFirstMigrationThatFailsLeavesNothing has somebody begin who may not make roles, and somebody go on who may.
func TestAFirstMigrationThatFailsLeavesNothing(t *testing.T) {
	t.Parallel()
	server := pgtest.Server(t, postgres.Options{})
	do(t, server, "postgres", "create role plain login", "create database app owner plain", "create role deployer login createrole",
		"grant create on database app to deployer")
	app := on(server, "app")
	do(t, server, "app", "grant create on schema public to deployer")
	lacksRoles(t, migrateAs(t, app, "plain", sql.Latest()), "plain cannot migrate, because", "headway_owner")
	if value[bool](t, app.Conn(t), "select to_regclass($1) is not null", sql.VersionTable) {
		t.Errorf("%s is left", sql.VersionTable)
	}

	// One that was killed leaves the table.
	do(t, server, "app", "set role plain; create table "+sql.VersionTable+" (version int4 not null); insert into "+sql.VersionTable+" values (0)")
	err := migrateAs(t, app, "deployer", sql.Latest())
	const left = "deployer may not read public.headway_schema_version, and neither may headway's roles: after a restore without privileges, " +
		"restore once more with them (docs/backup.md); if a migration by plain left it behind, have plain migrate, or drop it, and try again"
	if !errors.As(err, new(*sql.AccessError)) || err.Error() != left {
		t.Errorf("it says %v", err)
	}
	pgtest.Execute(t, app.Conn(t, pgtest.User("plain")), "drop table "+sql.VersionTable)
	if err := migrateAs(t, app, "deployer", sql.Latest()); err != nil {
		t.Fatal(err)
	}
	usable(t, app.Conn(t))
}

// TestALoginWithoutRightsIsToldWhichItNeeds has it look, and migrate.
func TestALoginWithoutRightsIsToldWhichItNeeds(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	conn := db.Conn(t)
	login := "outsider_" + db.Name
	pgtest.Execute(t, conn, "create role "+login+" login")
	t.Cleanup(func() {
		if err := conn.PgConn().Exec(context.Background(), "drop owned by "+login+"; drop role "+login).Close(); err != nil {
			t.Error(err)
		}
	})
	err := sql.Check(t.Context(), db.Conn(t, pgtest.User(login)))
	if !errors.As(err, new(*sql.AccessError)) || !strings.Contains(err.Error(), login+" may not read public.headway_schema_version: `grant headway_owner to "+login+"` lets it migrate") {
		t.Errorf("it says %v", err)
	}
	lacksRoles(t, migrateAs(t, db, login, sql.Latest()), login+" cannot migrate, because it may not act as headway_owner", "grant headway_owner to "+login)

	// A role of headway's is not enough where public is closed to all, as many advise.
	pgtest.Execute(t, conn, "grant headway_worker to "+login+"; revoke usage on schema public from public")
	err = sql.Check(t.Context(), db.Conn(t, pgtest.User(login)))
	usage := "grant usage on schema public to " + login
	if !errors.As(err, new(*sql.AccessError)) || !strings.HasSuffix(err.Error(), "`"+usage+"`") {
		t.Errorf("it says %v", err)
	}
	pgtest.Execute(t, conn, usage)
	if err := sql.Check(t.Context(), db.Conn(t, pgtest.User(login))); err != nil {
		t.Error(err)
	}
}

// TestNothingIsMissingForASuperuser finds nothing to do where everything is there.
func TestNothingIsMissingForASuperuser(t *testing.T) {
	t.Parallel()
	conn := pgtest.New(t).Conn(t)
	if err := sql.CheckRoles(t.Context(), conn); err != nil {
		t.Error(err)
	}
	if got := rolesOf(t, conn); got != theRoles {
		t.Errorf("there are the roles %s", got)
	}
}
