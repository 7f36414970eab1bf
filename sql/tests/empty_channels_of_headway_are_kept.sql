-- Where nobody has said anything yet, the channels that headway makes are kept all the same.
begin;
insert into headway.appuser (id, fullname) values (1, 'Abe');
insert into headway.project (id, name) values (1, 'Website');

do $$
declare
  v_name text;
begin
  foreach v_name in array array['broadcast', 'project_1', 'project_1_staff', 'user_1'] loop
    begin
      delete from headway.channel c where c.name = v_name;
      raise assert_failure using message = v_name || ' was deleted';
    exception when feature_not_supported then
      assert strpos(sqlerrm, v_name) > 0, sqlerrm;
    end;
  end loop;
end
$$;
rollback;
