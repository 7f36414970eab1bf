set local search_path = pg_catalog, pg_temp;
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
comment on table headway.worker is 'Heartbeats. A worker not seen for a minute is gone; its row stays for a day.';
comment on column headway.worker.leader is 'true: it listens and folds or, if it cannot listen, polls; several may poll.';

create table headway.ticket (
  id uuid default gen_random_uuid() constraint ticket_pkey primary key,
  user_id bigint not null constraint ticket_user_id_fkey references headway.appuser on delete cascade,
  issued_at timestamptz not null default now(),
  expires_at timestamptz not null
);
create index ticket_user_id_idx on headway.ticket (user_id);
comment on table headway.ticket is 'What a browser presents in place of a token where it cannot send one; valid once, for half a minute.';
comment on column headway.ticket.expires_at is 'When the token that it was exchanged for expires, and with it the connection opened with the ticket.';

---- create above / drop below ----

set local search_path = pg_catalog, pg_temp;
set local lock_timeout = '3s';

drop table headway.ticket;
drop table headway.worker;
