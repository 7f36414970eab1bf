-- For tests/: psql -f testdata/helpers.sql -f tests/….sql runs one by hand.

-- A message that was sent a while ago.
create function pg_temp.post(sender bigint, channel text, ago interval, content text default 'Hello') returns bigint
language plpgsql
as $$
declare
  v_id bigint := (headway.post(post.sender, post.channel, post.content)).id;
begin
  perform set_config('session_replication_role', 'replica', true);
  update headway.message m set sent_at = now() - post.ago where m.id = v_id;
  perform set_config('session_replication_role', 'origin', true);
  return v_id;
end
$$;
