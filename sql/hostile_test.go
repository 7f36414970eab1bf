package sql_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"headway/internal/pgtest"
	"headway/sql"
)

// written has a statement for every trigger that fires on a table, and one in which it refuses what it may refuse. The
// statements use no operator without its schema, nor anything else that a search_path could give another meaning.
var written = map[string][]string{
	"appuser insert": {"insert into headway.appuser (id, fullname) values (50, 'Fay')"},
	"appuser update": {"update headway.appuser set quiet_from = '22:00', quiet_until = '07:00' where id operator(pg_catalog.=) 1"},
	"appuser delete": {
		"delete from headway.appuser where id operator(pg_catalog.=) 5", "delete from headway.appuser where id operator(pg_catalog.=) 4",
	},
	"appuser truncate": {"truncate headway.appuser cascade"},
	"project insert":   {"insert into headway.project (id, name) values (50, 'Fair')"},
	"project delete":   {"delete from headway.project where id operator(pg_catalog.=) 1"},
	"member insert":    {"insert into headway.member (project_id, user_id, role) values (1, 5, 'staff')"},
	"member update":    {"update headway.member set role = 'staff' where user_id operator(pg_catalog.=) 1"},
	"member delete":    {"delete from headway.member where user_id operator(pg_catalog.=) 1"},
	"member truncate":  {"truncate headway.member"},
	"task insert":      {"insert into headway.task (id, project_id, title) values (50, 1, 'Fare')"},
	"task update": {
		"update headway.task set weight = 7 where id operator(pg_catalog.=) 1", "update headway.task set project_id = 7700000001 where id operator(pg_catalog.=) 1",
	},
	"task delete":         {"delete from headway.task where id operator(pg_catalog.=) 1"},
	"task truncate":       {"truncate headway.task cascade"},
	"assignment insert":   {"insert into headway.assignment (task_id, user_id) values (4, 1)"},
	"assignment update":   {"update headway.assignment set user_id = 1 where task_id operator(pg_catalog.=) 4 and user_id operator(pg_catalog.=) 2"},
	"assignment delete":   {"delete from headway.assignment where task_id operator(pg_catalog.=) 4"},
	"assignment truncate": {"truncate headway.assignment"},
	"prerequisite insert": {
		"insert into headway.prerequisite (task_id, requires_id) values (6, 1)", "insert into headway.prerequisite (task_id, requires_id) values (1, 5)",
		"insert into headway.prerequisite (task_id, requires_id) values (1, 7700000001)",
	},
	"prerequisite update": {"update headway.prerequisite set requires_id = 2 where task_id operator(pg_catalog.=) 5"},
	"completion insert": {
		"insert into headway.completion (task_id, user_id) values (2, 1)", "insert into headway.completion (task_id, user_id) values (7, 4)",
		"insert into headway.completion (task_id, user_id) values (4, 1)", "insert into headway.completion (task_id, user_id) values (7700000005, 7700000002)",
	},
	"completion update": {
		"update headway.completion set completed_by = 4 where task_id operator(pg_catalog.=) 1",
		"update headway.completion set task_id = 2 where task_id operator(pg_catalog.=) 1",
	},
	"completion delete":   {"delete from headway.completion where task_id operator(pg_catalog.=) 6"},
	"completion truncate": {"truncate headway.completion"},
	"channel insert": {
		"insert into headway.channel (name, project_id) values ('talk', 1)", "insert into headway.channel (name) values ('user_99')",
	},
	"channel update": {"update headway.channel set last_seq = 0 where name operator(pg_catalog.=) 'project_1'"},
	"channel delete": {
		"delete from headway.project where id operator(pg_catalog.=) 1", "delete from headway.channel where name operator(pg_catalog.=) 'review'",
	},
	"channel truncate": {"truncate headway.channel cascade"},
	"message insert": {
		"insert into headway.message (sender, channel, content) values (1, 'project_1', 'Hello')",
		"insert into headway.message (sender, channel, content) values (5, 'project_1', 'Hello')",
		"insert into headway.message (sender, channel, content) values (1, 'nowhere', 'Hello')",
	},
	"message update":      {"update headway.message set content = ''"},
	"message delete":      {"delete from headway.message"},
	"message truncate":    {"truncate headway.message"},
	"subscription insert": {"insert into headway.subscription (channel, user_id) values ('review', 2)"},
	"subscription delete": {"delete from headway.subscription where user_id operator(pg_catalog.=) 1"},
	"subscription update": {"update headway.subscription set read_seq = -1 where user_id operator(pg_catalog.=) 1"},
	"seen insert":         {"insert into headway.seen (channel, user_id, seq) values ('project_1', 1, 99)"},
	"seen delete":         {"delete from headway.seen where user_id operator(pg_catalog.=) 2"},
	"setting insert":      {"insert into headway.setting (name, value, meaning) values ('mine', '', '')"},
	"setting update": {
		"update headway.setting set value = '2 hours' where name operator(pg_catalog.=) 'digest_after'",
		"update headway.setting set value = 'soon' where name operator(pg_catalog.=) 'digest_after'",
	},
	"setting delete":   {"delete from headway.setting"},
	"setting truncate": {"truncate headway.setting"},
}

