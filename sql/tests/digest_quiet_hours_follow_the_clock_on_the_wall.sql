-- Quiet hours go over midnight and end where the clock leaves them, also on the days when clocks change.
begin;
create temporary table expected (time_zone text, quiet_from time, quiet_until time, at timestamptz, quiet boolean, quiet_end timestamptz);
insert into expected values
  -- None, by day, over midnight; from is in, until is out.
  ('UTC', null, null, '2026-06-01 12:00Z', false, '2026-06-01 12:00Z'),
  ('UTC', '12:00', '13:00', '2026-06-01 11:59:59.999999Z', false, '2026-06-01 11:59:59.999999Z'),
  ('UTC', '12:00', '13:00', '2026-06-01 12:00Z', true, '2026-06-01 13:00Z'),
  ('UTC', '12:00', '13:00', '2026-06-01 13:00Z', false, '2026-06-01 13:00Z'),
  ('UTC', '22:00', '07:07:07.5', '2026-06-01 22:00Z', true, '2026-06-02 07:07:07.5Z'),
  ('UTC', '22:00', '07:00', '2026-06-02 06:59:59.999999Z', true, '2026-06-02 07:00Z'),
  ('UTC', '22:00', '07:00', '2026-06-02 21:59Z', false, '2026-06-02 21:59Z'),
  ('UTC', '00:00', '23:59', '2026-06-02 00:00Z', true, '2026-06-02 23:59Z'),
  ('UTC', '12:01', '12:00', '2026-06-01 12:01Z', true, '2026-06-02 12:00Z'),
  ('UTC', '22:00', '24:00', '2026-06-01 23:59Z', true, '2026-06-02 00:00Z'),
  ('UTC', '22:00', '00:00', '2026-06-01 23:59Z', true, '2026-06-02 00:00Z'),
  ('Asia/Kathmandu', '22:00', '07:10', '2026-06-01 18:00Z', true, '2026-06-02 01:25Z'),
  ('Pacific/Kiritimati', '22:00', '07:00', '2026-06-01 09:00Z', true, '2026-06-01 17:00Z'),
  -- Lisbon: 01:00 becomes 02:00 on March 29th, 02:00 becomes 01:00 on October 25th.
  ('Europe/Lisbon', '22:00', '07:00', '2026-03-28 22:00Z', true, '2026-03-29 06:00Z'),
  ('Europe/Lisbon', '22:00', '07:00', '2026-10-24 21:00Z', true, '2026-10-25 07:00Z'),
  ('Europe/Lisbon', '22:00', '01:30', '2026-03-28 23:00Z', true, '2026-03-29 01:00Z'),
  ('Europe/Lisbon', '01:15', '01:45', '2026-03-29 00:59Z', false, '2026-03-29 00:59Z'),
  ('Europe/Lisbon', '01:15', '01:45', '2026-03-29 01:00Z', false, '2026-03-29 01:00Z'),
  ('Europe/Lisbon', '22:00', '01:30', '2026-10-24 22:00Z', true, '2026-10-25 00:30Z'),
  ('Europe/Lisbon', '22:00', '01:30', '2026-10-25 00:45Z', false, '2026-10-25 00:45Z'),
  ('Europe/Lisbon', '22:00', '01:30', '2026-10-25 01:10Z', true, '2026-10-25 01:30Z'),
  -- All the time that is not quiet falls into the hour that is left out: the day after has it again.
  ('Europe/Lisbon', '02:00', '01:00', '2026-03-28 02:00Z', true, '2026-03-30 00:00Z'),
  ('Europe/Lisbon', '01:45', '01:15', '2026-03-28 01:45Z', true, '2026-03-30 00:15Z'),
  -- New York: 02:00 becomes 03:00 on March 8th, 02:00 becomes 01:00 on November 1st.
  ('America/New_York', '22:00', '02:30', '2026-03-08 06:00Z', true, '2026-03-08 07:00Z'),
  ('America/New_York', '02:30', '08:00', '2026-03-08 06:59Z', false, '2026-03-08 06:59Z'),
  ('America/New_York', '02:30', '08:00', '2026-03-08 07:00Z', true, '2026-03-08 12:00Z'),
  ('America/New_York', '01:30', '02:30', '2026-11-01 05:45Z', true, '2026-11-01 06:00Z'),
  ('America/New_York', '01:30', '02:30', '2026-11-01 06:15Z', false, '2026-11-01 06:15Z'),
  ('America/New_York', '01:30', '02:30', '2026-11-01 06:30Z', true, '2026-11-01 07:30Z'),
  ('America/New_York', '22:00', '07:00', '2026-11-01 03:00Z', true, '2026-11-01 12:00Z'),
  -- Beirut: midnight becomes 01:00 on March 29th, midnight of October 25th becomes 23:00 of the 24th.
  ('Asia/Beirut', '22:00', '00:30', '2026-03-28 21:30Z', true, '2026-03-28 22:00Z'),
  ('Asia/Beirut', '22:00', '00:00', '2026-03-28 21:30Z', true, '2026-03-28 22:00Z'),
  ('Asia/Beirut', '22:00', '23:30', '2026-10-24 19:30Z', true, '2026-10-24 20:30Z'),
  ('Asia/Beirut', '22:00', '23:30', '2026-10-24 21:10Z', true, '2026-10-24 21:30Z'),
  ('Asia/Beirut', '23:30', '00:30', '2026-10-24 20:45Z', true, '2026-10-24 21:00Z'),
  ('Asia/Beirut', '23:30', '00:30', '2026-10-24 21:30Z', true, '2026-10-24 22:30Z'),
  ('Asia/Beirut', '22:00', '07:00', '2026-10-24 19:00Z', true, '2026-10-25 05:00Z'),
  -- Lord Howe: 02:00 becomes 01:30 on April 5th, 02:00 becomes 02:30 on October 4th.
  ('Australia/Lord_Howe', '22:00', '01:45', '2026-04-04 14:00Z', true, '2026-04-04 14:45Z'),
  ('Australia/Lord_Howe', '22:00', '01:45', '2026-04-04 15:10Z', true, '2026-04-04 15:15Z'),
  ('Australia/Lord_Howe', '22:00', '07:00', '2026-04-04 14:00Z', true, '2026-04-04 20:30Z'),
  ('Australia/Lord_Howe', '22:00', '02:15', '2026-10-03 15:00Z', true, '2026-10-03 15:30Z'),
  ('Australia/Lord_Howe', '22:00', '07:00', '2026-10-03 15:00Z', true, '2026-10-03 20:00Z');

