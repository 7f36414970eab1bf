-- Strangers, unknown channels and nobody at all are refused, each with its errcode.
begin;
insert into headway.appuser (id, fullname) values (1, 'Abe'), (2, 'Bob'), (4, 'Dana');
insert into headway.project (id, name) values (1, 'Website');
insert into headway.member (project_id, user_id, role) values (1, 1, 'customer'), (1, 4, 'staff');

do $$
declare
  v_case record;
  v_hint text;
begin
  for v_case in
    select * from (values
      (2, 'project_1', '42501'), (1, 'project_1_staff', '42501'), (1, 'user_4', '42501'), (99, 'broadcast', '42501'),
      (null, 'broadcast', '42501'), (1, 'nowhere', '23503'), (1, null, '23503')
    ) c (sender, channel, state)
  loop
    begin
      perform headway.post(v_case.sender, v_case.channel, 'Hello');
      raise assert_failure using message = v_case::text;
    exception when insufficient_privilege or foreign_key_violation then
      get stacked diagnostics v_hint = pg_exception_hint;
      assert sqlstate = v_case.state, sqlstate || ' ' || sqlerrm;
      assert v_hint <> '';
      assert v_case.channel is null or strpos(sqlerrm, v_case.channel) > 0, sqlerrm;
    end;
  end loop;
  assert not exists (select from headway.message);
  assert (select sum(c.last_seq) from headway.channel c) = 0, 'a refused message took a number';
  assert (headway.post(4, 'project_1_staff', 'Between us')).seq = 1;
  assert (headway.post(1, 'user_1', 'Note to self')).seq = 1;
end
$$;
rollback;
