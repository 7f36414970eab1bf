-- Two projects, the same but for their ids and words, whose people have nothing to do with each other. The ids of the
-- second begin with 77, and every text of it says so: nobody of the first may ever read "hidden". Some of it is folded,
-- some waits.
select headway.set_setting('digest_after', '1 minute'), headway.set_setting('digest_min_gap', '0');

do $$
declare
  v_worker uuid := '11111111-1111-1111-1111-111111111111';
  v_digest bigint;
  w bigint; -- what is added to the ids
  x text; -- what is put before the words
begin
  foreach w in array array[0, 7700000000] loop
    x := case w when 0 then '' else 'hidden_' end;
    insert into headway.appuser (id, fullname, email) values
      (w + 1, x || 'Abe', x || 'abe@example.com'), (w + 2, x || 'Bob', x || 'bob@example.com'),
      (w + 3, x || 'Charlie', x || 'charlie@example.com'), (w + 4, x || 'Dora', x || 'dora@example.com');
    insert into headway.project (id, name) values (w + 1, x || 'relaunch');
    insert into headway.member (project_id, user_id, role) values
      (w + 1, w + 1, 'customer'), (w + 1, w + 2, 'customer'), (w + 1, w + 3, 'customer'), (w + 1, w + 4, 'staff');
    insert into headway.task (id, project_id, title, detail, weight, shared, audience, created_by) values
      (w + 1, w + 1, x || 'domain', x || 'detail', 1, true, 'everyone', w + 4),
      (w + 2, w + 1, x || 'profile', null, 2, false, 'everyone', null),
      (w + 3, w + 1, x || 'contract', null, 3, true, 'assigned', null),
      (w + 4, w + 1, x || 'introduction', null, 4, false, 'assigned', null),
      (w + 5, w + 1, x || 'copy', null, 5, true, 'everyone', null),
      (w + 6, w + 1, x || 'news', null, 6, false, 'everyone', null),
      (w + 8, w + 1, x || 'interview', null, 8, false, 'assigned', null);
    insert into headway.prerequisite (task_id, requires_id) values (w + 5, w + 1);
    insert into headway.assignment (task_id, user_id) values (w + 3, w + 2), (w + 3, w + 3), (w + 4, w + 2), (w + 4, w + 3);
    insert into headway.completion (task_id, user_id, completed_by) values
      (w + 1, w + 1, null), (w + 2, w + 2, w + 4), (w + 2, w + 3, null), (w + 3, w + 3, w + 3), (w + 4, w + 2, null), (w + 4, w + 3, null);
    perform headway.fold();

    -- Chat, cursors, and marks above them.
    perform headway.open_channel(x || 'review', w + 1, array[w + 1, w + 4]), headway.open_channel(x || 'bobs_corner', null, array[w + 2]);
    insert into headway.message (id, sender, channel, content) values
      (w + 1001, w + 4, 'project_' || w + 1, x || 'Where is the logo?'),
      (w + 1002, w + 1, 'project_' || w + 1, x || 'Here.'),
      (w + 1003, w + 4, 'project_' || w + 1, x || 'Thank you.'),
      (w + 1004, w + 4, 'project_' || w + 1 || '_staff', x || 'Bob is slow.'),
      (w + 1005, w + 2, 'user_' || w + 2, x || 'Note to self.'),
      (w + 1006, w + 4, x || 'review', x || 'Green.'),
      (w + 1007, w + 2, x || 'bobs_corner', x || 'Quiet here.');
    perform headway.mark_seen(w + 2, array[w + 1003]), headway.mark_read(w + 1, 'project_' || w + 1, 1);

    -- Mail: some was sent, some waits.
    perform setval('headway.digest_id_seq', w + 1000);
    v_digest := headway.reserve_digest(w + 1);
    perform headway.claim_digest(v_worker, '1 hour');
    assert headway.freeze_digest(v_digest, v_worker, x || 'abe@example.com', 'hidden'), 'a digest is claimed that should not be';
    perform headway.digest_sent(v_digest), headway.reserve_digest(w + 2);
    update headway.digest d set next_attempt_at = now() + interval '1 day' where d.user_id = w + 2;

  end loop;

  -- What waits to be folded: each kind of fact, and somebody who leaves.
  foreach w in array array[0, 7700000000] loop
    x := case w when 0 then '' else 'hidden_' end;
    insert into headway.completion (task_id, user_id) values (w + 6, w + 1), (w + 5, w + 1);
    perform headway.reopen_task(w + 2, w + 2, w + 4, x || 'unfinished');
    insert into headway.task (id, project_id, title) values (w + 7, w + 1, x || 'party');
    insert into headway.assignment (task_id, user_id) values (w + 3, w + 1);
    delete from headway.member m where m.user_id = w + 3;
  end loop;
end
$$;

insert into headway.appuser (id, fullname, email) values (5, 'Erin', 'erin@example.com'); -- belongs to nothing
