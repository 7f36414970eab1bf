-- Name, address and preferences go; messages, completions and bars stay.
begin;
insert into headway.appuser (id, fullname, email, digest_after, time_zone, quiet_from, quiet_until, mail_suspended_at, mail_suspended_reason)
values (1, 'Abe', 'abe@example.com', '1 hour', 'Europe/Lisbon', '22:00', '07:00', now(), '550 no such user');
insert into headway.project (id, name) values (1, 'Website');
insert into headway.member (project_id, user_id, role) values (1, 1, 'customer');
insert into headway.task (id, project_id, title) values (1, 1, 'Send the logo');
insert into headway.completion (task_id, user_id) values (1, 1);
select headway.post(1, 'project_1', 'Hello'), headway.fold();

select headway.forget_user(1);

do $$
begin
  assert (select to_jsonb(u) - 'created_at' from headway.appuser u) = '{
    "id": 1, "fullname": "Former user", "email": null, "digest_after": null, "time_zone": "UTC", "quiet_from": null, "quiet_until": null,
    "mail_suspended_at": null, "mail_suspended_reason": null
  }', (select u::text from headway.appuser u);
  assert (select g.percent from headway.progress g) = 100;
  assert (select count(*) from headway.message m where m.sender = 1) = 2;
  assert not exists (select from headway.message m where m::text like '%Abe%'), 'a message still has the name';
  begin
    perform headway.forget_user(99);
    raise assert_failure using message = 'nobody was forgotten';
  exception when no_data_found then
    assert sqlerrm like '%99%';
  end;
end
$$;
rollback;