// changing are values that are others each time.
var changing = regexp.MustCompile(`\d+:\d\d:\d\d[\d.]*|\d{4}-\d\d-\d\d|^\[77000010\d\d\]|\w{8}(-\w{4}){3}-\w{12}`)

// became runs a statement in a transaction that is rolled back, and returns its rows or its error, and how many rows
// every table has then.
func became(t *testing.T, conn *pgx.Conn, path, role, id, statement string) string {
	t.Helper()
	pgtest.Execute(t, conn, fmt.Sprintf(`begin; set local role %s; select pg_catalog.set_config('headway.user_id', '%s', true); set local search_path = %s`,
		role, id, path))
	defer pgtest.Execute(t, conn, "rollback; reset search_path")
	results, err := conn.PgConn().Exec(t.Context(), statement).ReadAll()
	if err != nil {
		return changing.ReplaceAllString(err.Error(), "…")
	}
	var b strings.Builder
	for _, row := range results[len(results)-1].Rows {
		fmt.Fprintf(&b, "%s\n", row)
	}
	pgtest.Execute(t, conn, "set local role none; set local search_path = pg_catalog, pg_temp")
	b.WriteString(value[string](t, conn, `
		select string_agg(c.relname || ' ' || (xpath('/row/n/text()', query_to_xml(format('select count(*) as n from %s', c.oid::regclass), false, true, '')))[1],
			', ' order by c.relname)
		from pg_class c
		where c.relnamespace = 'headway'::regnamespace and c.relkind = 'r'`))
	return changing.ReplaceAllString(b.String(), "…")
}

