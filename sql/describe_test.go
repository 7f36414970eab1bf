package sql_test

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"headway/internal/pgtest"
)

// description lists everything in a database that is not the server's own, a line each, several where it has a source:
// what pg_dump would write, but in the words of the server, so that it works on every version.
//
// Grants are told in full, also those that PostgreSQL gives by default.
const description = `
with space as (
  select n.oid, n.nspname, n.nspowner, n.nspacl
  from pg_catalog.pg_namespace n
  where n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
),
owned (class, id, name, owner, acl, default_acl) as (
  select 'schema', s.oid, s.nspname::text, s.nspowner, s.nspacl, 'n' from space s
  union all
  select 'relation', c.oid, c.oid::regclass::text, c.relowner, c.relacl, case c.relkind when 'S' then 's' else 'r' end
  from pg_catalog.pg_class c
  join space s on s.oid = c.relnamespace
  where c.relkind in ('r', 'p', 'v', 'm', 'f', 'S')
  union all
  select 'function', p.oid, p.oid::regprocedure::text, p.proowner, p.proacl, 'f'
  from pg_catalog.pg_proc p
  join space s on s.oid = p.pronamespace
  union all
  select 'type', t.oid, t.oid::regtype::text, t.typowner, t.typacl, 'T'
  from pg_catalog.pg_type t
  join space s on s.oid = t.typnamespace
  where t.typtype in ('e', 'd', 'r')
),
line (line) as (
  select format('%s %s of %s', o.class, o.name, o.owner::regrole) from owned o
  union all
  select format('grant %s on %s %s to %s by %s%s', a.privilege_type, o.class, o.name,
    case a.grantee when 0 then 'public' else a.grantee::regrole::text end, a.grantor::regrole, case when a.is_grantable then ' with grant option' end)
  from owned o
  cross join lateral pg_catalog.aclexplode(coalesce(o.acl, pg_catalog.acldefault(o.default_acl::"char", o.owner))) a
  union all
  select format('grant on column %s.%s: %s', a.attrelid::regclass, a.attname, a.attacl)
  from pg_catalog.pg_attribute a
  where a.attacl is not null and a.attrelid in (select o.id from owned o where o.class = 'relation')
  union all
  select format('default grants of %s in schema %s on %s: %s',
    d.defaclrole::regrole, d.defaclnamespace::regnamespace, d.defaclobjtype, d.defaclacl)
  from pg_catalog.pg_default_acl d
  union all
  select format('relation %s: kind %s, persistence %s, options %s, row security %s %s, replica identity %s', c.oid::regclass, c.relkind,
    c.relpersistence, c.reloptions, c.relrowsecurity, c.relforcerowsecurity, c.relreplident)
  from pg_catalog.pg_class c
  join space s on s.oid = c.relnamespace
  union all
  select format('column %s.%s: %s %s, not null %s, default %s, identity %s, generated %s, collation %s, storage %s, compression %s, options %s, statistics %s',
    a.attrelid::regclass, row_number() over (partition by a.attrelid order by a.attnum),
    a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
    (select pg_get_expr(d.adbin, d.adrelid) from pg_catalog.pg_attrdef d where d.adrelid = a.attrelid and d.adnum = a.attnum),
    a.attidentity, a.attgenerated, a.attcollation::regcollation, a.attstorage, a.attcompression,
    -- Newer minor releases keep a number of their own among the options.
    (select array_agg(o.option) from unnest(a.attoptions) o (option) where o.option !~ '^pg_attver='), nullif(a.attstattarget, -1))
  from pg_catalog.pg_attribute a
  join pg_catalog.pg_class c on c.oid = a.attrelid and c.relkind in ('r', 'p', 'v', 'm', 'f')
  join space s on s.oid = c.relnamespace
  where a.attnum > 0 and not a.attisdropped
  union all
  select format('sequence %s: %s', q.seqrelid::regclass, to_jsonb(q) - 'seqrelid' - 'seqtypid')
  from pg_catalog.pg_sequence q
  union all
  select format('constraint on %s: %s %s, validated %s', coalesce(c.conrelid::regclass::text, c.contypid::regtype::text), c.conname,
    pg_get_constraintdef(c.oid), c.convalidated)
  from pg_catalog.pg_constraint c
  join space s on s.oid = c.connamespace
  union all
  select format('index on %s: %s, valid %s, replica identity %s, clustered %s', i.indrelid::regclass, pg_get_indexdef(i.indexrelid),
    i.indisvalid, i.indisreplident, i.indisclustered)
  from pg_catalog.pg_index i
  join pg_catalog.pg_class c on c.oid = i.indrelid
  join space s on s.oid = c.relnamespace
  union all
  select format('view %s: %s', c.oid::regclass, pg_get_viewdef(c.oid))
  from pg_catalog.pg_class c
  join space s on s.oid = c.relnamespace
  where c.relkind in ('v', 'm')
  union all
  select format('trigger on %s: %s, enabled %s', t.tgrelid::regclass, pg_get_triggerdef(t.oid), t.tgenabled)
  from pg_catalog.pg_trigger t
  where not t.tgisinternal
  union all
  select format('policy on %s: %s, command %s, permissive %s, roles %s, using %s, check %s', p.polrelid::regclass, p.polname, p.polcmd, p.polpermissive,
    p.polroles::regrole[], pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid))
  from pg_catalog.pg_policy p
  union all
  select format('function %s: %s', o.name, pg_get_functiondef(o.id)) from owned o where o.class = 'function'
  union all
  select format('enum %s: %s', e.enumtypid::regtype, string_agg(e.enumlabel, ', ' order by e.enumsortorder))
  from pg_catalog.pg_enum e
  group by e.enumtypid
  union all
  select format('comment on %s %s: %s', i.type, i.identity, d.description)
  from pg_catalog.pg_description d
  cross join lateral pg_identify_object(d.classoid, d.objoid, d.objsubid) i
  where d.objoid >= 16384
  union all
  -- What there is besides shows at least by its name. The server makes these, and puts numbers into their names.
  select distinct format('there is %s %s', i.type, i.identity)
  from pg_catalog.pg_depend d
  cross join lateral pg_identify_object(d.classid, d.objid, 0) i
  where d.objid >= 16384 and i.identity !~ 'pg_toast|RI_ConstraintTrigger'
)
select l.line from line l order by l.line collate "C"`

