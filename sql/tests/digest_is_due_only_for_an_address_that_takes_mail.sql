-- Without an address, or with a suspended one, no mail is due; it is as soon as there is one.
begin;
insert into headway.appuser (id, fullname, email, mail_suspended_at, mail_suspended_reason) values
  (1, 'Abe', null, null, null), (2, 'Bob', null, null, null), (3, 'Charlie', 'charlie@example.com', now(), '550 no such user');
select pg_temp.post(1, 'broadcast', '5 hours');

do $$
begin
  assert not exists (select from headway.due_digests()) and headway.reserve_digests() = 0;
  assert headway.resume_mail(3) and not headway.resume_mail(3);
  assert (select array_agg(d.user_id) from headway.due_digests() d) = '{3}';
  update headway.appuser u set email = 'bob@example.com' where u.id = 2;
  assert (select array_agg(d.user_id order by d.user_id) from headway.due_digests() d) = '{2,3}';
end
$$;
rollback;
