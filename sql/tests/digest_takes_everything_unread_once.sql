-- A reservation takes all that is unread, in every channel, and nothing of it is ever taken again.
begin;
insert into headway.appuser (id, fullname, email, digest_after) values
  (1, 'Abe', null, null), (2, 'Bob', 'bob@example.com', null), (3, 'Charlie', 'charlie@example.com', '3 hours');
insert into headway.project (id, name) values (1, 'Website');
insert into headway.member (project_id, user_id, role) values (1, 1, 'staff'), (1, 2, 'customer'), (1, 3, 'customer');
select pg_temp.post(1, 'project_1', '6 hours'), pg_temp.post(2, 'project_1', '5 hours'), pg_temp.post(1, 'project_1', '1 minute'),
  pg_temp.post(1, 'broadcast', '1 minute'), pg_temp.post(2, 'project_1', '1 minute');
select headway.set_setting('digest_min_gap', '0');

do $$
declare
  v_items text;
begin
  assert headway.reserve_digests(1) = 1, 'a batch of one';
  assert (select d.user_id from headway.digest d) = 3, 'due for 3 hours; Bob for 2';
  assert headway.reserve_digests() = 1 and headway.reserve_digests() = 0;
  select string_agg(format('%s %s %s-%s', d.user_id, i.channel, i.from_seq, i.through_seq), ', ' order by d.user_id, i.channel) into v_items
  from headway.digest d join headway.digest_item i on i.digest_id = d.id;
  assert v_items = '2 broadcast 1-1, 2 project_1 1-4, 3 broadcast 1-1, 3 project_1 1-4', v_items;
  assert (select array_agg(s.mailed_seq order by s.channel) from headway.subscription s where s.user_id = 2 and s.channel <> 'user_2') = '{1,4}';
  assert (select array_agg(s.read_seq order by s.channel) from headway.subscription s where s.user_id = 2 and s.channel <> 'user_2') = '{0,0}', 'nothing counts as read';
  -- What follows goes into the next one, from where this one ended.
  update headway.digest set state = 'failed';
  perform pg_temp.post(1, 'project_1', '5 hours');
  assert headway.reserve_digests() = 2;
  select string_agg(format('%s %s %s-%s', d.user_id, i.channel, i.from_seq, i.through_seq), ', ' order by d.user_id, i.channel) into v_items
  from headway.digest d join headway.digest_item i on i.digest_id = d.id
  where d.state = 'reserved';
  assert v_items = '2 project_1 5-5, 3 project_1 5-5', v_items;
  assert not exists (
    select from headway.digest_item i join headway.digest d on d.id = i.digest_id
    join headway.digest_item j on j.channel = i.channel and j.digest_id > i.digest_id join headway.digest e on e.id = j.digest_id and e.user_id = d.user_id
    where i.through_seq >= j.from_seq
  );
end
$$;
rollback;
