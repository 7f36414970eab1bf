create function headway.open_channel(name text, project_id bigint default null, members bigint[] default '{}') returns text
language plpgsql
as $$
declare
  v_project_id bigint;
  v_stranger bigint;
begin
  if open_channel.name is null or open_channel.name !~ '^[a-z][a-z0-9_]{0,62}$' then
    raise exception 'a channel cannot be named "%"', open_channel.name using
      errcode = 'invalid_parameter_value',
      hint = 'Start with a letter, then lowercase letters, digits and underscores, 63 at most: LISTEN takes such a name without quotes.';
  elsif open_channel.name ~ '^(headway|project_|user_)' then
    raise exception 'the channel name "%" is reserved', open_channel.name using
      errcode = 'invalid_parameter_value',
      hint = 'Names that start with headway, project_ or user_ are made by headway itself.';
  end if;
  -- The project before its members, in the order in which deleting it locks them.
  perform from headway.project p where p.id = open_channel.project_id for key share;
  if not found and open_channel.project_id is not null then
    raise exception 'there is no project %', open_channel.project_id using
      errcode = 'no_data_found',
      hint = 'select id, name from headway.project lists them.';
  end if;
  -- Whoever is leaving the project has left, or waits and then also removes the subscriptions made below. Writing the
  -- rows, rather than locking them, also makes leaving under repeatable read fail.
  update headway.member b
  set joined_at = b.joined_at
  from (
    select b.user_id
    from headway.member b
    where b.project_id = open_channel.project_id and b.user_id = any (open_channel.members)
    order by b.user_id
    for no key update
  ) l
  where b.project_id = open_channel.project_id and b.user_id = l.user_id;
  select m.user_id into v_stranger
  from unnest(open_channel.members) m (user_id)
  where not exists (select from headway.appuser u where u.id = m.user_id)
    or open_channel.project_id is not null and not exists (
      select from headway.member b where b.project_id = open_channel.project_id and b.user_id = m.user_id
    )
  limit 1;
  if found then
    raise exception 'person % cannot join channel "%"', v_stranger, open_channel.name using
      errcode = 'no_data_found',
      hint = 'Members are ids of headway.appuser, and of headway.member where the channel belongs to a project.';
  end if;

  insert into headway.channel (name, project_id)
  values (open_channel.name, open_channel.project_id)
  on conflict on constraint channel_pkey do nothing;
  select c.project_id into v_project_id from headway.channel c where c.name = open_channel.name;
  if v_project_id is distinct from open_channel.project_id then
    raise exception 'channel "%" belongs to %', open_channel.name, coalesce('project ' || v_project_id, 'no project') using
      errcode = 'duplicate_object',
      hint = 'Take another name.';
  end if;
  insert into headway.subscription (channel, user_id, read_seq, mailed_seq)
  select c.name, m.user_id, c.last_seq, c.last_seq
  from unnest(open_channel.members) m (user_id)
  join headway.channel c on c.name = open_channel.name
  order by m.user_id
  on conflict do nothing;
  return open_channel.name;
end
$$;
comment on function headway.open_channel(text, bigint, bigint[]) is
  'Opens a channel, or adds members to an open one, and returns its name: select headway.open_channel(''design_review'', 1, array[1, 4]). Errors: invalid_parameter_value, check_violation for a key word, no_data_found, duplicate_object.';

create function headway.channel_after_insert() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_name text;
begin
  -- The person who gets that id later could not be given their channel.
  select n.name into v_name
  from new_rows n
  where n.name ~ '^user_' and not exists (
    select from headway.appuser u
    where n.name = 'user_' || u.id
      and u.id = case when n.name ~ '^user_' then least(substr(n.name, 6)::numeric, 9223372036854775807)::bigint end
  )
  limit 1;
  if found then
    raise exception 'channel "%" is for a person who does not exist', v_name using
      errcode = 'check_violation',
      schema = 'headway',
      table = 'channel',
      column = 'name',
      constraint = 'channel_name_not_reserved',
      hint = 'A person''s channel comes and goes with their row in headway.appuser.';
  end if;
  -- Not in a check constraint: which words are reserved depends on the version of PostgreSQL, and the next version has to
  -- restore a dump.
  select n.name into v_name
  from new_rows n
  where n.name !~ '^(project|user)_' and n.name in (select k.word from pg_get_keywords() k where k.catcode in ('R', 'T'))
  limit 1;
  if found then
    raise exception 'a channel cannot be named "%", which is a key word of SQL', v_name using
      errcode = 'check_violation',
      schema = 'headway',
      table = 'channel',
      column = 'name',
      constraint = 'channel_name_listenable',
      hint = format('LISTEN would take it only in quotes: take another name, such as "%s_channel".', v_name);
  end if;
  return null;
