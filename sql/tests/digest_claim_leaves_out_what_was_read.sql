-- Between reservation and claim things are read, seen and muted, people leave and are forgotten: that is in no mail.
begin;
insert into headway.appuser (id, fullname, email) values
  (1, 'Abe', null), (2, 'Bob', 'bob@example.com'), (3, 'Charlie', 'charlie@example.com'), (4, 'Dora', 'dora@example.com');
insert into headway.project (id, name) values (1, 'Website'), (2, 'Shop');
insert into headway.member (project_id, user_id, role) values
  (1, 1, 'staff'), (1, 2, 'customer'), (1, 3, 'customer'), (1, 4, 'customer'), (2, 1, 'staff'), (2, 3, 'customer');
select headway.open_channel('design', 1, '{1,2}');

do $$
declare
  v_seen bigint := pg_temp.post(1, 'project_1', '6 hours', 'One');
  v_content json;
  v_claimed text := '';
begin
  perform pg_temp.post(1, 'project_1', '6 hours', 'Two'), pg_temp.post(1, 'project_1', '6 hours', 'Three'),
    pg_temp.post(1, 'broadcast', '6 hours', 'To all'), pg_temp.post(1, 'design', '6 hours', 'The logo'),
    pg_temp.post(1, 'project_2', '6 hours', 'In the shop');
  assert headway.reserve_digests() = 3;
  -- Said after the reservation: that is for the next one.
  perform pg_temp.post(1, 'project_1', '5 hours', 'Four');
  perform headway.mark_seen(2, array[(select m.id from headway.message m where m.content = 'Two')]);
  perform headway.mark_read(2, 'broadcast'), headway.mute(2, 'design');
  delete from headway.member m where m.project_id = 1 and m.user_id = 3;
  perform headway.mark_read(4, 'project_1', 3), headway.mark_read(4, 'broadcast');
  loop
    v_content := headway.claim_digest('11111111-1111-1111-1111-111111111111');
    exit when v_content is null;
    v_claimed := v_claimed || format('%s: %s. ', v_content ->> 'name', (
      select string_agg(l.line ->> 'content', ', ' order by l.line ->> 'content')
      from json_array_elements(v_content -> 'projects') p (project), json_array_elements(p.project -> 'lines') l (line)
    ));
  end loop;
  assert v_claimed = 'Bob: One, Three. Charlie: In the shop, To all. ', v_claimed;
  assert (select d.state from headway.digest d where d.user_id = 4) = 'read_before_sending', 'Dora has read all of it';
  assert (select s.mailed_seq from headway.subscription s where s.user_id = 2 and s.channel = 'project_1') = 3, '"Four" waits';
end
$$;
rollback;
