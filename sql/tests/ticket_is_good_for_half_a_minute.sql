-- A ticket is good for half a minute, and gone after a minute, when the next one is made. Nobody gets one who is not there.
begin;
insert into headway.appuser (id, fullname) values (1, 'Abe');
insert into headway.ticket (id, user_id, issued_at, expires_at) values
  ('00000000-0000-0000-0000-000000000001', 1, now() - interval '61 seconds', now() + interval '1 hour'),
  ('00000000-0000-0000-0000-000000000002', 1, now() - interval '30 seconds', now() + interval '1 hour'),
  ('00000000-0000-0000-0000-000000000003', 1, now() - interval '29 seconds', now() + interval '1 hour');

do $$
declare
  v_id uuid := headway.issue_ticket(1, now() + interval '1 hour');
begin
  assert (select count(*) from headway.ticket) = 3, 'what is older than a minute goes';
  assert not exists (select from headway.redeem_ticket('00000000-0000-0000-0000-000000000002')), 'half a minute old';
  assert exists (select from headway.redeem_ticket('00000000-0000-0000-0000-000000000003'));
  assert (select (r.user_id, r.expires_at) = (1::bigint, now() + interval '1 hour') from headway.redeem_ticket(v_id) r);
  assert not exists (select from headway.redeem_ticket(v_id)), 'twice';
  begin
    perform headway.issue_ticket(2, now() + interval '1 hour');
    raise assert_failure using message = 'a ticket for nobody';
  exception when invalid_authorization_specification then
    null;
  end;
end
$$;
rollback;
