-- An identity that is no number is an error, one that nobody has finds nothing; neither is ever somebody.
begin;
insert into headway.appuser (id, fullname) values (1, 'Abe'), (2, 'Bob'), (4, 'Dora');
insert into headway.project (id, name) values (1, 'Website');
insert into headway.member (project_id, user_id, role) values (1, 1, 'customer'), (1, 2, 'customer'), (1, 4, 'staff');
insert into headway.task (id, project_id, title) values (1, 1, 'Send the logo');
select headway.post(1, 'project_1', 'Hello');

set local role headway_user;
do $$
declare
  v_identity text;
  v_try text;
begin
  foreach v_identity in array array['abc', '1e3', '1.0', '1;2', '1 or true', '{1}', 'null', '''1''', '٢', '99999999999999999999', repeat('1', 10000)] loop
    perform set_config('headway.user_id', v_identity, true);
    foreach v_try in array array[
      'select from headway.task', 'select from headway.progress', 'select from headway.message', 'select headway.snapshot(1)', 'select headway.my_account()', 'select headway.my_progress(1)',
      'select headway.complete_task(1, 1)', 'select headway.post(1, ''project_1'', ''Hello'')', 'update headway.subscription set muted = true'
    ] loop
      begin
        execute v_try;
        raise assert_failure using message = format('%s as %s', v_try, left(v_identity, 20));
      exception when invalid_text_representation or numeric_value_out_of_range then
        null;
      end;
    end loop;
  end loop;

  foreach v_identity in array array['0', '-1', '99', '9223372036854775807', '-9223372036854775808'] loop
    perform set_config('headway.user_id', v_identity, true);
    assert (select count(*) from headway.task) + (select count(*) from headway.progress) + (select count(*) from headway.appuser)
      + (select count(*) from headway.channel) = 0, v_identity;
    assert headway.snapshot(v_identity::bigint) is null and not exists (select from headway.my_account())
      and not exists (select from headway.my_progress(1));
    begin
      perform headway.complete_task(1, v_identity::bigint);
      raise assert_failure using message = v_identity;
    exception when no_data_found then
      null;
    end;
  end loop;
end
$$;
reset role;
rollback;
