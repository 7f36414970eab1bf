package pgtest

import (
	"context"
	"strings"
	"testing"
)

// Called is part of the error raised when anything that [Intrude] created is called.
const Called = "an intruder was called"

// Intrude makes a login that may create objects in the schema public of a database, as everybody could before
// PostgreSQL 15, and lets it create operators and functions with the names of PostgreSQL's, for argument types to which
// PostgreSQL would have to convert. They are a better match, so they are called wherever public is in the search_path.
// It returns the login's name.
func Intrude(t testing.TB, db *DB) (login string) {
	t.Helper()
	login = "intruder_" + db.Name
	conn := db.Conn(t, SearchPath("pg_catalog"))
	Execute(t, conn, "create role "+login+" login; grant create on schema public to "+login)
	t.Cleanup(func() {
		if _, err := conn.Exec(context.Background(), "drop owned by "+login+" cascade; drop role "+login); err != nil {
			t.Errorf("pgtest: drop the intruder: %v", err)
		}
	})
	Execute(t, db.Conn(t, User(login)), strings.ReplaceAll(sqlIntrude, "CALLED", Called))
	return login
}

const sqlIntrude = `
do $$
declare
  v_make text;
begin
  for v_make in
    with kind as (
      select t.name::pg_catalog.regtype::oid as oid, t.name
      from unnest(string_to_array('bool "char" name text varchar int2 int4 int8 float8 numeric oid regclass regnamespace regproc regprocedure ' ||
        'regrole regtype timestamptz interval text[] name[] oid[] "char"[] oidvector', ' ')) t (name)
    ),
    call (kind, name, arguments, returns) as (
      select 1, 'intrude', l.name || ', ' || r.name, 'boolean' from kind l, kind r
      union all
      select 2, 'join', l.name || ', ' || r.name, 'text' from kind l, kind r
      union all
      select 3, f, a.arguments, 'text'
      from unnest('{format,concat,concat_ws,string_agg,array_agg,max,min,quote_ident,to_regclass,to_regrole,has_table_privilege}'::text[]) f,
        kind k,
        lateral (values (k.name), ('text, ' || k.name), (k.name || ', text'), ('text, ' || k.name || ', ' || k.name),
          ('text, text, ' || k.name), ('text, ' || k.name || ', text')) a (arguments)
      group by f, a.arguments
    )
    select format('create function public.%I(%s) returns %s language plpgsql as ''begin raise exception ''''CALLED''''; end''',
      c.name, c.arguments, c.returns)
    from call c
    union all
    select format('create operator public.%s (leftarg = %s, rightarg = %s, function = public.%s)',
      o.name, l.name, r.name, case o.name when '||' then 'join' else 'intrude' end)
    from unnest('{=,<>,<,>,<=,>=,||,+,-,*,/,~,&}'::text[]) o (name), kind l, kind r
    where not exists (
      select from pg_catalog.pg_operator p
      where p.oprnamespace = 'pg_catalog'::pg_catalog.regnamespace::oid and p.oprname = o.name and p.oprleft = l.oid and p.oprright = r.oid
    )
  loop
    execute v_make;
  end loop;
end
$$`
