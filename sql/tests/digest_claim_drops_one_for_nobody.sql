-- Who lost their address, was suspended or is forgotten meanwhile gets no mail: the digest is cancelled.
begin;
insert into headway.appuser (id, fullname, email) values
  (1, 'Abe', null), (2, 'Bob', 'bob@example.com'), (3, 'Charlie', 'charlie@example.com'), (4, 'Dora', 'dora@example.com');
select pg_temp.post(1, 'broadcast', '6 hours');

do $$
begin
  assert headway.reserve_digests() = 3;
  update headway.appuser u set email = null where u.id = 2;
  update headway.appuser u set mail_suspended_at = now(), mail_suspended_reason = '550' where u.id = 3;
  perform headway.forget_user(4);
  assert headway.claim_digest('11111111-1111-1111-1111-111111111111') is null;
  assert (select array_agg(d.state) from headway.digest d) = '{cancelled,cancelled,cancelled}';
  assert (select count(*) from headway.digest d where d.error = 'the person gets no mail any more') = 2, 'of Bob and Charlie it is on record why';
  -- Between claim and freeze it is not too late either.
  update headway.appuser u set mail_suspended_at = null, mail_suspended_reason = null where u.id = 3;
  assert headway.retry_digest((select d.id from headway.digest d where d.user_id = 3));
  assert headway.claim_digest('11111111-1111-1111-1111-111111111111') ->> 'email' = 'charlie@example.com';
  perform headway.unsubscribe((select d.token from headway.digest d where d.user_id = 3));
  assert not headway.freeze_digest((select d.id from headway.digest d where d.user_id = 3), '11111111-1111-1111-1111-111111111111', 'charlie@example.com', 'mail'),
    'Charlie has just unsubscribed';
end
$$;
rollback;
