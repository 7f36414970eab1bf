-- What must not be read any more is overwritten as docs/operations.md says, by who may act as the owner.
begin;

insert into headway.appuser (fullname) values ('Abe'), ('Bob');
insert into headway.project (name) values ('Website');
insert into headway.member (project_id, user_id, role) values (1, 1, 'customer'), (1, 2, 'customer');
insert into headway.message (sender, channel, content) values (1, 'project_1', 'The password is 1234'), (1, 'project_1', 'Oh.');
insert into headway.digest (user_id, state, recipient, mail, sent_at, unknown_at) values
  (2, 'sent', 'bob@example.com', 'The password is 1234', now(), null),
  (2, 'failed', 'bob@example.com', 'The password is 1234', null, null),
  (2, 'held', 'bob@example.com', 'The password is 1234', null, now());
insert into headway.digest_item (digest_id, channel, from_seq, through_seq) select d.id, 'project_1', 1, 2 from headway.digest d;

set local role headway_owner;
alter table headway.message disable trigger message_before_change;
update headway.message set content = '(removed)', data = null where channel = 'project_1' and seq = 1;
alter table headway.message enable trigger message_before_change;
update headway.digest d
set mail = null
from headway.digest_item i
where i.digest_id = d.id and i.channel = 'project_1' and 1 between i.from_seq and i.through_seq
  and d.state not in ('reserved', 'sending');

do $$ begin
  -- What is held would be sent again as it is.
  assert (select count(*) = 3 and count(d.mail) = 0 from headway.digest d);
  assert (select array_agg(m.content order by m.seq) = array['(removed)', 'Oh.'] from headway.messages_since('project_1') m);
  assert (select u.messages = 2 from headway.unread u where u.user_id = 2 and u.channel = 'project_1');
  begin
    update headway.message set content = 'Oh!' where channel = 'project_1' and seq = 2;
    assert false, 'messages can be changed';
  exception when feature_not_supported then null;
  end;
end $$;

rollback;
