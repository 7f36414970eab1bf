-- Whoever has a sender of their own and leaves out the step that records the attempt is told so.
begin;
insert into headway.appuser (id, fullname, email) values (1, 'Abe', null), (2, 'Bob', 'bob@example.com');
select pg_temp.post(1, 'broadcast', '6 hours', 'Hello');
select headway.reserve_digests();

do $$
declare
  v_worker uuid := gen_random_uuid();
  v_id bigint;
  v_hint text;
begin
  v_id := headway.claim_digest(v_worker) ->> 'digest_id';
  begin
    perform headway.digest_sent(v_id);
    raise assert_failure using message = 'nothing was sent';
  exception when object_not_in_prerequisite_state then
    get stacked diagnostics v_hint = pg_exception_hint;
    assert v_hint ~ 'freeze_digest' and sqlerrm ~ ('digest ' || v_id), sqlerrm;
  end;
  assert headway.freeze_digest(v_id, v_worker, 'bob@example.com', 'mail') and headway.digest_sent(v_id);
  assert not headway.digest_sent(v_id), 'it is on record';
end
$$;
rollback;
