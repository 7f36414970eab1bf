create function headway.notify_mode() returns text
language plpgsql
volatile
as $$
begin
  -- A commit that finds the server's queue full fails, and that would be the application's commit.
  return case
    when pg_catalog.pg_notification_queue_usage() < 0.5::float8 then (
      select s.value from headway.setting s where s.name = 'notify_payload'
    )
    else 'off'
  end;
end
$$;
comment on function headway.notify_mode() is
  'What a NOTIFY may carry now: the setting notify_payload, or off while the server''s notification queue is at least half full.';

create function headway.payload(mode text, event json, long_fields text[], reference json) returns text
language sql
immutable
as $$
  select case
    when payload.mode = 'reference' then payload.reference::text
    -- NOTIFY takes fewer than 8000 bytes (PostgreSQL manual, NOTIFY, Notes).
    when octet_length(payload.event::text) < 8000 then payload.event::text
    else (payload.event::jsonb - payload.long_fields || '{"truncated": true}')::text
  end
$$;
comment on function headway.payload(text, json, text[], json) is
  'The payload in this mode: the event, without its long fields if it does not fit, or the reference.';
