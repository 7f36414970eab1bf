set local lock_timeout = '3s';

create table headway.worker (
  id uuid constraint worker_pkey primary key,
  host text not null,
  pid integer not null,
  version text not null,
  started_at timestamptz not null default now(),
  last_seen_at timestamptz not null default now(),
  leader boolean not null default false
) with (fillfactor = 50);
comment on table headway.worker is 'Heartbeats. A worker that was not seen for a minute is gone; its row stays for a day.';
comment on column headway.worker.leader is 'true: it is the one that listens and folds.';

---- create above / drop below ----

drop table headway.worker;
