-- A schema in which everything that PostgreSQL has, and headway names, is there again under the same name and with the
-- same types. Whatever is called of it says so.
create schema hostile;

create function hostile.called() returns void language plpgsql as $$
begin
  raise exception 'something hostile was called' using errcode = 'HW666';
end
$$;

do $$
declare
  v_make text;
begin
  for v_make in
    with
      named as (select distinct w[1] as word from pg_proc p, regexp_matches(lower(pg_get_functiondef(p.oid)), '\m[a-z_0-9]+\M', 'g') w
        where p.pronamespace = 'headway'::regnamespace),
      usual as (
        select t.oid from pg_type t
        where t.typname in ('int2', 'int4', 'int8', 'text', 'bool', 'timestamptz', 'timestamp', 'date', 'interval', 'time', 'uuid', 'jsonb', 'json',
          'numeric', 'float8', 'bytea', 'name', 'oid', 'regclass', 'anyarray', 'anyelement', 'anynonarray', 'anycompatiblearray', 'anycompatible', '_text', '_int8')
          and t.typnamespace = 'pg_catalog'::regnamespace
      )
    -- Functions: PostgreSQL's, aggregates as functions, and headway's own.
    select distinct on (p.proname, p.proargtypes::text) format(
      'create function hostile.%I(%s) returns %s language plpgsql as ''begin perform hostile.called(); end''',
      p.proname, oidvectortypes(p.proargtypes), case when p.proretset then 'setof ' else '' end || p.prorettype::regtype
    )
    from pg_proc p
    join named n on n.word = p.proname
    where p.pronamespace in ('pg_catalog'::regnamespace, 'headway'::regnamespace)
      and p.prokind in ('f', 'a', 'w') and p.provariadic = 0 and p.pronargs > 0
      and p.prorettype not in ('internal'::regtype, 'trigger'::regtype, 'cstring'::regtype, '"any"'::regtype)
      and not exists (select from unnest(p.proargtypes) a where a not in (select u.oid from usual u) and a::regtype::text !~ '^headway')
    union all
    -- A function for each pair of types, and an operator for each that there is between them.
    select distinct format(
      'create function hostile.operate(%s) returns %s language plpgsql as ''begin perform hostile.called(); end''',
      concat_ws(', ', nullif(o.oprleft, 0)::regtype, o.oprright::regtype), 'boolean'
    )
    from pg_operator o
    where o.oprnamespace = 'pg_catalog'::regnamespace
      and (o.oprleft = 0 or o.oprleft in (select u.oid from usual u)) and o.oprright in (select u.oid from usual u)
    union all
    select format('create operator hostile.%s (%s rightarg = %s, function = hostile.operate)',
      o.oprname, case when o.oprleft <> 0 then format('leftarg = %s,', o.oprleft::regtype) end, o.oprright::regtype)
    from pg_operator o
    where o.oprnamespace = 'pg_catalog'::regnamespace
      and (o.oprleft = 0 or o.oprleft in (select u.oid from usual u)) and o.oprright in (select u.oid from usual u)
    union all
    select format('create table hostile.%I as select * from headway.%1$I limit 0', c.relname)
    from pg_class c
    where c.relnamespace = 'headway'::regnamespace and c.relkind in ('r', 'v')
    union all
    -- Last: what follows would use them.
    select format('create domain hostile.%I as pg_catalog.%1$I constraint hostile check (hostile.called() is null)', t)
    from unnest(array['text', 'uuid', 'json', 'jsonb', 'bytea']) t
  loop
    execute v_make;
  end loop;
end
$$;
grant usage on schema hostile to public;
grant all on all tables in schema hostile to public;
