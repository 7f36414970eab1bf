-- What a server has refused for now is made anew if the address has changed or the mail tells of what is none of the
-- person's business any more; what one may have taken stays as it was.
begin;
insert into headway.appuser (id, fullname, email) values (1, 'Abe', null), (2, 'Bob', 'bob@example.com');
insert into headway.project (id, name) values (1, 'Website'), (2, 'Shop'), (3, 'Fair');
insert into headway.member (project_id, user_id, role) select p, u, 'staff' from generate_series(1, 3) p, generate_series(1, 2) u;
select headway.open_channel('design', null, '{1, 2}');
insert into headway.message (sender, channel, content, kind, data)
values (1, 'user_2', 'assigned "Book a stand"', 'task_assigned', '{"project_id": 3}');
select headway.post(1, c, 'Hello') from unnest('{project_1, project_2, design}'::text[]) c;

do $$
declare
  v_worker uuid := '11111111-1111-1111-1111-111111111111';
  v_id bigint := headway.reserve_digest(2);
  v_statement text;
  v_claim json := headway.claim_digest(v_worker);
begin
  assert headway.freeze_digest(v_id, v_worker, 'bob@example.com', 'mail');
  foreach v_statement in array array[
    $q$update headway.appuser set email = 'right@example.com' where id = 2$q$,
    $q$delete from headway.member where project_id = 1 and user_id = 2$q$,
    $q$delete from headway.project where id = 2$q$,
    $q$delete from headway.subscription where channel = 'design' and user_id = 2$q$,
    $q$delete from headway.member where project_id = 3 and user_id = 2$q$
  ] loop
    assert headway.digest_failed(v_id, v_worker, 'retry', '451 later') = 'reserved';
    update headway.digest set next_attempt_at = now();
    v_claim := headway.claim_digest(v_worker);
    assert v_claim ->> 'mail' is not null, 'nothing has changed before ' || v_statement;
    perform headway.release_digest(v_id, v_worker);
    begin
      execute v_statement;
      -- Where a server may have the mail, every copy is the same.
      update headway.digest set unknown_at = now();
      assert headway.claim_digest(v_worker) ->> 'mail' is not null or not exists (select from headway.digest_message), v_statement;
      raise exception sqlstate 'P0999';
    exception when sqlstate 'P0999' then
    end;
    begin
      execute v_statement;
      update headway.digest
      set state = 'sending', claimed_by = v_worker, lease_until = now() - interval '1 second';
      assert headway.claim_digest(v_worker) ->> 'mail' is not null or not exists (select from headway.digest_message), v_statement;
      raise exception sqlstate 'P0999';
    exception when sqlstate 'P0999' then
    end;
    execute v_statement;
    v_claim := headway.claim_digest(v_worker);
    exit when v_claim is null;
    assert v_claim ->> 'mail' is null and v_claim ->> 'email' = 'right@example.com' and json_array_length(v_claim -> 'projects') > 0, v_statement;
    assert (select d.mail is null and d.recipient is null and d.attempts > 0 from headway.digest d), v_statement;
    assert headway.freeze_digest(v_id, v_worker, v_claim ->> 'email', convert_to(v_claim ->> 'projects', 'UTF8'));
  end loop;
  assert v_claim is null and (select d.state = 'read_before_sending' from headway.digest d), 'nothing is left of it';
end
$$;
rollback;