end
$$;
comment on function headway.channel_after_insert() is
  'Reserves the names of people''s channels for those people, and refuses names that LISTEN takes only in quotes.';

create trigger channel_after_insert after insert on headway.channel
referencing new table as new_rows
for each statement execute function headway.channel_after_insert();

create function headway.channel_before_change() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_free boolean := false;
begin
  if tg_op = 'DELETE' then
    -- A channel is deleted with its project or its person; one that was opened may be deleted while it has no messages.
    v_free := case
      when old.project_id is not null and not exists (select from headway.project p where p.id = old.project_id) then true
      when old.name ~ '^user_' then not exists (
        select from headway.appuser u where u.id = least(substr(old.name, 6)::numeric, 9223372036854775807)::bigint
      )
      else old.name !~ '^project_' and old.name <> 'broadcast'
        and not exists (select from headway.message m where m.channel = old.name)
    end;
  end if;
  if v_free then
    return old;
  end if;
  raise exception 'channel "%" is kept as it is: % of headway.channel is refused', coalesce(old.name, '*'), lower(tg_op) using
    errcode = 'feature_not_supported',
    hint = case
      when old.name ~ '^user_' then format('It goes with the person: delete from headway.appuser where id = %s.', substr(old.name, 6))
      when old.project_id is not null then format('It goes with the whole project: delete from headway.project where id = %s.', old.project_id)
      else 'It is kept with the messages in it.'
    end;
end
$$;
comment on function headway.channel_before_change() is
  'Refuses to delete a channel, and with it its messages, while the person or project that it belongs to exists; also to rename it, to move it to another project and to lower its last_seq. A channel that somebody opened may be deleted while it has no messages.';

create trigger channel_before_update before update on headway.channel
for each row when (
  new.name <> old.name or new.project_id is distinct from old.project_id or new.last_seq < old.last_seq
)
execute function headway.channel_before_change();

create trigger channel_before_delete before delete on headway.channel
for each row execute function headway.channel_before_change();

create trigger channel_before_truncate before truncate on headway.channel
for each statement execute function headway.channel_before_change();

create function headway.channel_after_delete() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  delete from headway.message m using old_rows o where m.channel = o.name;
  return null;
end
$$;
comment on function headway.channel_after_delete() is 'Deletes a channel''s messages with it.';

create trigger channel_after_delete after delete on headway.channel
referencing old table as old_rows
for each statement execute function headway.channel_after_delete();

create function headway.message_before_insert() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_subscribed boolean;
begin
  if new.seq is not null then
    raise exception 'a message brought its own seq % to channel "%"', new.seq, new.channel using
      errcode = 'invalid_parameter_value',
      hint = 'Insert sender, channel and content; the rest is filled in.';
  end if;
  if new.sender is distinct from headway.uid() and headway.uid() is not null then
    raise exception 'person % cannot post as somebody else', headway.uid() using
      errcode = 'insufficient_privilege',
      hint = 'Where headway.user_id is set, that end user is the sender of what they post.';
  end if;
  -- If the sender is being unsubscribed or deleted at this moment, either this waits and finds no subscription, or the
  -- other transaction waits and then sees this message. Locked before the channel, so that whoever waits here keeps nobody
  -- else from posting.
  perform from headway.subscription s where s.channel = new.channel and s.user_id = new.sender for key share;
  v_subscribed := found;
  -- This row lock is held until commit: whoever reads seq n can read everything below it. Messages above last_seq
  -- belong to this statement; last_seq is written once they are all there, or each would have to step over the row
  -- versions left by those before it.
  select coalesce(
    (select m.seq from headway.message m where m.channel = c.name and m.seq > c.last_seq order by m.seq desc limit 1),
    c.last_seq
  ) + 1
  into new.seq
  from headway.channel c
  where c.name = new.channel
  for no key update;
  if new.seq is null or new.kind = 'chat' and not v_subscribed then
    -- To end users, a channel that is not theirs does not exist.
    if headway.uid() is not null or new.seq is null then
      raise exception 'there is no channel "%"', new.channel using
        errcode = 'foreign_key_violation',
        hint = 'select name from headway.channel lists them; headway.open_channel(name, project, members) opens one.';
    end if;
    raise exception 'person % is not subscribed to channel "%"', new.sender, new.channel using
      errcode = 'insufficient_privilege',
      hint = case
        when new.channel ~ '^project_[0-9]+_staff$' then 'It is for the staff of that project: headway.member has them with the role staff.'
        when new.channel ~ '^(project|user)_[0-9]+$' then 'It is for the members of that project, in headway.member, or for that person.'
        else format('select headway.open_channel(%L, project, array[%s]) adds them, project being that of the channel or null.', new.channel, new.sender)
      end;
  end if;
  new.sent_at := clock_timestamp();
  return new;
