package sql_test

import (
	"io/fs"
	"path"
	"regexp"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"headway/internal/pgtest"
	"headway/sql"
)

// TestTheCatalogKeepsTheConventions runs queries that each find what breaks a convention of CONTRIBUTING.md.
func TestTheCatalogKeepsTheConventions(t *testing.T) {
	t.Parallel()
	conn := pgtest.New(t).Conn(t)
	for convention, query := range map[string]string{
		"the schema has a comment": `
			select n.nspname from pg_namespace n where n.nspname = 'headway' and obj_description(n.oid, 'pg_namespace') is null`,
		"every table and view has a comment": `
			select c.relname from pg_class c
			where c.relnamespace = 'headway'::regnamespace and c.relkind in ('r', 'p', 'v', 'm') and obj_description(c.oid, 'pg_class') is null`,
		"every function has a comment": `
			select p.oid::regprocedure::text from pg_proc p
			where p.pronamespace = 'headway'::regnamespace and obj_description(p.oid, 'pg_proc') is null`,
		"every error has a code to match, and a hint that says what to do": `
			select p.oid::regprocedure || ': ' || m.raised[1]
			from pg_proc p cross join lateral regexp_matches(p.prosrc, 'raise exception\M.*?;\n', 'g') m (raised)
			where p.pronamespace = 'headway'::regnamespace
			  and (m.raised[1] !~ '\merrcode = ''[a-z_]+''' or m.raised[1] !~ '\mhint = ')`,
		// Of select headway.post(...) a driver sees one column, and (headway.post(...)).* calls it once for each.
		"every function that returns a row is called in from": `
			select p.oid::regprocedure::text from pg_proc p join pg_type t on t.oid = p.prorettype
			where p.pronamespace = 'headway'::regnamespace and t.typtype = 'c' and not p.proretset
			  and obj_description(p.oid, 'pg_proc') !~ ('select \* from headway\.' || p.proname || '\(')`,
		"every type has a comment": `
			select t.typname from pg_type t
			where t.typnamespace = 'headway'::regnamespace and t.typtype in ('e', 'd') and obj_description(t.oid, 'pg_type') is null`,
		// What a name cannot say: the unit, what null means, who writes it.
		"every column that may be null, or whose name says little, has a comment": `
			select c.relname || '.' || a.attname
			from pg_class c
			join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
			where c.relnamespace = 'headway'::regnamespace and c.relkind = 'r' and not a.attnotnull
			  and col_description(c.oid, a.attnum) is null
			  and a.attname not in ('id', 'project_id', 'task_id', 'user_id', 'title', 'detail', 'due_at', 'created_by')`,
		"no column may be null but where null says something": `
			select c.relname || '.' || a.attname
			from pg_class c
			join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
			where c.relnamespace = 'headway'::regnamespace and c.relkind = 'r' and not a.attnotnull
			  and (c.relname, a.attname) not in (
			    ('appuser', 'email'), ('appuser', 'digest_after'), ('appuser', 'quiet_from'), ('appuser', 'quiet_until'),
			    ('appuser', 'mail_suspended_at'), ('appuser', 'mail_suspended_reason'), ('project', 'archived_at'),
			    ('task', 'detail'), ('task', 'due_at'), ('task', 'created_by'), ('completion', 'completed_by'),
			    ('pending_fact', 'task_id'), ('pending_fact', 'user_id'), ('pending_fact', 'shared'), ('pending_fact', 'actor_id'),
			    ('pending_fact', 'reason'), ('channel', 'project_id'), ('message', 'sender'), ('message', 'task_id'), ('message', 'data'),
			    ('digest', 'claimed_by'), ('digest', 'lease_until'), ('digest', 'recipient'), ('digest', 'mail'), ('digest', 'channels'),
			    ('digest', 'projects'), ('digest', 'sent_at'), ('digest', 'unknown_at'), ('digest', 'error')
			  )`,
		"every computed column of the views that people read has a comment": `
			select c.relname || '.' || a.attname
			from pg_class c
			join pg_attribute a on a.attrelid = c.oid and a.attnum > 0
			where c.relnamespace = 'headway'::regnamespace and c.relname in ('progress', 'unread', 'status')
			  and a.attname not in ('project_id', 'user_id', 'channel') and col_description(c.oid, a.attnum) is null`,
		"every check constraint has a name of its own": `
			select c.conname from pg_constraint c
			where c.connamespace = 'headway'::regnamespace and c.contype = 'c' and c.conname ~ '_check[0-9]*$'`,
		"every constraint is named for its table": `
			select r.relname || ': ' || c.conname from pg_constraint c join pg_class r on r.oid = c.conrelid
			where c.connamespace = 'headway'::regnamespace and c.conname !~ ('^' || r.relname || '_')`,
		"every foreign key has an index on its side, or refers to what is not deleted": `
			select c.conname from pg_constraint c
			where c.connamespace = 'headway'::regnamespace and c.contype = 'f' and c.confdeltype = 'c'
			  and not exists (
			    select from pg_index i where i.indrelid = c.conrelid and i.indpred is null
			      and (i.indkey::int2[])[0:cardinality(c.conkey) - 1] @> c.conkey
			  )`,
		// A new version of the system's collation would leave such an index in disorder.
		"every index over text goes by its bytes": `
			select i.indexrelid::regclass::text || ': ' || a.attname
			from pg_index i
			join pg_class c on c.oid = i.indexrelid and c.relnamespace = 'headway'::regnamespace
			join pg_attribute a on a.attrelid = i.indexrelid
			where a.attcollation not in (0, 'pg_catalog."C"'::regcollation)`,
		"functions that run as their owner look nowhere but in pg_catalog, and last in pg_temp": `
			select p.oid::regprocedure::text from pg_proc p
			where p.pronamespace = 'headway'::regnamespace and p.prosecdef
			  and (p.proconfig is null or not exists (
			    select from unnest(p.proconfig) c where c in ('search_path=pg_catalog, pg_temp', 'search_path=""')
			  ))`,
		// One in SQL is planned at each call up to PostgreSQL 17, which takes longer than to run it.
		"functions that others call and that contain a query keep their plan, unless they are called seldom": `
			select p.oid::regprocedure::text
			from pg_proc p
			join pg_language l on l.oid = p.prolang
			where p.pronamespace = 'headway'::regnamespace and l.lanname = 'sql' and not p.proretset and p.prosrc ~ '\mfrom headway\.'
			  and exists (select from pg_proc c where c.oid <> p.oid and c.prosrc ~ ('headway\.' || p.proname || '\('))
			  and p.proname not in ('catch_up_channels', 'next_run', 'reserve')`,
		"trigger functions run as their owner": `
			select p.oid::regprocedure::text from pg_proc p
			where p.pronamespace = 'headway'::regnamespace and p.prorettype = 'trigger'::regtype and not p.prosecdef
			  and p.proname <> 'require_identity' -- asks who is calling`,
		"views read with the rights of whoever reads": `
			select c.relname from pg_class c
			where c.relnamespace = 'headway'::regnamespace and c.relkind = 'v'
			  and not coalesce('security_invoker=true' = any (c.reloptions) or 'security_invoker=on' = any (c.reloptions), false)`,
		"nothing is a materialized view, an unlogged table or a rule": `
			select c.relname from pg_class c
			where c.relnamespace = 'headway'::regnamespace and (c.relkind = 'm' or c.relpersistence <> 'p')
			union all
			select r.rulename from pg_rewrite r join pg_class c on c.oid = r.ev_class
			where c.relnamespace = 'headway'::regnamespace and r.rulename <> '_RETURN'`,
		"triggers are named for their table and their moment, and zz_ where they fire last": `
			select r.relname || ': ' || t.tgname from pg_trigger t join pg_class r on r.oid = t.tgrelid
			where r.relnamespace = 'headway'::regnamespace and not t.tgisinternal
			  and t.tgname !~ ('^(zz_)?' || r.relname || '_(before|after)_(insert|update|delete|truncate|write|change)(_|$)')`,
		"triggers say the moment that they have": `
			select r.relname || ': ' || t.tgname from pg_trigger t join pg_class r on r.oid = t.tgrelid
			where r.relnamespace = 'headway'::regnamespace and not t.tgisinternal
			  and (t.tgname ~ '_before_') <> (t.tgtype & 2 = 2)`,
		"every table whose rows come and go by trigger notices a truncate": `
			select distinct r.relname from pg_trigger t join pg_class r on r.oid = t.tgrelid
			where r.relnamespace = 'headway'::regnamespace and not t.tgisinternal
			  and r.relname in ('member', 'task', 'assignment', 'completion', 'message', 'setting')
			  and not exists (select from pg_trigger o where o.tgrelid = t.tgrelid and o.tgtype & 32 = 32)`,
		"the queue can be replicated": `
			select c.relname from pg_class c
			where c.relnamespace = 'headway'::regnamespace and c.relkind = 'r' and c.relreplident = 'd'
			  and not exists (select from pg_index i where i.indrelid = c.oid and i.indisprimary)`,
		"moments have a time zone and texts no limit": `
			select c.relname || '.' || a.attname || ' ' || format_type(a.atttypid, a.atttypmod)
			from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
			where c.relnamespace = 'headway'::regnamespace and c.relkind = 'r'
			  and format_type(a.atttypid, a.atttypmod) ~ '^(timestamp without|character)'`,
	} {
		t.Run(convention, func(t *testing.T) {
			rows, err := conn.Query(t.Context(), query)
			if err != nil {
				t.Fatal(err)
			}
			offenders, err := pgx.CollectRows(rows, pgx.RowTo[string])
			if err != nil {
				t.Fatal(err)
			}
			for _, offender := range offenders {
				t.Errorf("not %s", offender)
			}
		})
	}
}

