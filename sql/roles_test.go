package sql_test

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"headway/internal/pgtest"
)

var update = flag.Bool("update", false, "write the privileges that roles have into testdata/privileges.txt")

// roles are those between whom privileges are divided. Nobody logs in as the owner, who has them all; public is whoever
// connects.
var roles = []string{"headway_app", "headway_worker", "headway_user", "headway_admin", "headway_monitor", "public"}

// privileges returns, for every thing in the schema and every role, a row: what it is, whose part it is (a column's
// table), its name, and the letters of what the role may do with it. Columns are told where a grant names columns.
//
// The server answers, so what one role has from another counts.
const privileges = `
with role (name, number) as (select r.name, r.number from unnest($1::text[]) with ordinality r (name, number)),
relation as (
  select c.oid, c.relkind, replace(c.oid::regclass::text, 'headway.', '') as name,
    exists (select from pg_attribute a where a.attrelid = c.oid and a.attacl is not null) as by_column
  from pg_class c
  where c.relnamespace = 'headway'::regnamespace and c.relkind in ('r', 'p', 'v', 'm', 'f', 'S')
),
thing (place, kind, name, part, place_of_part, letters) as (
  select 1, 'schema', 'headway', '', 0, array(
    select case when has_schema_privilege(r.name, 'headway', 'usage') then 'u' else '' end
      || case when has_schema_privilege(r.name, 'headway', 'create') then 'c' else '' end
    from role r order by r.number
  )
  union all
  select 2, 'type', replace(t.oid::regtype::text, 'headway.', ''), '', 0, array(
    select case when has_type_privilege(r.name, t.oid, 'usage') then 'u' else '' end from role r order by r.number
  )
  from pg_type t
  where t.typnamespace = 'headway'::regnamespace and t.typtype in ('e', 'd')
  union all
  select case c.relkind when 'r' then 3 when 'v' then 4 else 5 end,
    case c.relkind when 'r' then 'table' when 'v' then 'view' else 'relation' end,
    c.name, '', 0, array(
      select string_agg(case when has_table_privilege(r.name, c.oid, p.name) then p.letter else '' end, '' order by p.number)
      from role r
      cross join (
        values ('select', 's', 1), ('insert', 'i', 2), ('update', 'u', 3), ('delete', 'd', 4),
          ('truncate', 't', 5), ('references', 'r', 6), ('trigger', 'g', 7)
      ) p (name, letter, number)
      group by r.number
      order by r.number
    )
  from relation c
  where c.relkind <> 'S'
  union all
  select 3, 'table', c.name, '.' || a.attname, a.attnum, array(
    select string_agg(case when has_column_privilege(r.name, c.oid, a.attnum, p.name) then p.letter else '' end, '' order by p.number)
    from role r
    cross join (values ('select', 's', 1), ('insert', 'i', 2), ('update', 'u', 3), ('references', 'r', 4)) p (name, letter, number)
    group by r.number
    order by r.number
  )
  from relation c
  join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
  where c.by_column
  union all
  select 6, 'sequence', c.name, '', 0, array(
    select string_agg(case when has_sequence_privilege(r.name, c.oid, p.name) then p.letter else '' end, '' order by p.letter)
    from role r
    cross join (values ('select', 's'), ('update', 'u'), ('usage', 'x')) p (name, letter)
    group by r.number
    order by r.number
  )
  from relation c
  where c.relkind = 'S'
  union all
  select case p.prorettype when 'trigger'::regtype then 8 else 7 end,
    case p.prorettype when 'trigger'::regtype then 'trigger' else 'function' end,
    replace(replace(replace(
      p.oid::regprocedure::text, 'headway.', ''), 'timestamp with time zone', 'timestamptz'), 'time without time zone', 'time'
    ), '', 0, array(
      select case when has_function_privilege(r.name, p.oid, 'execute') then case when p.prosecdef then 'X' else 'x' end else '' end
      from role r order by r.number
    )
  from pg_proc p
  where p.pronamespace = 'headway'::regnamespace
)
select t.kind, t.name, t.part, t.letters
from thing t
order by t.place, t.name collate "C", t.place_of_part`

