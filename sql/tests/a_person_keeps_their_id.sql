-- Messages and a person's own channel refer to them without a foreign key.
begin;
insert into headway.appuser (id, fullname) values (1, 'Abe'), (2, 'Bob');
select headway.post(1, 'broadcast', 'Hello');
delete from headway.subscription where user_id = 1;

set local role headway_app;
do $$
begin
  update headway.appuser set id = 60 where id = 1;
  assert false, 'the id of a person was changed';
exception
  when feature_not_supported then
    assert sqlerrm = 'person 1 cannot become person 60', sqlerrm;
end
$$;
update headway.appuser set id = id, fullname = 'Abraham' where id = 1;
rollback;
