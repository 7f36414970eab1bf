-- A person's own messages are excluded by coalesce(... <> ..., true). With "is distinct from", where one person wrote
-- most of them, the planner expects almost nothing to pass and prepares for a million messages that are never read.

-- Plus 0, so that no plan goes by the index on id. For order by id with a limit, it would read the messages of all
-- channels until it has found enough, which for somebody who has read everything means all of them.
create view headway.unread_message with (security_invoker) as
select s.user_id, m.id + 0 as id, m.sender, m.channel, m.content, m.seq, m.kind, m.task_id, m.data, m.sent_at
from headway.subscription s
join headway.message m on m.channel = s.channel and m.seq > s.read_seq
where coalesce(m.sender <> s.user_id, true)
  and not exists (
    select from headway.seen e where e.channel = s.channel and e.user_id = s.user_id and e.seq = m.seq
  );
comment on view headway.unread_message is 'Every message that a person (user_id) has not read; their own are never unread. To page through a long channel, use headway.messages_since() from read_seq on. To find one message, give its channel and seq: a condition on id, or an order by it, reads everything that the person has not read.';

-- Counts in windows of 1000 numbers, none of which a channel skips, until 1000 unread messages are found. If the channel
-- were read from the cursor to its end at once, the planner might choose to sort the few messages that it expects, and
-- then have to sort a million.
create view headway.unread with (security_invoker) as
select s.user_id, s.channel, u.messages, u.oldest_at
from headway.subscription s
-- A channel with nothing above the cursor costs one lookup of its row and none of its messages.
join headway.channel c on c.name = s.channel and c.last_seq > s.read_seq
cross join lateral (
  select count(*)::integer as messages, min(o.sent_at) as oldest_at
  from (
    with recursive w (after, through) as (
      select s.read_seq, s.read_seq + 1000
      union all
      select w.through, w.through + 1000 from w where w.through < c.last_seq
    )
    select m.sent_at
    from w
    cross join lateral (
      select m.sent_at
      from headway.message m
      where m.channel = s.channel and m.seq > w.after and m.seq <= w.through
        and coalesce(m.sender <> s.user_id, true)
        -- Read once per window. A join is planned for the few messages that are expected, and is slow for many.
        and m.seq not in (
          select e.seq
          from headway.seen e
          where e.channel = s.channel and e.user_id = s.user_id and e.seq > w.after and e.seq <= w.through
        )
      order by m.seq
    ) m
    limit 1000
  ) o
) u
where u.messages > 0;
comment on view headway.unread is 'Per person and channel, how many messages are unread, and since when.';
comment on column headway.unread.messages is 'At most 1000, which means 1000 or more: a badge needs no exact number above that.';
comment on column headway.unread.oldest_at is 'When the oldest unread message was sent.';

create function headway.advance_cursor(user_id bigint, channel text, through_seq bigint) returns bigint
language plpgsql
as $$
declare
  v_read_seq bigint;
begin
  -- From through_seq on, past the person's own messages and those marked one by one, up to the first gap; in windows,
  -- as headway.unread counts.
  select coalesce(
    (
      with recursive w (after, through) as (
        select s.through, s.through
        from (select greatest(advance_cursor.through_seq, 0) as through) s
        union all
        select w.through, w.through + 1000
        from w
        join headway.channel c on c.name = advance_cursor.channel and c.last_seq > w.through
      )
      select g.seq - 1
      from w
      cross join lateral (
        select m.seq
        from headway.message m
        where m.channel = advance_cursor.channel and m.seq > w.after and m.seq <= w.through
          and coalesce(m.sender <> advance_cursor.user_id, true)
          and m.seq not in (
            select e.seq
            from headway.seen e
            where e.channel = advance_cursor.channel and e.user_id = advance_cursor.user_id
              and e.seq > w.after and e.seq <= w.through
          )
        order by m.seq
        limit 1
      ) g
      limit 1
    ),
    (select max(m.seq) from headway.message m where m.channel = advance_cursor.channel),
    0
  )
  into v_read_seq;
  update headway.subscription s set read_seq = v_read_seq
  where s.channel = advance_cursor.channel and s.user_id = advance_cursor.user_id and s.read_seq < v_read_seq;
  select s.read_seq into v_read_seq
  from headway.subscription s
  where s.channel = advance_cursor.channel and s.user_id = advance_cursor.user_id;
  delete from headway.seen e
  where e.channel = advance_cursor.channel and e.user_id = advance_cursor.user_id and e.seq <= v_read_seq;
  return v_read_seq;
end
$$;
comment on function headway.advance_cursor(bigint, text, bigint) is
  'Moves a cursor to through_seq, never back, and on over any contiguous read messages; returns the new position. The caller holds the subscription''s row lock.';

create function headway.mark_read(user_id bigint, channel text, through_seq bigint default null) returns bigint
language plpgsql
as $$
declare
  v_read_seq bigint;
begin
  select s.read_seq into v_read_seq
  from headway.subscription s
  where s.channel = mark_read.channel and s.user_id = mark_read.user_id
  for no key update;
  if not found then
    perform headway.refuse_stranger(mark_read.user_id, mark_read.channel);
  end if;
  -- A message not sent yet cannot have been read.
  return headway.advance_cursor(
    mark_read.user_id,
    mark_read.channel,
    (
      select greatest(v_read_seq, least(coalesce(mark_read.through_seq, c.last_seq), c.last_seq))
      from headway.channel c
      where c.name = mark_read.channel
    )
  );
