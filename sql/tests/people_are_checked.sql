-- Names, addresses, zones and quiet hours.
begin;
do $$
declare
  v_values text;
  v_zone text := current_setting('TimeZone');
begin
  foreach v_values in array array[
    'id => -5', 'id => 0', 'fullname => '' ''', 'email => ''''', 'email => ''a@b>''', 'email => ''a@b, c@d''', 'email => ''a b@c''', 'email => E''a@b\nc''',
    'email => ''"a"@b''', 'email => ''a@b@c''', 'email => ''a''', 'email => ''@b''', 'email => repeat(''a'', 250) || ''@b.cd''',
    'digest_after => ''0''', 'digest_after => ''-1 hour''', 'digest_after => ''71582788 mons -2147483640 days 1 us''', 'digest_after => ''1 day -1 minute''', 'time_zone => ''Foo/Bar+100''', 'time_zone => ''Etc/GMT+13''', 'time_zone => ''''', 'time_zone => ''+03''', 'time_zone => ''CEST''', 'time_zone => ''default''', 'time_zone => ''<X>-3''',
    'quiet_from => ''22:00''', 'quiet_until => ''22:00''', 'mail_suspended_at => now()', 'mail_suspended_reason => ''x'''
  ] loop
    begin
      execute format('insert into headway.appuser (fullname%s) values (%s)',
        case when v_values like 'fullname%' then '' else ', ' || split_part(v_values, ' => ', 1) end,
        case when v_values like 'fullname%' then '' else '''Abe'', ' end || split_part(v_values, ' => ', 2));
      raise assert_failure using message = v_values;
    exception when check_violation then
      null;
    end;
  end loop;
  begin
    insert into headway.project (id, name) values (-1, 'Website');
    raise assert_failure using message = 'a project below 0';
  exception when check_violation then
    assert sqlerrm like '%project_id_positive%', sqlerrm;
  end;
  begin
    insert into headway.appuser (fullname, quiet_from, quiet_until) values ('Abe', '00:00', '24:00');
    raise assert_failure using message = 'quiet hours without an end';
  exception when check_violation then
    null;
  end;
  begin
    insert into headway.appuser (fullname, time_zone) values ('Abe', 'Mars/Olympus_Mons');
    raise assert_failure using message = 'a zone on Mars';
  exception when check_violation then
    assert sqlerrm = 'there is no time zone "Mars/Olympus_Mons"', sqlerrm;
  end;
  insert into headway.appuser (fullname, email, time_zone, quiet_from, quiet_until, digest_after)
  values ('Zoë', 'zoe+news@exämple.org', 'America/Argentina/Buenos_Aires', '22:00', '07:00', '30 minutes'), ('B', null, 'Etc/GMT+3', null, null, null);
  assert (select count(*) from headway.appuser) = 2;
  insert into headway.appuser (fullname, time_zone) values ('C', 'europe/LISBON'), ('D', 'utc');
  assert (select array_agg(u.time_zone order by u.fullname) from headway.appuser u where u.fullname in ('C', 'D')) = '{Europe/Lisbon,UTC}',
    'as the IANA database spells it';
  assert current_setting('TimeZone') = v_zone, 'the session goes by its own';
  update headway.appuser u set time_zone = 'asia/kathmandu' where u.fullname = 'C';
  assert (select u.time_zone from headway.appuser u where u.fullname = 'C') = 'Asia/Kathmandu';
  begin
    update headway.appuser u set time_zone = 'Atlantis';
    raise assert_failure using message = 'a zone below the sea';
  exception when check_violation then
    assert sqlerrm = 'there is no time zone "Atlantis"', sqlerrm;
  end;
end
$$;
rollback;
