-- Drops everything a snapshot installed: triggers, views and functions, never a table.
do $$
declare
  v_drop text;
begin
  for v_drop in
    select format('drop trigger %I on %s', t.tgname, t.tgrelid::regclass)
    from pg_catalog.pg_trigger t
    join pg_catalog.pg_proc p on p.oid = t.tgfoid
    -- Not the triggers that applications have on these tables.
    where p.pronamespace = 'headway'::regnamespace and not t.tgisinternal
  loop
    execute v_drop;
  end loop;
  -- Views depend on views and functions: the newest goes first.
  for v_drop in
    select format('drop view %s', c.oid::regclass)
    from pg_catalog.pg_class c
    where c.relnamespace = 'headway'::regnamespace and c.relkind = 'v'
    order by c.oid desc
  loop
    execute v_drop;
  end loop;
  for v_drop in
    select format('drop routine %s', p.oid::regprocedure)
    from pg_catalog.pg_proc p
    where p.pronamespace = 'headway'::regnamespace
      -- Policies depend on some functions, which belong to no snapshot.
      and not exists (
        select from pg_catalog.pg_depend d
        where d.refclassid = 'pg_catalog.pg_proc'::regclass and d.refobjid = p.oid and d.classid = 'pg_catalog.pg_policy'::regclass
      )
    order by p.oid desc
  loop
    execute v_drop;
  end loop;
end
$$;
