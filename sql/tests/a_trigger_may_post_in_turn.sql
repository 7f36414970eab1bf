-- An application's triggers and functions post while somebody posts: whatever they are called and however they fire, each
-- message has its place, and everybody's cursor is where it would be if they had posted one after the other.
begin;
insert into headway.appuser (id, fullname) values (1, 'Abe'), (2, 'Bob'), (3, 'Helper');

create function pg_temp.reply() returns trigger language plpgsql as $$
begin
  if pg_trigger_depth() = 1 then
    insert into headway.message (sender, channel, content) values (3, 'broadcast', tg_name);
  end if;
  return new;
end
$$;

do $$
declare
  v_when text;
  v_read bigint;
begin
  foreach v_when in array array[
    'aa before insert on headway.message for each row', 'zy before insert on headway.message for each row',
    'aa after insert on headway.message for each row', 'zz after insert on headway.message for each row',
    'aa after insert on headway.message for each statement', 'zz after insert on headway.message for each statement',
    'zz before insert on headway.message for each statement'
  ] loop
    execute format('create trigger %s execute function pg_temp.reply()', v_when);
    perform headway.mark_read(1, 'broadcast');
    v_read := headway.mark_read(2, 'broadcast');
    perform headway.post(1, 'broadcast', 'one');
    insert into headway.message (sender, channel, content) values (1, 'broadcast', 'two'), (1, 'broadcast', 'three'), (2, 'broadcast', 'four');
    assert (select c.last_seq from headway.channel c where c.name = 'broadcast') =
      (select count(*) from headway.message m where m.channel = 'broadcast'), v_when;
    assert (select max(m.seq) from headway.message m where m.channel = 'broadcast') =
      (select count(*) from headway.message m where m.channel = 'broadcast'), v_when;
    assert (select count(*) from headway.message m where m.sender = 3) > 0, v_when;
    assert not exists (
      select from headway.subscription s
      join headway.message m on m.channel = s.channel and m.seq <= s.read_seq and m.sender <> s.user_id
      where s.channel = 'broadcast' and s.user_id <> 3 and m.seq > v_read
    ), format('%s: somebody is said to have read what others said', v_when);
    execute format('drop trigger %s on headway.message', left(v_when, 2));
  end loop;

  insert into headway.message (sender, channel, content)
  select 1, 'broadcast', (headway.post(2, 'broadcast', 'question ' || n)).content from generate_series(1, 3) n;
  assert (select max(m.seq) = count(*) from headway.message m where m.channel = 'broadcast');
end
$$;
rollback;
