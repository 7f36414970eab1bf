-- Settings of mail take what makes sense, and nothing that would stop everybody's.
begin;
insert into headway.appuser (id, fullname, email) values (1, 'Abe', null), (2, 'Bob', 'bob@example.com');
do $$
declare
  v_good text[] := array['digest_after=1 microsecond', 'digest_after=2 hours', 'digest_after=P1D', 'digest_min_gap=0', 'digest_min_gap=1 day', 'digest_when_unknown=hold',
    'digest_when_unknown=resend', 'digest_max_attempts=1', 'digest_max_attempts=100', 'digest_max_items=1', 'digest_max_items=1000', 'digest_keep=1 day', 'digest_keep=5 years'];
  v_bad text[] := array['digest_after=2', 'digest_min_gap=1.5', 'digest_keep= 90 ', 'digest_after=0', 'digest_after=-1 hour', 'digest_after=soon', 'digest_after=', 'digest_after=200000 years', 'digest_after=71582788 mons -2147483640 days 1 us', 'digest_min_gap=1 day -1 hour', 'digest_keep=-1 year 3000 days', 'digest_min_gap=-1 second', 'digest_min_gap=x',
    'digest_min_gap=200000 years', 'digest_when_unknown=maybe', 'digest_when_unknown=', 'digest_max_attempts=0', 'digest_max_attempts=-1', 'digest_max_attempts=many', 'digest_max_attempts=1.5',
    'digest_max_attempts=99999999999', 'digest_max_items=0', 'digest_max_items=x', 'digest_keep=0', 'digest_keep=-1 day', 'digest_keep=for ever', 'digest_keep=200000 years'];
  v_pair text;
  v_hint text;
begin
  foreach v_pair in array v_good loop
    assert headway.set_setting(split_part(v_pair, '=', 1), split_part(v_pair, '=', 2)) = split_part(v_pair, '=', 2), v_pair;
  end loop;
  foreach v_pair in array v_bad loop
    begin
      perform headway.set_setting(split_part(v_pair, '=', 1), split_part(v_pair, '=', 2));
      raise assert_failure using message = v_pair;
    exception when invalid_parameter_value then
      get stacked diagnostics v_hint = pg_exception_hint;
      assert v_hint like '%2 hours%' = (v_pair ~ '^digest_(after|min_gap|keep)='), v_hint;
    end;
  end loop;
  foreach v_pair in array array['0', '-1 hour', '200000 years'] loop
    begin
      update headway.appuser set digest_after = v_pair::interval;
      raise assert_failure using message = v_pair;
    exception when check_violation then
      null;
    end;
  end loop;
end
$$;
rollback;
