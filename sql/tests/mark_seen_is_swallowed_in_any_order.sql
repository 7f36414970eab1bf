-- Every order of marking single messages ends with the cursor at the end and no mark left.
begin;
insert into headway.appuser (id, fullname) values (1, 'Abe'), (2, 'Bob'), (3, 'Charlie');

do $$
declare
  v_ids bigint[];
  v_order int[];
  v_n int;
begin
  for v_order in
    select array[a, b, c, d] from generate_series(1, 4) a, generate_series(1, 4) b, generate_series(1, 4) c, generate_series(1, 4) d
    where a <> b and a <> c and a <> d and b <> c and b <> d and c <> d
  loop
    with posted as (
      insert into headway.message (sender, channel, content) select 1, 'broadcast', 'Message ' || n from generate_series(1, 4) n returning id
    )
    select array_agg(p.id order by p.id) into v_ids from posted p;
    for v_n in 1..4 loop
      assert (select u.messages from headway.unread u where u.user_id = 2) = 5 - v_n;
      assert headway.mark_seen(2, v_ids[v_order[v_n]:v_order[v_n]]) = 1;
      assert headway.mark_seen(2, v_ids[v_order[v_n]:v_order[v_n]]) = 0, 'marked again';
      assert not exists (select from headway.unread_message u where u.user_id = 2 and u.id = v_ids[v_order[v_n]]);
      -- No mark at or next to the cursor.
      assert not exists (
        select from headway.seen e join headway.subscription s using (channel, user_id) where e.user_id = 2 and e.seq <= s.read_seq + 1
      );
    end loop;
    assert not exists (select from headway.seen e where e.user_id = 2), 'a mark is left';
    assert (select s.read_seq from headway.subscription s where s.channel = 'broadcast' and s.user_id = 2)
      = (select c.last_seq from headway.channel c where c.name = 'broadcast');
  end loop;

  -- Several channels, ids of channels one does not read, ids that are not there, one twice.
  perform headway.mark_read(3, 'broadcast');
  perform headway.open_channel('a_room', null, array[1, 3]), headway.open_channel('b_room', null, array[1]);
  insert into headway.message (sender, channel, content) values (1, 'b_room', 'x'), (1, 'a_room', 'y'), (1, 'broadcast', 'z');
  assert headway.mark_seen(3, (select array_agg(m.id) || array[null, -1, max(m.id)] from headway.message m where m.content in ('x', 'y', 'z'))) = 2;
  assert not exists (select from headway.unread u where u.user_id = 3);
  assert headway.mark_seen(3, '{}') = 0 and headway.mark_seen(3, null) = 0;

  -- One's own messages are read as it is: what is counted is what was unread.
  perform headway.post(1, 'a_room', 'Here?');
  insert into headway.message (sender, channel, content) select 3, 'a_room', 'Here! ' || n from generate_series(1, 2) n;
  assert headway.mark_seen(3, (select array_agg(m.id) from headway.message m where m.content ~ '^Here!')) = 0, 'their own';
  assert not exists (select from headway.seen);
  assert headway.mark_seen(3, (select array_agg(m.id) from headway.message m where m.content ~ '^Here')) = 1;
  assert not exists (select from headway.unread u where u.user_id = 3);

  -- mark_read swallows what was marked above.
  insert into headway.message (sender, channel, content) select 1, 'a_room', 'Message ' || n from generate_series(1, 4) n;
  perform headway.mark_seen(3, (select array_agg(m.id) from headway.message m where m.channel = 'a_room' and m.seq in (7, 8)));
  assert (select count(*) from headway.seen) = 2;
  assert headway.mark_read(3, 'a_room', 6) = 8, 'over the marks';
  assert (select count(*) from headway.seen) = 0;
end
$$;
rollback;
