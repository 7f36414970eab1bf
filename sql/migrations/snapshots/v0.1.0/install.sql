-- The current definition of every function, trigger and view, one file per topic, in the order in which data passes
-- through them.
{{ template "identity.sql" . }}
{{ template "settings.sql" . }}
{{ template "notify.sql" . }}
{{ template "doorbell.sql" . }}
{{ template "people.sql" . }}
{{ template "channels.sql" . }}
{{ template "tasks.sql" . }}
{{ template "completions.sql" . }}
{{ template "progress.sql" . }}
{{ template "fold.sql" . }}
{{ template "reading.sql" . }}
{{ template "verify.sql" . }}
{{ template "digests.sql" . }}
{{ template "sending.sql" . }}
{{ template "explain.sql" . }}
{{ template "worker.sql" . }}
{{ template "gateway.sql" . }}
{{ template "grants.sql" . }}
