-- An argument that could never fold anything is an error; an empty queue is not.
begin;
do $$
declare
  v_max integer;
  v_hint text;
begin
  foreach v_max in array array[0, -1, null] loop
    begin
      perform headway.fold(v_max);
      raise assert_failure using message = 'fold(' || coalesce(v_max::text, 'null') || ')';
    exception when invalid_parameter_value then
      get stacked diagnostics v_hint = pg_exception_hint;
      assert v_hint <> '';
    end;
  end loop;
  assert headway.fold() = 0 and headway.fold(1) = 0;
end
$$;
rollback;
