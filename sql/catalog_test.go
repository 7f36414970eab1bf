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
		"functions that run as their owner look nowhere but in pg_catalog, and last in pg_temp": `
			select p.oid::regprocedure::text from pg_proc p
			where p.pronamespace = 'headway'::regnamespace and p.prosecdef
			  and (p.proconfig is null or not exists (
			    select from unnest(p.proconfig) c where c in ('search_path=pg_catalog, pg_temp', 'search_path=""')
			  ))`,
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
		"triggers are named for their table and their moment": `
			select r.relname || ': ' || t.tgname from pg_trigger t join pg_class r on r.oid = t.tgrelid
			where r.relnamespace = 'headway'::regnamespace and not t.tgisinternal
			  and t.tgname !~ ('^' || r.relname || '_(before|after)_(insert|update|delete|truncate|write|change)(_|$)')`,
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
	execute(t, conn, arrange)
	rows, err := conn.Query(t.Context(), `select c.oid::regclass::text from pg_class c where c.relnamespace = 'headway'::regnamespace and c.relkind = 'v'`)
	if err != nil {
		t.Fatal(err)
	}
	views, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || len(views) == 0 {
		t.Fatalf("%d views, %v", len(views), err)
	}
	for _, view := range views {
		execute(t, conn, "select * from "+view)
	}
	for _, call := range []string{
		"select headway.complete_task(1, 1)", "select headway.reopen_task(1, 1, 5, 'why')", "select headway.post(1, 'broadcast', 'x')",
		"select headway.mark_read(2, 'broadcast', 1)", "select headway.mark_seen(3, (select array_agg(id) from headway.message))",
		"select headway.open_channel('a_room', 1, array[1])", "select headway.mute(1, 'a_room')", "select headway.snapshot(1)",
		"select headway.messages_since('broadcast')", "select headway.set_setting('notify_payload', 'row')", "select headway.verify()",
		"select headway.fold()", "select headway.repair()", "select headway.forget_user(4)", "select headway.lock_key('fold')",
	} {
		execute(t, conn, call)
	}
}
