-- Within quiet hours nothing is due; when they end it is, in the person's time zone. Neither of these changes its clocks.
begin;
insert into headway.appuser (id, fullname, email, time_zone, quiet_from, quiet_until) values
  (1, 'Abe', null, 'UTC', null, null),
  (2, 'Bob', 'bob@example.com', 'America/Bogota',
    (now() at time zone 'America/Bogota' - interval '1 hour')::time, (now() at time zone 'America/Bogota' + interval '1 hour')::time),
  (3, 'Charlie', 'charlie@example.com', 'Asia/Kathmandu',
    (now() at time zone 'Asia/Kathmandu' + interval '1 hour')::time, (now() at time zone 'Asia/Kathmandu' + interval '2 hours')::time);
select pg_temp.post(1, 'broadcast', '5 hours');

do $$
declare
  v_due bigint[];
begin
  for v_hours in 0..3 loop
    select array_agg(d.user_id order by d.user_id) into v_due from headway.due_digests(now() + v_hours * interval '1 hour') d;
    assert v_due = (array['{3}', '{2}', '{2,3}', '{2,3}'])[v_hours + 1]::bigint[], format('in %s hours: %s', v_hours, v_due);
  end loop;
  assert headway.reserve_digests() = 1;
  assert (select d.user_id from headway.digest d) = 3;
end
$$;
rollback;