// describe returns the description of a database. It is for comparing with another on the same server.
func describe(t *testing.T, conn *pgx.Conn) string {
	t.Helper()
	return strings.Join(column(t, conn, description), "\n")
}

func TestADescriptionTellsWhateverChanges(t *testing.T) {
	t.Parallel()
	conn := pgtest.New(t).Conn(t)
	is := describe(t, conn)
	for _, change := range []string{
		"alter schema headway owner to pg_database_owner",
		"grant usage on schema headway to public",
		"grant select on headway.task to public",
		"grant select (title) on headway.task to public",
		"revoke execute on function headway.post from headway_app",
		"alter default privileges revoke execute on functions from public",
		"alter table headway.task disable row level security",
		"create policy nobody on headway.task using (false)",
		"alter policy nobody on headway.task to pg_monitor",
		"alter table headway.task disable trigger task_after_insert",
		"alter table headway.task alter title set default 'To do'",
		"alter table headway.task alter id restart with 7 set increment 2",
		"alter table headway.task add constraint task_detail_short check (length(detail) < 1000) not valid",
		"alter table headway.task validate constraint task_detail_short",
		"alter table headway.task set (fillfactor = 90)",
		"alter index headway.task_pkey set (fillfactor = 90)",
		"drop index headway.task_project_id_idx",
		"alter function headway.post stable",
		"alter view headway.progress set (security_invoker = off)",
		"alter type headway.fact_kind add value 'moved' before 'recompute'",
		"comment on column headway.task.title is 'What there is to do.'",
		"comment on trigger task_after_insert on headway.task is 'Queues.'",
		"create statistics headway.task_stats on project_id, audience from headway.task",
		"create rule task_kept as on delete to headway.task do instead nothing",
	} {
		was := is
		pgtest.Execute(t, conn, change)
		if is = describe(t, conn); is == was {
			t.Errorf("the same after: %s", change)
		}
	}
}