// legend stands above the table.
const legend = `# Who may do what, by grants; which rows of a table an end user sees of it is up to the policies. All of it, a line for
# each thing in the schema. go test ./sql -run TestRolesMayDoWhatTheTableSays -update writes it anew; read the difference.
#
# table, view: s select, i insert, u update, d delete, t truncate, r references, g trigger. Where a grant names columns
# they follow, with what may be done with each. function: x execute, X with the rights of headway_owner. schema, type: u
# use, c create. sequence: s see, u set, x draw from. - is nothing.
`

// privilegeTable returns the privileges as text, a line for each thing and a column for each role.
func privilegeTable(t *testing.T, conn *pgx.Conn) string {
	t.Helper()
	type thing struct {
		kind, name, part string
		letters          []string
	}
	rows, err := conn.Query(t.Context(), privileges, roles)
	if err != nil {
		t.Fatal(err)
	}
	things, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (g thing, err error) {
		return g, row.Scan(&g.kind, &g.name, &g.part, &g.letters)
	})
	if err != nil {
		t.Fatal(err)
	}

	var b strings.Builder
	line := func(name string, cells []string) {
		text := fmt.Sprintf("%-45s", name)
		for _, cell := range cells {
			text += fmt.Sprintf(" %-8s", cell)
		}
		b.WriteString(strings.TrimRight(text, " ") + "\n")
	}
	b.WriteString(legend)
	for i, g := range things {
		name := g.name
		if g.part != "" {
			name = "  " + g.part
		}
		if i == 0 || things[i-1].kind != g.kind {
			heads := slices.Clone(roles)
			for i := range heads {
				heads[i] = strings.TrimPrefix(heads[i], "headway_")
			}
			b.WriteString("\n")
			line(g.kind, heads)
		}
		for i := range g.letters {
			if g.letters[i] == "" {
				g.letters[i] = "-"
			}
		}
		line(name, g.letters)
	}
	return b.String()
}

// TestRolesMayDoWhatTheTableSays compares the catalog with testdata/privileges.txt. What is new in the schema has no
// line there, and fails it, until somebody has written down who may do what with it.
func TestRolesMayDoWhatTheTableSays(t *testing.T) {
	t.Parallel()
	const file = "testdata/privileges.txt"
	got := privilegeTable(t, pgtest.New(t).Conn(t))
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Split(string(text), "\n")
	have := strings.Split(got, "\n")
	for _, line := range have {
		if !slices.Contains(want, line) {
			t.Errorf("not in %s: %s", file, line)
		}
	}
	for _, line := range want {
		if !slices.Contains(have, line) {
			t.Errorf("only in %s: %s", file, line)
		}
	}
	if !t.Failed() && got != string(text) {
		t.Errorf("%s has its lines in another order", file)
	}
}

// TestThePrivilegeTableTellsWhateverIsGranted grants what nobody should, and looks for it in the table.
func TestThePrivilegeTableTellsWhateverIsGranted(t *testing.T) {
	t.Parallel()
	conn := pgtest.New(t).Conn(t)
	was := privilegeTable(t, conn)
	for _, grant := range []string{
		"grant usage on schema headway to public",
		"grant create on schema headway to headway_app",
		"grant usage on type headway.fact_kind to public",
		"grant select on headway.task to public",
		"grant truncate on headway.task to headway_app",
		"grant references on headway.task to headway_app",
		"grant trigger on headway.task to headway_app",
		"grant update on headway.message to headway_app",
		"grant update (last_seq) on headway.channel to headway_app",
		"grant select (mail) on headway.digest to headway_app",
		"grant select (email) on headway.appuser to headway_user",
		"revoke select (fullname) on headway.appuser from headway_user",
		"grant select on headway.digest_message to headway_user",
		"grant usage on sequence headway.digest_id_seq to headway_app",
		"grant execute on function headway.fold to headway_user",
		"grant execute on function headway.fold to public",
		"alter function headway.post security definer",
		"create table headway.note ()",
		"alter table headway.appuser add note text",
		"create view headway.noted as select 1",
		"create function headway.note() returns void language sql return null",
	} {
		pgtest.Execute(t, conn, "begin; "+grant)
		if privilegeTable(t, conn) == was {
			t.Errorf("the same after: %s", grant)
		}
		pgtest.Execute(t, conn, "rollback")
	}
}