// TestNothingHostileIsCalled puts a schema before pg_catalog in which everything is there again, and tables and types for
// the time of a session before that, and calls every function that runs as its owner, and has every trigger fire. What
// comes of it is what comes of it without.
func TestNothingHostileIsCalled(t *testing.T) {
	t.Parallel()
	db := neighbours(t)
	conn := db.Conn(t)
	script, err := os.ReadFile("testdata/hostile.sql")
	if err != nil {
		t.Fatal(err)
	}
	pgtest.Execute(t, conn, string(script))
	clean := db.Conn(t)
	hostile := db.Conn(t)
	pgtest.Execute(t, hostile, `
		do $$
		declare
		  v_make text;
		begin
		  for v_make in
		    select format('create temp table %I as select * from headway.%1$I limit 0', c.relname)
		    from pg_class c where c.relnamespace = 'headway'::regnamespace and c.relkind in ('r', 'v')
		    union all
		    select format('create domain pg_temp.%I as pg_catalog.%1$I constraint hostile check (hostile.called() is null)', t)
		    from unnest(array['text', 'uuid', 'json', 'jsonb', 'bytea']) t
		  loop
		    execute v_make;
		  end loop;
		  execute (select string_agg(format('grant all on pg_temp.%I to public', c.relname), '; ') from pg_class c where c.relnamespace = 'headway'::regnamespace and c.relkind in ('r', 'v'));
		end
		$$`)
	if got := became(t, hostile, "hostile, pg_catalog", "headway_user", "1", "select headway.complete_task(1, 1)"); !strings.Contains(got, "HW666") {
		t.Fatalf("what is called with the rights of its caller has the caller's search_path, and yet: %s", got)
	}

	compare := func(role, id, statement string) {
		t.Helper()
		want := became(t, clean, "''", role, id, statement)
		for _, path := range []string{"hostile, pg_catalog", "pg_temp, hostile, pg_catalog", "hostile", "pg_temp, hostile"} {
			if got := became(t, hostile, path, role, id, statement); got != want {
				t.Errorf("%s, as %s with %s: %s\nwithout: %s", statement, role, path, got, want)
			}
		}
	}
	called := 0
	for _, function := range column(t, conn, `
		select p.proname::text from pg_proc p
		where p.pronamespace = 'headway'::regnamespace and p.prosecdef and p.prorettype <> 'trigger'::regtype`) {
		for _, role := range roles[:5] {
			if !value[bool](t, conn, `
				select bool_or(has_function_privilege($1, p.oid, 'execute')) from pg_proc p
				where p.pronamespace = 'headway'::regnamespace and p.proname = $2`, role, function) {
				continue
			}
			called++
			compare(role, map[bool]string{true: "1"}[role == "headway_user"], "select "+calls[function])
			if function == "claim_digest" {
				compare(role, "", "update headway.digest set next_attempt_at = 'epoch'; select "+calls[function])
			}
		}
	}
	if called < 20 {
		t.Errorf("only %d functions run as their owner", called)
	}

	for _, trigger := range column(t, conn, `
		select distinct c.relname || ' ' || e.event
		from pg_trigger t
		join pg_class c on c.oid = t.tgrelid
		join (values (4, 'insert'), (8, 'delete'), (16, 'update'), (32, 'truncate')) e (bit, event) on t.tgtype::integer & e.bit = e.bit
		where c.relnamespace = 'headway'::regnamespace and not t.tgisinternal`) {
		if written[trigger] == nil {
			t.Errorf("nothing has the triggers of %s fire", trigger)
		}
		for _, statement := range written[trigger] {
			compare("headway_app", "", statement)
			compare("headway_user", "1", statement)
			compare("headway_user", "", statement)
			compare("none", "", statement)
		}
	}
}

// TestNobodyTakesOverWhoMigrates has somebody who may make things in public lie in wait for a superuser, who goes up and
// down by headway and by tern.
func TestNobodyTakesOverWhoMigrates(t *testing.T) {
	t.Parallel()
	db := pgtest.Empty(t)
	pgtest.Intrude(t, db)
	conn := db.Conn(t, pgtest.SearchPath(`"$user", public`))
	if _, err := conn.Exec(t.Context(), "select from pg_class where relnamespace = 'pg_catalog'::regnamespace"); err == nil || !strings.Contains(err.Error(), pgtest.Called) {
		t.Fatalf("with public in the search_path everybody falls for it, and yet: %v", err)
	}
	for _, target := range []int32{sql.Latest(), 0, sql.Latest()} {
		if err := sql.Migrate(t.Context(), conn, target, nil); err != nil {
			t.Fatalf("to version %d: %v", target, err)
		}
	}
	for _, destination := range []string{"0", "last"} {
		tern(t, db, destination)
	}
	pgtest.Execute(t, conn, "begin; "+strings.ReplaceAll(sql.Roles(), "'headway_", "'"+db.Name+"_")+"rollback")
	if err := sql.CheckRoles(t.Context(), conn); err != nil {
		t.Error(err)
	}
}

// TestEveryMigrationSaysWhereNamesAreLookedFor has each begin with it, up and down: whatever it names without a schema
// is PostgreSQL's.
func TestEveryMigrationSaysWhereNamesAreLookedFor(t *testing.T) {
	t.Parallel()
	const first = "set local search_path = pg_catalog, pg_temp;\n"
	comments := regexp.MustCompile(`^(--.*\n|\n)*`)
	names, err := fs.Glob(sql.Migrations(), "*.sql")
	if err != nil || len(names) != int(sql.Latest()) {
		t.Fatalf("there are %q, %v", names, err)
	}
	for _, name := range names {
		text, err := fs.ReadFile(sql.Migrations(), name)
		if err != nil {
			t.Fatal(err)
		}
		for i, part := range strings.Split(string(text), "---- create above / drop below ----\n") {
			if !strings.HasPrefix(comments.ReplaceAllString(part, ""), first) {
				t.Errorf("%s, part %d, does not begin with %q", name, i+1, first)
			}
		}
	}
}