// TestTheCatalogGivesNothingAway runs queries that each find a way around the roles and their policies, as it is, and
// after something was done that it has to find.
func TestTheCatalogGivesNothingAway(t *testing.T) {
	t.Parallel()
	conn := pgtest.New(t).Conn(t)
	const granted = `
		with granted (thing, grantee, privilege, grantable) as (
		  select 'schema ' || n.nspname, a.grantee, a.privilege_type, a.is_grantable
		  from pg_namespace n cross join lateral aclexplode(n.nspacl) a
		  where n.nspname = 'headway' and a.grantee <> n.nspowner
		  union all
		  select c.oid::regclass::text, a.grantee, a.privilege_type, a.is_grantable
		  from pg_class c cross join lateral aclexplode(c.relacl) a
		  where c.relnamespace = 'headway'::regnamespace and a.grantee <> c.relowner
		  union all
		  select c.oid::regclass || '.' || t.attname, a.grantee, a.privilege_type, a.is_grantable
		  from pg_class c join pg_attribute t on t.attrelid = c.oid cross join lateral aclexplode(t.attacl) a
		  where c.relnamespace = 'headway'::regnamespace and a.grantee <> c.relowner
		  union all
		  select p.oid::regprocedure::text, a.grantee, a.privilege_type, a.is_grantable
		  from pg_proc p cross join lateral aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
		  where p.pronamespace = 'headway'::regnamespace and a.grantee <> p.proowner
		  union all
		  -- The types of tables are nobody's to grant.
		  select t.oid::regtype::text, a.grantee, a.privilege_type, a.is_grantable
		  from pg_type t cross join lateral aclexplode(coalesce(t.typacl, acldefault('T', t.typowner))) a
		  where t.typnamespace = 'headway'::regnamespace and t.typtype in ('e', 'd') and a.grantee <> t.typowner
		)`
	const policies = `
		with policy as (
		  select p.polrelid::regclass || ': ' || p.polname as name, p.polroles as roles, p.polcmd as command,
		    pg_get_expr(p.polqual, p.polrelid) as qual, pg_get_expr(p.polwithcheck, p.polrelid) as with_check
		  from pg_policy p join pg_class c on c.oid = p.polrelid
		  where c.relnamespace = 'headway'::regnamespace
		)`
	for rule, c := range map[string]struct{ query, breach string }{
		"nothing is granted to everybody": {
			granted + "select g.thing from granted g where g.grantee = 0",
			"grant select (title) on headway.task to public",
		},
		"functions are not for everybody as PostgreSQL makes them": {
			granted + "select g.thing from granted g where g.grantee = 0",
			"create function headway.note() returns void language sql return null",
		},
		"grants are for headway's roles": {
			granted + `select g.thing || ' to ' || g.grantee::regrole from granted g
				where g.grantee <> 0 and g.grantee::regrole::text !~ '^headway_(app|worker|user|admin|monitor)$'`,
			"grant select on headway.task to pg_monitor",
		},
		"nobody may hand on what they were granted": {
			granted + "select g.thing from granted g where g.grantable",
			"grant select on headway.task to headway_app with grant option",
		},
		"rows are read and written, and that is all": {
			granted + `select g.thing || ' ' || g.privilege from granted g
				where g.privilege not in ('SELECT', 'INSERT', 'UPDATE', 'DELETE', 'USAGE', 'EXECUTE')`,
			"grant truncate on headway.task to headway_app",
		},
		"sequences are drawn from by the tables that they belong to and, for what a backend inserts, by the backend": {
			granted + `select g.thing || ' ' || g.privilege || ' to ' || g.grantee::regrole from granted g
				where g.thing ~ '_id_seq$'
				and (g.privilege <> 'USAGE' or g.grantee::regrole::text <> 'headway_app' or g.thing !~ '(appuser|project|task|message)_id_seq$')`,
			"grant update on sequence headway.task_id_seq to headway_app",
		},
		"everything belongs to headway_owner": {
			`select n.nspname::text from pg_namespace n where n.nspname = 'headway' and n.nspowner <> 'headway_owner'::regrole
			union all
			select c.oid::regclass::text from pg_class c where c.relnamespace = 'headway'::regnamespace and c.relowner <> 'headway_owner'::regrole
			union all
			select p.oid::regprocedure::text from pg_proc p where p.pronamespace = 'headway'::regnamespace and p.proowner <> 'headway_owner'::regrole
			union all
			select t.oid::regtype::text from pg_type t where t.typnamespace = 'headway'::regnamespace and t.typowner <> 'headway_owner'::regrole`,
			"create table headway.note ()",
		},
		"every table has row-level security": {
			`select c.oid::regclass::text from pg_class c
			where c.relnamespace = 'headway'::regnamespace and c.relkind in ('r', 'p') and not c.relrowsecurity`,
			"create table headway.note ()",
		},
		"row-level security is not forced, or the owner's functions would find nothing": {
			`select c.oid::regclass::text from pg_class c where c.relnamespace = 'headway'::regnamespace and c.relforcerowsecurity`,
			"alter table headway.task force row level security",
		},
		"every table has its trusted roles": {
			`select c.oid::regclass::text from pg_class c
			where c.relnamespace = 'headway'::regnamespace and c.relkind in ('r', 'p') and not exists (
			  select from pg_policy p where p.polrelid = c.oid and p.polname = 'trusted' and p.polpermissive and p.polcmd = '*'
			)`,
			"drop policy trusted on headway.task",
		},
		"every policy says whom it is for": {
			policies + "select p.name from policy p where 0 = any (p.roles)",
			"create policy careless on headway.task using (headway.uid() is not null)",
		},
		"end users have policies of their own": {
			policies + "select p.name from policy p where 'headway_user'::regrole = any (p.roles) and cardinality(p.roles) > 1",
			"alter policy trusted on headway.task to headway_app, headway_user",
		},
		"no policy lets end users have everything": {
			policies + `select p.name from policy p
				where 'headway_user'::regrole = any (p.roles) and (p.qual !~ 'headway\.' or p.with_check !~ 'headway\.')`,
			"create policy careless on headway.task for select to headway_user using (true)",
		},
		"policies ask once a statement who is acting, not for each row": {
			policies + `select p.name from policy p
				where regexp_replace(concat(p.qual, p.with_check), '\( SELECT headway\.\w+\(\) AS \w+\)', '', 'g') ~ 'headway\.(uid|identity|my_\w+)\('`,
			"create policy careless on headway.task for select to headway_user using (project_id = any (headway.my_projects()))",
		},
		"what may be written has the rules of what may be read, or its own": {
			policies + "select p.name from policy p where p.command = 'a' and p.with_check is null or p.command <> 'a' and p.qual is null",
			"create policy careless on headway.seen for insert to headway_user",
		},
		"who acts is asked in words that are fixed": {
			`select p.oid::regprocedure::text from pg_proc p
			where p.pronamespace = 'headway'::regnamespace and p.proname = 'uid' and p.prosqlbody is null`,
			"create or replace function headway.uid() returns bigint language sql stable as 'select 1::bigint'",
		},
		"only what tells people what is theirs runs as its owner for end users": {
			`select p.oid::regprocedure::text from pg_proc p
			where p.pronamespace = 'headway'::regnamespace and p.prosecdef and has_function_privilege('headway_user', p.oid, 'execute')
			  and (p.proname !~ '^my_' or p.pronargs > 0)
			  and p.proname not in ('my_progress', 'sender_name') -- TestEndUsersFindWhatIsTheirs compares them with what the policies show`,
			"alter function headway.post security definer",
		},
		"no function claims to leak nothing": {
			"select p.oid::regprocedure::text from pg_proc p where p.pronamespace = 'headway'::regnamespace and p.proleakproof",
			"alter function headway.percent leakproof",
		},
		"no function puts statements together": {
			`select p.oid::regprocedure::text from pg_proc p
			where p.pronamespace = 'headway'::regnamespace and p.prosrc ~* '(^|[^_a-z])execute\s'`,
			"create function headway.note() returns void language plpgsql as 'begin execute ''select 1''; end'",
		},
		"roles are groups without rights of their own": {
			`select r.rolname::text from pg_roles r
			where r.rolname in ('headway_owner', 'headway_app', 'headway_worker', 'headway_user', 'headway_admin', 'headway_monitor')
			  and (r.rolcanlogin or r.rolsuper or r.rolcreatedb or r.rolcreaterole or r.rolreplication or r.rolbypassrls or r.rolconfig is not null)`,
			"alter role headway_app login",
		},
		"no role is in another": {
			`select m.member::regrole || ' in ' || m.roleid::regrole from pg_auth_members m
			where m.member::regrole::text in ('headway_owner', 'headway_app', 'headway_worker', 'headway_user', 'headway_admin', 'headway_monitor')`,
			"grant headway_user to headway_app",
		},
	} {
		t.Run(rule, func(t *testing.T) {
			for _, offender := range column(t, conn, c.query) {
				t.Errorf("not %s", offender)
			}
			pgtest.Execute(t, conn, "begin; "+c.breach)
			if found := column(t, conn, c.query); len(found) == 0 {
				t.Errorf("not found: %s", c.breach)
			}
			pgtest.Execute(t, conn, "rollback")
		})
	}
}

