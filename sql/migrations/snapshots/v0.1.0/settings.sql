create function headway.setting(name text) returns text
language plpgsql
stable
as $$
begin
  return (select s.value from headway.setting s where s.name = setting.name);
end
$$;
comment on function headway.setting(text) is 'The value of a setting; null if no setting has that name.';

create function headway.setting_before_write() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_takes boolean;
  v_span interval;
  v_is_span boolean := new.name in ('digest_after', 'digest_min_gap', 'digest_keep');
begin
  if tg_op in ('DELETE', 'TRUNCATE') or tg_op = 'UPDATE' and new.name <> old.name then
    raise exception 'setting "%" can be changed but not removed or renamed', coalesce(old.name, '*') using
      errcode = 'feature_not_supported',
      hint = 'Change its value: select headway.set_setting(name, value).';
  end if;
  begin
    if v_is_span then
      v_span := new.value::interval;
      -- A century is longer than anybody waits, and a moment that far away is still a valid timestamp. Parts of
      -- opposite signs are compared by their sum but added one by one, which could go out of range.
      v_takes := new.value !~ '^[[:space:]]*[+-]?[0-9.]*[1-9][0-9.]*[[:space:]]*$' -- two of what?
        and v_span <= interval '100 years' and (v_span > interval '0' or new.name = 'digest_min_gap')
        and least(
          extract(year from v_span), extract(month from v_span), extract(day from v_span),
          extract(hour from v_span), extract(minute from v_span), extract(second from v_span)
        ) >= 0;
    else
      v_takes := case new.name
        when 'notify_payload' then new.value in ('row', 'reference', 'off')
        when 'digest_when_unknown' then new.value in ('resend', 'hold')
        when 'digest_max_attempts' then new.value::integer >= 1
        when 'digest_max_items' then new.value::integer >= 1
      end;
    end if;
  exception when data_exception then
    v_takes := false;
  end;
  if v_takes then
    return new;
  end if;
  raise exception 'setting "%" does not take the value "%"', new.name, new.value using
    errcode = 'invalid_parameter_value',
    hint = coalesce('It means: ' || new.meaning || case when v_is_span then ' Give it a unit, as in 2 hours: ' || case new.name when 'digest_min_gap' then '0' else 'more than 0' end || ', and at most 100 years.' else '' end, 'select name, value, meaning from headway.setting lists what there is.');
end
$$;
comment on function headway.setting_before_write() is 'Checks a setting before it is written.';

create trigger setting_before_write before insert or update or delete on headway.setting
for each row execute function headway.setting_before_write();

create trigger setting_before_truncate before truncate on headway.setting
for each statement execute function headway.setting_before_write();

create function headway.set_setting(name text, value text) returns text
language plpgsql
as $$
begin
  update headway.setting s set value = set_setting.value where s.name = set_setting.name;
  if not found then
    raise exception 'there is no setting "%"', set_setting.name using
      errcode = 'no_data_found',
      hint = coalesce(
        'There are: ' || (select string_agg(s.name, ', ' order by s.name) from headway.setting s) || '.',
        'There are none, as in a copy without rows: bring them from the database that it is a copy of.'
      );
  end if;
  return set_setting.value;
end
$$;
comment on function headway.set_setting(text, text) is
  'Changes a setting and returns its new value: select headway.set_setting(''notify_payload'', ''reference''). Errors: no_data_found, invalid_parameter_value.';
