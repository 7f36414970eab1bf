-- Without a worker or with a lease that is over at once nothing can be claimed.
begin;
insert into headway.appuser (id, fullname, email) values (1, 'Abe', null), (2, 'Bob', 'bob@example.com');
do $$
declare
  v_statement text;
  v_hint text;
begin
  foreach v_statement in array array[
    'select headway.claim_digest(null)',
    'select headway.claim_digest(gen_random_uuid(), null)',
    'select headway.claim_digest(gen_random_uuid(), ''0'')',
    'select headway.claim_digest(gen_random_uuid(), ''-1 minute'')',
    'select headway.digest_failed(1, gen_random_uuid(), ''lost'', ''?'')',
    'select headway.digest_failed(1, gen_random_uuid(), null, ''?'')'
  ] loop
    begin
      execute v_statement;
      raise assert_failure using message = v_statement;
    exception when invalid_parameter_value then
      get stacked diagnostics v_hint = pg_exception_hint;
      assert v_hint <> '', v_statement;
    end;
  end loop;
  assert headway.digest_failed(99, gen_random_uuid(), 'retry', '?') is null and not headway.digest_sent(99);
end
$$;
rollback;