var (
	foreignKey = regexp.MustCompile(`(?i)\breferences\s+headway\.`)
	onDelete   = regexp.MustCompile(`(?is)^references\s+headway\.\w+\s*(\([^)]*\)\s*)?on delete (cascade|set null|restrict|no action)`)
	check      = regexp.MustCompile(`(?i)\bcheck \(`)
	sentence   = regexp.MustCompile(`^\s*-- .*[.:;]$|^\s*-- \S`)
	fullStop   = regexp.MustCompile(`[.…]$`)
)

// TestMigrationsSayWhatHappens reads the source for what the catalog forgets.
func TestMigrationsSayWhatHappens(t *testing.T) {
	t.Parallel()
	err := fs.WalkDir(sql.Migrations(), ".", func(name string, _ fs.DirEntry, err error) error {
		if err != nil || path.Ext(name) != ".sql" {
			return err
		}
		source, err := fs.ReadFile(sql.Migrations(), name)
		if err != nil {
			return err
		}
		lines := strings.Split(string(source), "\n")
		for i, line := range lines {
			code, _, _ := strings.Cut(line, "--")
			if loc := foreignKey.FindStringIndex(code); loc != nil {
				rest := strings.Join(append([]string{code[loc[0]:]}, lines[i+1:min(i+3, len(lines))]...), "\n")
				if !onDelete.MatchString(rest) {
					t.Errorf("%s:%d: a foreign key does not say what happens on delete: %s", name, i+1, strings.TrimSpace(line))
				}
			}
			if path.Dir(name) != "." || !check.MatchString(strings.ReplaceAll(code, "with check (", "")) {
				continue
			}
			// The sentence stands above the constraint, whose name may have a line of its own.
			above := i - 1
			for above >= 0 && regexp.MustCompile(`^\s*(add )?constraint \w+$`).MatchString(lines[above]) {
				above--
			}
			if above < 0 || !sentence.MatchString(lines[above]) || !fullStop.MatchString(lines[above]) {
				t.Errorf("%s:%d: a check has no sentence above it: %s", name, i+1, strings.TrimSpace(line))
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestNothingNeedsASearchPath calls every view and every function that can be called without harm. Behaviour, races and
// triggers are tested with an empty search_path throughout; this is for what they pass by.
func TestNothingNeedsASearchPath(t *testing.T) {
	t.Parallel()
	conn := pgtest.New(t).Conn(t)
	pgtest.Execute(t, conn, arrange)
	rows, err := conn.Query(t.Context(), `select c.oid::regclass::text from pg_class c where c.relnamespace = 'headway'::regnamespace and c.relkind = 'v'`)
	if err != nil {
		t.Fatal(err)
	}
	views, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || len(views) == 0 {
		t.Fatalf("%d views, %v", len(views), err)
	}
	for _, view := range views {
		pgtest.Execute(t, conn, "select * from "+view)
	}
	for _, call := range []string{
		"select headway.complete_task(1, 1)", "select headway.reopen_task(1, 1, 5, 'why')", "select headway.post(1, 'broadcast', 'x')",
		"select headway.mark_read(2, 'broadcast', 1)", "select headway.mark_seen(3, (select array_agg(id) from headway.message))",
		"select headway.open_channel('a_room', 1, array[1])", "select headway.mute(1, 'a_room')", "select headway.snapshot(1)",
		"select headway.messages_since('broadcast')", "select headway.set_setting('notify_payload', 'row')", "select headway.verify()",
		"select headway.fold()", "select headway.repair()", "select headway.forget_user(4)", "select headway.lock_key('fold')",
	} {
		pgtest.Execute(t, conn, call)
	}
}
