package sql_test

import (
	"testing"

	"github.com/jackc/pgx/v5"

	"headway/internal/pgtest"
)

// TestTheCatalogKeepsTheConventions runs queries that each find what breaks a convention of CONTRIBUTING.md.
func TestTheCatalogKeepsTheConventions(t *testing.T) {
	t.Parallel()
	conn := pgtest.New(t).Conn(t)
	for convention, query := range map[string]string{
		"every table, view and type has a comment": `
			select c.oid::regclass::text from pg_class c
			where c.relnamespace = 'headway'::regnamespace and c.relkind in ('r', 'p', 'v', 'm')
				and obj_description(c.oid, 'pg_class') is null
			union all
			select y.oid::regtype::text from pg_type y
			where y.typnamespace = 'headway'::regnamespace and y.typtype in ('e', 'd') and obj_description(y.oid, 'pg_type') is null`,
		"every function has a comment": `
			select p.oid::regprocedure::text from pg_proc p
			where p.pronamespace = 'headway'::regnamespace and obj_description(p.oid, 'pg_proc') is null`,
		"every view is invoker": `
			select c.oid::regclass::text from pg_class c
			where c.relnamespace = 'headway'::regnamespace and c.relkind = 'v'
				and not coalesce(c.reloptions && array['security_invoker=true', 'security_invoker=on', 'security_invoker'], false)`,
		"every definer function pins its search_path": `
			select p.oid::regprocedure::text from pg_proc p
			where p.pronamespace = 'headway'::regnamespace and p.prosecdef
				and not coalesce(p.proconfig && array['search_path=pg_catalog, pg_temp', 'search_path=""'], false)`,
		"every trigger is named after its table, its time and its event": `
			select g.tgname || ' on ' || g.tgrelid::regclass from pg_trigger g
			where g.tgrelid in (select c.oid from pg_class c where c.relnamespace = 'headway'::regnamespace) and not g.tgisinternal
				and g.tgname !~ ('^' || (select c.relname from pg_class c where c.oid = g.tgrelid) || '_(before|after)_(insert|update|delete|truncate|write|change)$')`,
		"every constraint has a name of its own": `
			select n.conname || ' on ' || n.conrelid::regclass from pg_constraint n
			where n.connamespace = 'headway'::regnamespace and n.contype in ('c', 'f', 'p', 'u') and n.conname ~ '(_check|[0-9])$'`,
	} {
		t.Run(convention, func(t *testing.T) {
			rows, _ := conn.Query(t.Context(), query) // CollectRows returns its error
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
