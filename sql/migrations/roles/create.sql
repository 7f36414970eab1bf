-- The roles of headway: groups without login, the same for every database of a cluster. Run by the first migration,
-- or by hand by somebody who may, as `headway migrate --no-roles` prints it.
do $$
declare
  v_role text;
begin
  -- What is named without a schema is PostgreSQL's, whatever others have made in public.
  perform pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
  foreach v_role in array array[
    'headway_owner', -- owns everything
    'headway_app', -- a trusted backend
    'headway_worker', -- folds and sends
    'headway_user', -- an end user
    'headway_admin', -- looks at everything, and mends it
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
