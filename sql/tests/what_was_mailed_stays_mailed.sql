-- Moving mailed_seq back would mail the same messages twice.
begin;
insert into headway.appuser (id, fullname) values (1, 'Abe'), (2, 'Bob');
select headway.post(2, 'broadcast', 'Message ' || i) from generate_series(1, 3) i;
do $$
begin
  update headway.subscription set mailed_seq = 3 where user_id = 1 and channel = 'broadcast';
  begin
    update headway.subscription set mailed_seq = 2 where user_id = 1 and channel = 'broadcast';
    assert false, 'mailed_seq went back';
  exception when invalid_parameter_value then
    assert sqlerrm like '%from 3 to 2%', sqlerrm;
  end;
  assert (select mailed_seq from headway.subscription where user_id = 1 and channel = 'broadcast') = 3, 'mailed_seq is kept';
end
$$;
rollback;
