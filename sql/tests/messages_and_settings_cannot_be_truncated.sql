-- Neither directly nor along with what they belong to.
begin;
insert into headway.appuser (id, fullname) values (1, 'Abe');
insert into headway.project (id, name) values (1, 'Website');
select headway.post(1, 'broadcast', 'Hello');

do $$
declare
  v_statement text;
begin
  foreach v_statement in array array[
    'truncate headway.message',
    'truncate headway.channel cascade',
    'truncate headway.project cascade',
    'truncate headway.appuser cascade',
    'truncate headway.setting'
  ] loop
    begin
      execute v_statement;
      raise assert_failure using message = v_statement;
    exception when feature_not_supported then
      null;
    end;
  end loop;
  assert (select count(*) from headway.message) = 1;
  assert (select count(*) from headway.setting) > 0;
end
$$;
rollback;
