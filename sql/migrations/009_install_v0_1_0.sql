set local search_path = pg_catalog, pg_temp;
set local lock_timeout = '3s';

{{ install_snapshot "v0.1.0" }}
{{ template "roles/own.sql" "headway_owner" }}

---- create above / drop below ----

set local search_path = pg_catalog, pg_temp;
set local lock_timeout = '3s';

{{ template "snapshots/v0.1.0/uninstall.sql" . }}
