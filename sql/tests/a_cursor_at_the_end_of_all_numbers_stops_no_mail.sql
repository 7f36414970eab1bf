-- Whoever moves their cursor as far as it goes has read everything, and nobody else's digest waits for that.
begin;
do $$
declare
  v_digest bigint;
begin
  perform headway.set_setting('digest_after', '1 microsecond');
  insert into headway.appuser (id, fullname, email) values (1, 'Abe', 'abe@example.com'), (2, 'Bob', 'bob@example.com'), (3, 'Charlie', null);
  perform headway.post(3, 'broadcast', 'Hello');
  v_digest := headway.reserve_digest(1);

  perform set_config('headway.user_id', '1', true);
  set local role headway_user;
  begin
    update headway.subscription set read_seq = 9223372036854775807;
    raise assert_failure using message = 'a cursor has nothing above it';
  exception when check_violation then
    null;
  end;
  update headway.subscription set read_seq = 9223372036854775806;
  assert not exists (select from headway.unread);
  assert headway.mark_read(1, 'broadcast') = 9223372036854775806;
  reset role;
  perform set_config('headway.user_id', '', true);

  assert headway.claim_digest('11111111-1111-1111-1111-111111111111') is null;
  assert (select d.state from headway.digest d where d.id = v_digest) = 'read_before_sending';
  assert (select array_agg(d.user_id) from headway.due_digests(now() + interval '1 day') d) = '{2}';
  perform headway.explain_digest(1);
end
$$;
rollback;
