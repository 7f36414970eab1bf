set local search_path = pg_catalog, pg_temp;

-- Roles are the cluster's, not the database's: they stay when headway goes, since another database may use them.
{{ template "roles/create.sql" . }}

-- Whoever migrates makes things on behalf of the owner. From PostgreSQL 16 on, who has made a role is a member of it
-- only in that they may make others one.
do $$
begin
  if not pg_catalog.pg_has_role('headway_owner', 'usage') then
    execute format('grant headway_owner to %I', current_user);
  end if;
exception when unique_violation then
  null; -- another database of this cluster was migrated at the same moment
end
$$;

-- The table is its maker's. Others who migrate have this by way of the owner.
grant select, update on public.headway_schema_version to headway_owner;

---- create above / drop below ----

set local search_path = pg_catalog, pg_temp;

revoke all on public.headway_schema_version from headway_owner;