// TestNobodyLiesInWaitAtTheVersionTable has somebody make it first who may make things in public, or somebody put more
// on it than headway does. Whoever migrates is told, and calls nothing of it, nor does who only looks.
func TestNobodyLiesInWaitAtTheVersionTable(t *testing.T) {
	t.Parallel()
	const table = "create table public.headway_schema_version (version int4 not null); insert into public.headway_schema_version values (0); "
	const trap = `create function public.trap() returns trigger language plpgsql as 'begin raise exception ''the trap was called''; end';
		create function public.trap(int) returns int language plpgsql as 'begin raise exception ''the trap was called''; end'; `
	for name, c := range map[string]struct{ trap, fault string }{
		"a trigger": {table + `create trigger trap before update on public.headway_schema_version for each row execute function public.trap()`, "has triggers"},
		"a rule":    {table + `create rule trap as on update to public.headway_schema_version do also select public.trap(1)`, "has rules"},
		"a policy": {table + `alter table public.headway_schema_version enable row level security;
			create policy trap on public.headway_schema_version using (public.trap(1) = 1)`, "has row-level security"},
		"a view": {`create view public.headway_schema_version as select public.trap(1) as version`, "is not a plain table"},
		"a partition": {`create table public.headway_schema_version (version int4 not null) partition by list (version);
			create table public.part partition of public.headway_schema_version default`, "is not a plain table"},
		"a child": {table + `create table public.child () inherits (public.headway_schema_version)`, "inherits or is inherited"},
		"a check": {table + `alter table public.headway_schema_version add check (public.trap(version) = 1) not valid`, "has checks"},
		"an index": {`create function public.trap(bigint) returns int immutable language plpgsql as 'begin return 1; end'; ` + table +
			`create index on public.headway_schema_version (public.trap(version::bigint))`, "has indexes"},
		"a column": {table + `create domain public.odd as int; alter table public.headway_schema_version add column odd public.odd`, "has other columns"},
		"nothing":  {table, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := pgtest.New(t) // which has headway's roles
			conn := db.Conn(t)
			if err := sql.Migrate(t.Context(), conn, 0, nil); err != nil {
				t.Fatal(err)
			}
			login := "waylayer_" + db.Name
			pgtest.Execute(t, conn, "drop table public.headway_schema_version; create role "+login+" login; grant create on schema public to "+login)
			t.Cleanup(func() {
				if err := conn.PgConn().Exec(context.WithoutCancel(t.Context()), "drop owned by "+login+" cascade; drop role "+login).Close(); err != nil {
					t.Error(err)
				}
			})
			pgtest.Execute(t, db.Conn(t, pgtest.User(login)), trap+c.trap)

			const stranger = "they are neither the current user nor the owner of the database, a superuser or a member of headway_owner"
			for _, owner := range []string{login, "postgres"} {
				if owner == "postgres" {
					pgtest.Execute(t, conn, "alter table public.headway_schema_version owner to postgres")
				}
				_, errVersion := sql.Version(t.Context(), conn)
				for _, err := range []error{errVersion, sql.Check(t.Context(), conn), sql.Migrate(t.Context(), conn, sql.Latest(), nil)} {
					var fault *sql.TableError
					switch {
					case owner == "postgres" && c.fault == "":
						if errors.As(err, &fault) {
							t.Errorf("of %s: %v", owner, err)
						}
					case !errors.As(err, &fault) || !strings.Contains(err.Error(), "belongs to "+owner) || !strings.Contains(err.Error(), c.fault) ||
						strings.Contains(err.Error(), stranger) != (owner == login):
						t.Errorf("of %s: it says %v", owner, err)
					}
				}
			}
		})
	}
}

