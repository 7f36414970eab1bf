-- What somebody said themselves between two messages that they have not read is not mailed to them; what somebody else
-- has seen is.
begin;
insert into headway.appuser (id, fullname, email) values (1, 'Abe', null), (2, 'Bob', 'bob@example.com'), (3, 'Charlie', null);
select headway.post(1, 'broadcast', 'One'), headway.post(2, 'broadcast', 'Mine'), headway.post(1, 'broadcast', 'Two'), headway.post(2, 'broadcast', 'Mine, too');
select headway.mark_seen(3, array(select m.id from headway.message m where m.content = 'Two'));
select headway.reserve_digest(2);

do $$
declare
  v_content json := headway.claim_digest('11111111-1111-1111-1111-111111111111');
begin
  assert (select array_agg(m.content order by m.seq) from headway.digest_message m) = array['One', 'Two'];
  assert (v_content #>> '{counts,chat}')::integer = 2 and (v_content ->> 'more')::integer = 0, v_content::text;
  assert v_content::text !~ 'Mine', v_content::text;
end
$$;
rollback;