do $$
declare
  v_wrong text;
begin
  select string_agg(format('%s: %s until %s', e, headway.is_quiet(e.quiet_from, e.quiet_until, e.time_zone, e.at),
    headway.quiet_end(e.quiet_from, e.quiet_until, e.time_zone, e.at)), e'\n')
  into v_wrong
  from expected e
  where headway.is_quiet(e.quiet_from, e.quiet_until, e.time_zone, e.at) is distinct from e.quiet
    or headway.quiet_end(e.quiet_from, e.quiet_until, e.time_zone, e.at) is distinct from e.quiet_end;
  assert v_wrong is null, v_wrong;
  -- Minute by minute through every change of a year: where quiet hours end is the first moment that is not quiet.
  select string_agg(format('%s from %s until %s at %s', z.name, q.quiet_from, q.quiet_until, m.at), e'\n')
  into v_wrong
  from (values
    ('Europe/Lisbon', '2026-03-28 20:00Z'::timestamptz), ('Europe/Lisbon', '2026-10-24 20:00Z'), ('America/New_York', '2026-03-08 02:00Z'),
    ('America/New_York', '2026-11-01 01:00Z'), ('Asia/Beirut', '2026-03-28 17:00Z'), ('Asia/Beirut', '2026-10-24 16:00Z'),
    ('Australia/Lord_Howe', '2026-04-04 10:00Z'), ('Australia/Lord_Howe', '2026-10-03 10:00Z')
  ) z (name, starts)
  cross join (values
    ('22:00'::time, '01:20'::time), ('23:50', '00:10'), ('00:30', '01:40'), ('01:40', '02:20'), ('02:10', '03:10'), ('20:00', '19:00')
  ) q (quiet_from, quiet_until)
  cross join lateral (
    select a.at, headway.is_quiet(q.quiet_from, q.quiet_until, z.name, a.at) as quiet,
      min(a.at) filter (where not headway.is_quiet(q.quiet_from, q.quiet_until, z.name, a.at))
        over (order by a.at desc) as quiet_end
    from generate_series(z.starts, z.starts + interval '34 hours', interval '1 minute') a (at)
  ) m
  where m.at < z.starts + interval '8 hours' and extract(minute from m.at) in (0, 17, 29, 30, 50)
    and headway.quiet_end(q.quiet_from, q.quiet_until, z.name, m.at) is distinct from m.quiet_end;
  assert v_wrong is null, v_wrong;
end
$$;
rollback;