end
$$;
comment on function headway.message_before_insert() is 'Checks that the sender may post and gives the message its place in the channel.';

-- The fold numbers its own messages, one channel at a time. Triggers fire in order of name: this one after those of
-- applications, which may post messages themselves.
create trigger zz_message_before_insert before insert on headway.message
for each row when (new.seq is null or new.kind = 'chat') execute function headway.message_before_insert();

create function headway.message_after_insert() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_mode text := headway.notify_mode();
  v_new record;
begin
  for v_new in
    select n.channel, c.last_seq, max(n.seq) as through, min(n.seq) filter (where n.kind = 'chat') as first_said
    from new_rows n
    left join headway.channel c on c.name = n.channel
    group by n.channel, c.last_seq
  loop
    -- Already counted: what the fold posts, and the messages of a statement for which a trigger has posted others
    -- since.
    if v_new.through <= v_new.last_seq is not true then
      -- A number that was not assigned here would collide with the message that gets it later.
      if v_new.through - v_new.last_seq = (
        select count(*) from headway.message m where m.channel = v_new.channel and m.seq > v_new.last_seq and m.seq <= v_new.through
      ) is not true then
        raise exception 'a message brought its own seq to channel "%"', v_new.channel using
          errcode = 'invalid_parameter_value',
          hint = 'Insert sender, channel and content; the rest is filled in.';
      end if;
      update headway.channel c set last_seq = v_new.through where c.name = v_new.channel;
    end if;
    continue when v_new.first_said is null;
    -- A sender who has read everything else has read their own messages too, up to the next one from somebody else. If
    -- the cursor is being moved at this moment, that move takes care of it.
    update headway.subscription s
    set read_seq = coalesce(
      (
        select m.seq - 1
        from headway.message m
        where m.channel = s.channel and m.seq > s.read_seq and m.seq <= v_new.through and m.sender is distinct from s.user_id
        order by m.seq
        limit 1
      ),
      v_new.through
    )
    from headway.message f
    cross join lateral (
      select l.user_id
      from headway.subscription l
      where l.channel = f.channel and l.user_id = f.sender and l.read_seq = f.seq - 1
      for no key update skip locked
    ) l
    where f.channel = v_new.channel and f.seq = v_new.first_said and s.channel = f.channel and s.user_id = l.user_id;
  end loop;

  if v_mode <> 'off' then
    perform pg_notify(p.channel, p.payload), pg_notify('headway_events', p.payload)
    from (
      select e.channel, headway.payload(v_mode, e.event, array['content', 'data'], to_json(e.reference)) as payload
      from (
        select n.channel, to_json(n) as event, r as reference
        from new_rows n
        cross join lateral (select n.id, n.sender, n.channel, n.seq, n.kind) r
        offset 0 -- here and below: evaluate each once, not once per use
      ) e
      offset 0
    ) p;
  end if;
  return null;
end
$$;
comment on function headway.message_after_insert() is 'Advances the channel''s last_seq, refuses numbers that were not assigned here, and notifies each message on the channel of its name.';

create trigger message_after_insert after insert on headway.message
referencing new table as new_rows
for each statement execute function headway.message_after_insert();

create function headway.message_before_change() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  -- When a project is deleted, the channel goes first and its messages follow.
  if tg_op = 'DELETE' and not exists (select from headway.channel c where c.name = old.channel) then
    return old;
  end if;
  raise exception 'messages are kept as they are: % of headway.message is refused', lower(tg_op) using
    errcode = 'feature_not_supported',
    hint = 'They go with their whole project, or their person; headway.forget_user(id) erases a name and leaves what was said.';
