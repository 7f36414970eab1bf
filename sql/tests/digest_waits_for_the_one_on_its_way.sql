-- While a mail is on its way, no other is reserved for its person, whatever the gap.
begin;
insert into headway.appuser (id, fullname, email) values (1, 'Abe', null), (2, 'Bob', 'bob@example.com');
select pg_temp.post(1, 'broadcast', '9 hours');
select headway.set_setting('digest_min_gap', '0'), headway.reserve_digests();
select headway.claim_digest('00000000-0000-0000-0000-000000000001');
select headway.freeze_digest(d.id, '00000000-0000-0000-0000-000000000001', 'bob@example.com', 'mail') from headway.digest d;
select pg_temp.post(1, 'broadcast', '5 hours');

do $$
begin
  assert (select d.state from headway.digest d) = 'sending';
  assert not exists (select from headway.due_digests()), 'one is being sent';
  assert headway.digest_sent((select d.id from headway.digest d));
  assert exists (select from headway.due_digests()), 'it has been sent';
end
$$;
rollback;
