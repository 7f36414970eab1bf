set local search_path = pg_catalog, pg_temp;

-- Roles belong to the cluster, not the database: they stay when headway is removed, since another database may use
-- them.
{{ template "roles/create.sql" . }}

-- Whoever migrates creates things on behalf of the owner. Since PostgreSQL 16, the creator of a role is a member of it
-- only to the extent that they may add members.
do $$
begin
  if not pg_catalog.pg_has_role('headway_owner', 'usage') then
    execute format('grant headway_owner to %I', current_user);
  end if;
exception when unique_violation then
  null; -- another database of this cluster was migrated at the same moment
end
$$;

-- The table belongs to whoever created it. Others who migrate have these rights through the owner.
grant select, update on public.headway_schema_version to headway_owner;

set local lock_timeout = '3s';

-- It has no key. Without this, no version could be written where a publication is for all tables. It stays when headway is
-- removed, which writes a 0, and the next to migrate may not own the table.
do $$
begin
  if (select c.relreplident <> 'f' from pg_class c where c.oid = 'public.headway_schema_version'::regclass) then
    alter table public.headway_schema_version replica identity full;
  end if;
end
$$;

---- create above / drop below ----

set local search_path = pg_catalog, pg_temp;

revoke all on public.headway_schema_version from headway_owner;
