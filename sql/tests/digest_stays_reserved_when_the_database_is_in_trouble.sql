-- What passes, such as a full disk or a server that stops, is not taken for something wrong with a digest.
begin;
insert into headway.appuser (id, fullname, email) values (1, 'Abe', null), (2, 'Bob', 'bob@example.com'), (3, 'Charlie', 'charlie@example.com');
select headway.post(1, 'broadcast', 'Hello'), headway.reserve(array[2]), headway.reserve(array[3]);

-- Bob's is in trouble.
create or replace function headway.digest_content(digest_id bigint) returns json
language plpgsql
as $$
begin
  if (select d.user_id = 2 from headway.digest d where d.id = digest_content.digest_id) then
    raise exception 'trouble' using errcode = current_setting('pg_temp.trouble');
  end if;
  return json_build_object('user_id', 3, 'projects', json_build_array('Website relaunch'));
end
$$;

do $$
declare
  v_worker uuid := '11111111-1111-1111-1111-111111111111';
  v_code text;
begin
  foreach v_code in array array[
    '40001', '40P01', '55P03', -- serialization_failure, deadlock_detected, lock_not_available
    '57P01', '57P03', '57P05', -- admin_shutdown, cannot_connect_now, idle_session_timeout
    '58000', '58030' -- system_error, io_error
  ] loop
    perform set_config('pg_temp.trouble', v_code, true);
    begin
      perform headway.claim_digest(v_worker);
      raise assert_failure using message = format('%s is not raised', v_code);
    exception when others then
      assert sqlstate = v_code, format('%s comes as %s: %s', v_code, sqlstate, sqlerrm);
    end;
    assert (select bool_and(d.state = 'reserved' and d.lease_until is null) from headway.digest d), v_code;
  end loop;

  -- What a digest takes too much of, others may have enough of: disk_full, out_of_memory, configuration_limit_exceeded,
  -- query_canceled.
  foreach v_code in array array['53100', '53200', '53400', '57014'] loop
    perform set_config('pg_temp.trouble', v_code, true);
    assert (headway.claim_digest(v_worker) ->> 'user_id')::bigint = 3, v_code;
    assert (
      select d.state = 'reserved' and d.attempts = 0 and d.lease_until is null and d.error = 'trouble'
        and d.next_attempt_at = now() + case v_code when '57014' then interval '1 hour' else interval '1 minute' end
      from headway.digest d
      where d.user_id = 2
    ), v_code;
    assert headway.claim_digest(v_worker) is null, 'not yet';
    update headway.digest d set next_attempt_at = now() - interval '1 minute' where d.user_id = 2;
    update headway.digest d set lease_until = now() - interval '1 second' where d.user_id = 3;
    perform set_config('headway.claimed', '', false); -- as in another session: this one would go on with Charlie's
  end loop;
end
$$;
rollback;