end
$$;
comment on function headway.message_before_change() is 'Keeps messages from being changed, and from being deleted except with their project or person.';

create trigger message_before_change before update or delete on headway.message
for each row execute function headway.message_before_change();

create trigger message_before_truncate before truncate on headway.message
for each statement execute function headway.message_before_change();

create function headway.post(sender bigint, channel text, content text) returns headway.message
language sql
as $$
  insert into headway.message (sender, channel, content)
  values (post.sender, post.channel, post.content)
  returning *
$$;
comment on function headway.post(bigint, text, text) is
  'Posts to a channel and returns the message: select * from headway.post(1, ''project_1'', ''Where is the logo?''). With select (headway.post(...)).* PostgreSQL would call it, and post, once for each column. Errors: foreign_key_violation, insufficient_privilege.';

create function headway.subscription_before_write() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_last_seq bigint;
begin
  if tg_op = 'UPDATE' and (new.user_id <> old.user_id or new.channel <> old.channel) then
    raise exception 'the subscription of person % to channel "%" cannot become that of person % to channel "%"', old.user_id,
      old.channel, new.user_id, new.channel using
      errcode = 'feature_not_supported',
      hint = 'Delete it and insert the other one. An ORM that takes the first column for the key updates those of others.';
  elsif tg_op = 'INSERT' or new.read_seq >= old.read_seq and new.mailed_seq >= old.mailed_seq then
    select c.last_seq into v_last_seq from headway.channel c where c.name = new.channel;
    if greatest(new.read_seq, new.mailed_seq) > v_last_seq then
      raise exception 'the cursor of person % in channel "%" cannot be at %: the last message is %', new.user_id, new.channel,
        greatest(new.read_seq, new.mailed_seq), v_last_seq using
        errcode = 'invalid_parameter_value',
        hint = 'A cursor is a message''s seq, not its id; headway.mark_read(user, channel) moves it to the last one.';
    end if;
    return new;
  elsif new.read_seq < old.read_seq then
    raise exception 'the cursor of person % in channel "%" cannot go back from % to %', old.user_id, old.channel, old.read_seq, new.read_seq using
      errcode = 'invalid_parameter_value',
      hint = 'What was read stays read; headway.mark_read(user, channel, through_seq) only moves forward.';
  end if;
  raise exception 'what was mailed to person % from channel "%" cannot go back from % to %', old.user_id, old.channel, old.mailed_seq, new.mailed_seq using
    errcode = 'invalid_parameter_value',
    hint = 'Nothing is mailed twice; headway.retry_digest(id) sends a digest again that failed or is held.';
end
$$;
comment on function headway.subscription_before_write() is
  'Refuses a cursor that would move back or pass the last message, and a subscription that would become another person''s or another channel''s.';

create trigger subscription_before_insert before insert on headway.subscription
for each row when (new.read_seq > 0 or new.mailed_seq > 0)
execute function headway.subscription_before_write();

create trigger subscription_before_update before update on headway.subscription
for each row when (
  new.read_seq <> old.read_seq or new.mailed_seq <> old.mailed_seq or new.user_id <> old.user_id or new.channel <> old.channel
)
execute function headway.subscription_before_write();

create function headway.mute(user_id bigint, channel text, muted boolean default true) returns boolean
language plpgsql
as $$
begin
  update headway.subscription s set muted = mute.muted where s.channel = mute.channel and s.user_id = mute.user_id;
  if not found then
    perform headway.refuse_stranger(mute.user_id, mute.channel);
  end if;
  return mute.muted;
end
$$;
comment on function headway.mute(bigint, text, boolean) is
  'Excludes a channel from a person''s mail, or includes it again with muted => false; returns the new state. Errors: no_data_found.';

create function headway.refuse_stranger(user_id bigint, channel text) returns void
language plpgsql
as $$
begin
  perform headway.check_identity();
  raise exception 'person % is not subscribed to channel "%"', refuse_stranger.user_id, refuse_stranger.channel using
    errcode = 'no_data_found',
    hint = format('select channel from headway.subscription where user_id = %s lists what they read.', coalesce(refuse_stranger.user_id::text, '...'));
end
$$;
comment on function headway.refuse_stranger(bigint, text) is 'Raises the error for a person who is not subscribed to a channel.';
