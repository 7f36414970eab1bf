-- reserve_digest() minds neither delay nor gap nor quiet hours nor an open digest, and says what is in its way.
begin;
insert into headway.appuser (id, fullname, email, quiet_from, quiet_until) values
  (1, 'Abe', null, null, null), (2, 'Bob', 'bob@example.com', '00:00', '23:59:59.999999');
select headway.post(1, 'broadcast', 'One');

do $$
declare
  v_statement text;
  v_hint text;
  v_id bigint;
begin
  assert headway.reserve_digests() = 0;
  v_id := headway.reserve_digest(2);
  assert (select (d.user_id, d.state) = (2, 'reserved') from headway.digest d where d.id = v_id);
  perform headway.post(1, 'broadcast', 'Two');
  assert headway.reserve_digest(2) > v_id, 'another one beside it';
  assert (select array_agg(i.from_seq order by i.digest_id) from headway.digest_item i) = '{1,2}', 'with other things in it';
  foreach v_statement in array array['1', '99', 'null'] loop
    begin
      execute format('select headway.reserve_digest(%s)', v_statement);
      raise assert_failure using message = v_statement;
    exception
      when object_not_in_prerequisite_state then
        get stacked diagnostics v_hint = pg_exception_hint;
        assert v_statement = '1' and v_hint like '%explain_digest(1)%', v_statement;
      when no_data_found then
        assert v_statement <> '1' and sqlerrm like 'there is no person %', sqlerrm;
    end;
  end loop;
  begin
    perform headway.reserve_digest(2);
    raise assert_failure using message = 'nothing is left';
  exception when no_data_found then
    get stacked diagnostics v_hint = pg_exception_hint;
    assert v_hint like '%explain_digest(2)%';
  end;
end
$$;
rollback;
