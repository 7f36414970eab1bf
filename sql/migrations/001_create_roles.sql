-- Roles are the cluster's, not the database's: they stay when headway goes, since another database may use them.
{{ template "roles/create.sql" . }}

---- create above / drop below ----

do $$ begin end $$;
