-- Many rows of several senders in one statement, in two insertions of one statement, and where some are passed over: each
-- has its place, and whoever had read everything has read their own up to the first of another.
begin;
insert into headway.appuser (id, fullname) values (1, 'Abe'), (2, 'Bob'), (3, 'Charlie');
insert into headway.message (sender, channel, content) values
  (1, 'broadcast', 'one'), (1, 'broadcast', 'two'), (2, 'broadcast', 'three'), (1, 'broadcast', 'four'), (1, 'user_1', 'note');

do $$
declare
  v_id bigint;
  v_versions bigint;
begin
  assert (select array_agg(m.content order by m.seq) from headway.message m where m.channel = 'broadcast') = array['one', 'two', 'three', 'four'];
  assert (select array_agg(s.read_seq order by s.user_id) from headway.subscription s where s.channel = 'broadcast') = '{2, 0, 0}';
  assert (select s.read_seq from headway.subscription s where s.channel = 'user_1') = 1;

  perform headway.mark_read(n, 'broadcast') from generate_series(1, 3) n;
  with
    first as (insert into headway.message (sender, channel, content) values (2, 'broadcast', 'five'), (2, 'broadcast', 'six') returning seq),
    second as (insert into headway.message (sender, channel, content) values (2, 'broadcast', 'seven') returning seq)
  select max(m.seq) into v_id from (select * from first union all select * from second) m;
  assert v_id = 7;
  assert (select array_agg(s.read_seq order by s.user_id) from headway.subscription s where s.channel = 'broadcast') = '{4, 7, 4}';

  -- What is passed over takes no number.
  select max(m.id) into v_id from headway.message m;
  insert into headway.message (id, sender, channel, content)
  overriding system value
  values (v_id, 3, 'broadcast', 'again'), (v_id + 10000, 3, 'broadcast', 'eight'), (v_id, 3, 'broadcast', 'again'), (v_id + 10001, 3, 'broadcast', 'nine')
  on conflict do nothing;
  assert (select array_agg(m.content order by m.seq) from headway.message m where m.channel = 'broadcast' and m.seq > 7) = array['eight', 'nine'];
  assert (select bool_and(c.last_seq = m.messages and m.messages = m.last) from headway.channel c
    cross join lateral (select count(*) as messages, coalesce(max(m.seq), 0) as last from headway.message m where m.channel = c.name) m);

  -- However many there are, a channel gets one new version: each would have to pass those before it.
  v_versions := pg_stat_get_xact_tuples_updated('headway.channel'::regclass) + pg_stat_get_xact_tuples_updated('headway.subscription'::regclass);
  perform headway.mark_read(1, 'broadcast');
  insert into headway.message (sender, channel, content) select 1, 'broadcast', 'Message ' || n from generate_series(1, 1000) n;
  assert (select s.read_seq = c.last_seq from headway.subscription s join headway.channel c on c.name = s.channel where s.user_id = 1 and c.name = 'broadcast');
  v_versions := pg_stat_get_xact_tuples_updated('headway.channel'::regclass) + pg_stat_get_xact_tuples_updated('headway.subscription'::regclass) - v_versions;
  assert v_versions = 3, v_versions;
end
$$;
rollback;
