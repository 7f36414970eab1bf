-- What was in one mail is in no other, read or not.
begin;
insert into headway.appuser (id, fullname, email) values (1, 'Abe', null), (2, 'Bob', 'bob@example.com');

do $$
declare
  v_worker uuid := '11111111-1111-1111-1111-111111111111';
  v_content json;
begin
  for v_round in 1..3 loop
    perform headway.post(1, 'broadcast', 'Message ' || v_round), headway.reserve_digest(2);
    v_content := headway.claim_digest(v_worker);
    assert (
      select array_agg(l ->> 'content') from json_array_elements(v_content #> '{projects,0,lines}') l
    ) = array['Message ' || v_round], v_content::text;
    assert headway.freeze_digest((v_content ->> 'digest_id')::bigint, v_worker, 'bob@example.com', 'mail');
    assert headway.digest_sent((v_content ->> 'digest_id')::bigint);
  end loop;
end
$$;
rollback;
