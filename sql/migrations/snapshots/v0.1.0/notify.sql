create function headway.notify(channel text, event json, long_fields text[], reference json) returns void
language plpgsql
volatile
as $$
declare
  v_payload text;
begin
  case headway.setting('notify_payload')
    when 'row' then v_payload := event::text;
    when 'reference' then v_payload := reference::text;
    else return;
  end case;
  if not headway.notify_fits() then
    return;
  end if;
  -- NOTIFY takes less than 8000 bytes (PostgreSQL manual, NOTIFY, Notes).
  if octet_length(v_payload) >= 8000 then
    v_payload := (event::jsonb - long_fields || '{"truncated": true}')::text;
  end if;
  perform pg_notify(notify.channel, v_payload);
  perform pg_notify('headway_events', v_payload);
end
$$;
comment on function headway.notify(text, json, text[], json) is
  'Notifies a channel and headway_events at commit, as the setting notify_payload says: event, without its long fields where they do not fit, or reference.';
