-- headway's roles: groups without login, shared by all databases of a cluster. The first migration runs this; if its
-- login may not create roles, somebody else runs what `headway migrate --no-roles` prints.
do $$
declare
  v_role text;
begin
  -- Names without a schema are PostgreSQL's, whatever others have created in public.
  perform pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
  foreach v_role in array array[
    'headway_owner', -- owns everything
    'headway_app', -- a trusted backend
    'headway_worker', -- folds and sends
    'headway_user', -- an end user
    'headway_admin', -- reads and repairs everything
    'headway_monitor' -- counts
  ] loop
    begin
      if not exists (select from pg_catalog.pg_roles r where r.rolname = v_role) then
        execute format('create role %I nologin', v_role);
      end if;
    exception when duplicate_object or unique_violation then
      null; -- another database of this cluster was migrated at the same moment
    end;
  end loop;
end
$$;
