-- Changes the owner of everything in the schema: from the login that migrates to headway_owner, which nobody logs in as, and back.
do $$
declare
  v_own text;
begin
  for v_own in
    select format('alter schema headway owner to {{ . }}')
    union all
    select format('alter %s %s owner to {{ . }}', case c.relkind when 'v' then 'view' else 'table' end, c.oid::regclass)
    from pg_catalog.pg_class c
    where c.relnamespace = 'headway'::regnamespace and c.relkind in ('r', 'v')
    union all
    select format('alter type %s owner to {{ . }}', t.oid::regtype)
    from pg_catalog.pg_type t
    where t.typnamespace = 'headway'::regnamespace and t.typtype = 'e'
    union all
    select format('alter routine %s owner to {{ . }}', p.oid::regprocedure)
    from pg_catalog.pg_proc p
    where p.pronamespace = 'headway'::regnamespace
  loop
    execute v_own;
  end loop;
end
$$;