end
$$;
comment on function headway.mark_read(bigint, text, bigint) is
  'Marks a channel read up to and including through_seq (null: all of it) and returns the cursor, which never moves back: select headway.mark_read(2, ''project_1'', 17). Errors: no_data_found.';

create function headway.mark_seen(user_id bigint, message_ids bigint[]) returns integer
language plpgsql
as $$
declare
  v_channel record;
  v_new integer;
  v_marked integer := 0;
begin
  for v_channel in
    -- In a fixed order, so that two calls never deadlock.
    select s.channel, s.read_seq, m.seqs
    from (
      -- Each message is looked up once, whatever its channel and their number.
      select m.channel, array_agg(m.seq) as seqs
      from unnest(mark_seen.message_ids) i (id)
      cross join lateral (select m.channel, m.seq, m.sender from headway.message m where m.id = i.id offset 0) m
      where coalesce(m.sender <> mark_seen.user_id, true) -- one's own are never unread
      group by m.channel
    ) m
    join headway.subscription s on s.channel = m.channel and s.user_id = mark_seen.user_id
    order by s.channel
    for no key update of s
  loop
    insert into headway.seen (channel, user_id, seq)
    select v_channel.channel, mark_seen.user_id, q.seq
    from unnest(v_channel.seqs) q (seq)
    where q.seq > v_channel.read_seq
    on conflict do nothing;
    get diagnostics v_new = row_count;
    v_marked := v_marked + v_new;
    perform headway.advance_cursor(mark_seen.user_id, v_channel.channel, v_channel.read_seq);
  end loop;
  if v_marked = 0 then
    perform headway.check_identity();
  end if;
  return v_marked;
end
$$;
comment on function headway.mark_seen(bigint, bigint[]) is
  'Marks single messages read, in any order, and returns how many were unread before; ids in channels that the person does not read are ignored.';

create function headway.messages_since(channel text, seq bigint default 0, max_messages integer default 1000)
returns setof headway.message
language sql
stable
as $$
  select m.*
  from headway.message m
  where m.channel = messages_since.channel and m.seq > messages_since.seq
  order by m.seq
  limit messages_since.max_messages
$$;
comment on function headway.messages_since(text, bigint, integer) is
  'Messages of a channel after seq, oldest first; call again with the last seq until nothing is returned: select * from headway.messages_since(''project_1'', 17).';

create function headway.sender_name(message_id bigint) returns text
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select u.fullname
    from headway.message m
    join headway.subscription s on s.channel = m.channel and s.user_id = headway.uid()
    join headway.appuser u on u.id = m.sender
    where m.id = sender_name.message_id
  );
end
$$;
comment on function headway.sender_name(bigint) is
  'The name of the sender of a message that headway.uid() may read, whether or not they (still) share a project. Null: it has no sender, or they may not read it.';

create function headway.snapshot(user_id bigint) returns json
language plpgsql
stable
-- Planning takes several times as long as running: plpgsql keeps one plan for the session.
set plan_cache_mode = force_generic_plan
set jit = off
as $$
begin
  -- If end users ask for their own snapshot, the policies would let all of it through, after checking every row.
  if snapshot.user_id = headway.uid() and pg_catalog.row_security_active('headway.message') then
    return headway.my_snapshot();
  end if;
  return (
    select json_build_object(
      'user_id', u.id,
      'fullname', u.fullname,
      'projects', (
        select coalesce(json_agg(json_build_object(
          'project_id', p.id,
          'name', p.name,
          'archived_at', p.archived_at,
          'role', m.role,
          'version', s.version,
          'shared', json_build_object('done', s.done, 'total', s.total),
          'progress', case m.role
            when 'customer' then (
              select json_build_object('done', g.done, 'total', g.total, 'percent', g.percent)
              from headway.current_bar(m.project_id, m.user_id) g
            )
            else (
              select json_build_object('done', g.done, 'total', g.total, 'percent', g.percent, 'customers', g.customers)
              from headway.project_progress g where g.project_id = m.project_id
            )
          end
        ) order by p.id), '[]')
        from headway.member m
        join headway.project p on p.id = m.project_id
        -- Looked up for each: a join would count what waits in all projects.
        cross join lateral (
          select * from headway.current_shared_progress c where c.project_id = m.project_id offset 0
        ) s
        where m.user_id = u.id
      ),
      'channels', (
        select coalesce(json_agg(json_build_object(
          'channel', c.name,
          'project_id', c.project_id,
          'last_seq', c.last_seq,
          'read_seq', s.read_seq,
          -- Not joined: all of them would be compared with all subscriptions.
          'unread', coalesce((select n.messages from headway.unread n where n.user_id = s.user_id and n.channel = s.channel), 0),
          'muted', s.muted
        ) order by c.name), '[]')
        from headway.subscription s
        join headway.channel c on c.name = s.channel
        where s.user_id = u.id
      )
    )
    from headway.appuser u
    where u.id = snapshot.user_id
  );
end
$$;
comment on function headway.snapshot(bigint) is
  'Everything a client needs when it reconnects, in one snapshot of the database: projects with progress and version, channels with last_seq, read_seq and unread. LISTEN first, then read this, then apply the notifications that are newer. Null: no such person.';

create function headway.my_snapshot() returns json
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  return headway.snapshot(headway.uid());
end
$$;
comment on function headway.my_snapshot() is 'headway.snapshot() of headway.uid(), without evaluating the policies. Null: no end user was named.';
