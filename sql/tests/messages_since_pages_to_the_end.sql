-- Page by page, with the last seq of the page before, everything comes once and in order.
begin;
insert into headway.appuser (id, fullname) values (1, 'Abe');
insert into headway.message (sender, channel, content) select 1, (array['broadcast', 'user_1'])[1 + n % 2], n::text from generate_series(1, 50) n;

do $$
declare
  v_seq bigint := 0;
  v_page bigint[];
  v_all bigint[] := '{}';
begin
  loop
    select array_agg(m.seq) into v_page from headway.messages_since('broadcast', v_seq, 7) m;
    exit when v_page is null;
    assert cardinality(v_page) <= 7;
    v_all := v_all || v_page;
    v_seq := v_page[cardinality(v_page)];
  end loop;
  assert v_all = (select array_agg(n::bigint) from generate_series(1, 25) n), v_all::text;
  assert (select count(*) from headway.messages_since('broadcast')) = 25;
  assert not exists (select from headway.messages_since('broadcast', 25)) and not exists (select from headway.messages_since('nowhere'));
end
$$;
rollback;
