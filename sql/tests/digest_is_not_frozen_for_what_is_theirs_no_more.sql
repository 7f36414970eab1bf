-- What a person has left or muted since the claim is not sent; what was left out of the mail has no say.
begin;
insert into headway.appuser (id, fullname, email) values (1, 'Abe', null), (2, 'Bob', 'bob@example.com');
insert into headway.project (id, name) values (1, 'Website'), (3, 'Fair');
insert into headway.member (project_id, user_id, role) select p, u, 'staff' from unnest('{1, 3}'::bigint[]) p, generate_series(1, 2) u;
insert into headway.message (sender, channel, content, kind, data)
values (1, 'user_2', 'assigned "Book a stand"', 'task_assigned', '{"project_id": 3}');
select headway.post(1, c, 'Hello') from unnest('{project_1, project_3}'::text[]) c;

do $$
declare
  v_worker uuid := '11111111-1111-1111-1111-111111111111';
  v_id bigint := headway.reserve_digest(2);
  v_statement text;
begin
  -- Of project 3 the mail tells by way of user_2 alone.
  perform headway.mute(2, 'project_3');
  foreach v_statement in array array[
    'delete from headway.member where project_id = 3 and user_id = 2',
    'delete from headway.project where id = 3',
    'delete from headway.subscription where channel = ''project_1'' and user_id = 2',
    'select headway.mute(2, ''user_2'')'
  ] loop
    begin
      assert (headway.claim_digest(v_worker) ->> 'digest_id')::bigint = v_id;
      execute v_statement;
      assert not headway.freeze_digest(v_id, v_worker, 'bob@example.com', 'mail'), v_statement;
      assert headway.release_digest(v_id, v_worker);
      assert headway.claim_digest(v_worker) ->> 'projects' is not null, 'what is left is told';
      assert headway.freeze_digest(v_id, v_worker, 'bob@example.com', 'mail'), 'after ' || v_statement;
      raise exception sqlstate 'P0999';
    exception when sqlstate 'P0999' then
    end;
  end loop;
  perform headway.claim_digest(v_worker);
  assert headway.freeze_digest(v_id, v_worker, 'bob@example.com', 'mail'), 'muted before it was claimed';
end
$$;
rollback;