// TestTriggersDoNotLookAround has everything that a caller can put in the way of a name: tables, types, functions and
// operators, before and after pg_catalog.
func TestTriggersDoNotLookAround(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"evil, pg_catalog", "pg_temp, evil, pg_catalog", "pg_catalog, evil", ""} {
		db := pgtest.New(t)
		conn, other := db.Conn(t), db.Conn(t)
		pgtest.Execute(t, conn, `create schema evil;
			create function evil.fails(text) returns text language plpgsql as $$ begin raise exception 'looked around: %', $1; end $$;
			create function evil.differs(bigint, bigint) returns boolean language sql as 'select evil.fails(''an operator'') is null';
			create operator evil.= (leftarg = bigint, rightarg = bigint, function = evil.differs);
			create operator evil.<> (leftarg = bigint, rightarg = bigint, function = evil.differs);
			create function evil.concat(text, bigint) returns text language sql as 'select evil.fails(''||'')';
			create operator evil.|| (leftarg = text, rightarg = bigint, function = evil.concat)`)
		for _, function := range []string{
			"now()", "clock_timestamp()", "pg_notify(text, text)", "pg_try_advisory_xact_lock_shared(bigint)", "pg_advisory_xact_lock(bigint)",
			"current_setting(text, boolean)", "octet_length(text)", "lower(text)", "to_json(anyelement)", "pg_notification_queue_usage()", "substr(text, integer)",
		} {
			pgtest.Execute(t, conn, "create function evil."+function+" returns text language sql as 'select evil.fails(''a function'')'")
		}
		for _, table := range []string{
			"appuser", "project", "member", "task", "assignment", "prerequisite", "completion", "pending_fact", "shared_progress",
			"personal_progress", "channel", "subscription", "message", "seen", "setting", "new_rows", "old_rows", "recount", "pending_effect",
		} {
			pgtest.Execute(t, conn, "create temp table "+table+" (mine int); create table evil."+table+" (mine int)")
		}
		for _, typeName := range []string{"text", "int8", "bool", "json", "jsonb", "timestamptz", "fact_kind"} {
			pgtest.Execute(t, conn, "create type pg_temp."+typeName+" as (mine int); create type evil."+typeName+" as (mine int)")
		}
		pgtest.Execute(t, conn, "set search_path = "+map[bool]string{true: "''", false: path}[path == ""])

		pgtest.Execute(t, conn, `
			insert into headway.appuser (id, fullname) values (1, 'Abe'), (2, 'Bob');
			insert into headway.project (id, name) values (1, 'Website'), (2, 'Shop');
			insert into headway.member (project_id, user_id, role) values (1, 1, 'customer'), (1, 2, 'staff'), (2, 2, 'customer');
			update headway.member set role = 'customer';
			insert into headway.task (id, project_id, title) values (1, 1, 'One'), (2, 1, 'Two'), (3, 2, 'Three');
			update headway.task set weight = 3;
			insert into headway.assignment (task_id, user_id) values (1, 1), (2, 2);
			update headway.assignment set user_id = 2;
			insert into headway.prerequisite (task_id, requires_id) values (2, 1);
			update headway.prerequisite set requires_id = 1;
			insert into headway.completion (task_id, user_id) values (1, 1), (2, 1), (3, 2);
			update headway.completion set completed_at = completed_at;
			insert into headway.message (sender, channel, content) values (1, 'project_1', 'Hello');
			update headway.subscription set muted = true;
			update headway.setting set value = 'reference' where name = 'notify_payload'`)
		exact(t, other, "path "+path)
		// The worker has a path of its own, a person at psql may have any.
		pgtest.Execute(t, conn, "select headway.fold()")
		exact(t, other, "path "+path+", folded")
		if left := value[int](t, other, "select count(*) from headway.pending_fact"); left > 0 {
			t.Errorf("path %q: %d facts are left", path, left)
		}
		pgtest.Execute(t, conn, `
			delete from headway.completion where task_id = 2;
			delete from headway.assignment;
			delete from headway.task where id = 2;
			delete from headway.member where user_id = 2;
			delete from headway.project where id = 2;
			truncate headway.completion;
			truncate headway.task cascade;
			truncate headway.member`)
		exact(t, other, "path "+path+", deleted")
		for _, refused := range []string{
			"update headway.message set content = 'x'", "truncate headway.message", "delete from headway.channel", "delete from headway.setting",
			"update headway.subscription set read_seq = -1",
		} {
			if _, err := conn.Exec(t.Context(), refused); err == nil || strings.Contains(err.Error(), "looked around") {
				t.Errorf("path %q: %s: %v", path, refused, err)
			}
		}
	}
}
