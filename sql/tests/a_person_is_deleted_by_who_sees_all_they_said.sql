-- A snapshot that was taken before somebody said something does not show it: who takes one deletes nobody.
begin;
set transaction isolation level repeatable read;
insert into headway.appuser (id, fullname) values (1, 'Abe');
do $$
declare
  v_hint text;
begin
  delete from headway.appuser where id = 99;
  begin
    delete from headway.appuser where id = 1;
    raise assert_failure using message = 'deleted';
  exception when feature_not_supported then
    get stacked diagnostics v_hint = pg_exception_hint;
    assert sqlerrm like '%repeatable read%' and v_hint like '%read committed%', sqlerrm;
  end;
end
$$;
rollback;
