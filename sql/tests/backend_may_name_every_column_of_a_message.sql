-- ORMs insert a message with every column named, each with its default or null: a backend may. What is the database's to
-- give it cannot bring.
begin;
insert into headway.appuser (id, fullname) values (1, 'Abe');
set local role headway_app;

create function pg_temp.refuses(statement text) returns text
language plpgsql
as $$
declare
  v_message text;
begin
  execute statement;
  return 'nothing is wrong';
exception when others then
  get stacked diagnostics v_message = message_text;
  return sqlstate || ' ' || v_message;
end
$$;

do $$
declare
  v_message headway.message;
begin
  -- Under the id that the sequence gives first, before it has given any.
  assert pg_temp.refuses('insert into headway.message (id, sender, channel, content) values (1, 1, ''broadcast'', ''A'')')
    = '22023 a message brought its own id 1';

  insert into headway.message (id, sender, channel, content, seq, kind, task_id, data, sent_at)
  values (default, 1, 'broadcast', 'A', default, default, default, default, default)
  returning * into v_message;
  assert (v_message.seq, v_message.kind) = (1, 'chat'), v_message;
  insert into headway.message (sender, channel, content, seq, kind, task_id, data, sent_at)
  values (1, 'broadcast', 'B', null, 'chat', null, null, '2001-01-01')
  returning * into v_message;
  assert v_message.seq = 2 and v_message.sent_at > now() - interval '1 minute', v_message;
  -- Which reflection shows.
  assert (
    select a.atthasdef from pg_attribute a where a.attrelid = 'headway.message'::regclass and a.attname = 'seq'
  );

  assert pg_temp.refuses(format('insert into headway.message (id, sender, channel, content) values (%s, 1, ''broadcast'', ''C'')', v_message.id + 1))
    = format('22023 a message brought its own id %s', v_message.id + 1);
  assert pg_temp.refuses('insert into headway.message (id, sender, channel, content) values (0, 1, ''broadcast'', ''C'')')
    = '22023 a message brought its own id 0';
  assert pg_temp.refuses('insert into headway.message (id, sender, channel, content) values (null, 1, ''broadcast'', ''C'')') ~ '^23502';
  assert pg_temp.refuses('insert into headway.message (kind, sender, channel, content) values (null, 1, ''broadcast'', ''C'')') ~ '^23502';
  assert pg_temp.refuses('insert into headway.message (sender, channel, content, seq) values (1, ''broadcast'', ''C'', 3)')
    = '22023 a message brought its own seq 3 to channel "broadcast"';
  assert pg_temp.refuses('insert into headway.message (sender, channel, content, kind) values (1, ''broadcast'', ''C'', ''task_completed'')')
    = '22023 a posted message is chat, not of kind "task_completed"';
  assert pg_temp.refuses('insert into headway.message (sender, channel, content, kind, seq) values (1, ''broadcast'', ''C'', ''task_completed'', 3)')
    = '22023 a posted message is chat, not of kind "task_completed"';
end
$$;
rollback;
