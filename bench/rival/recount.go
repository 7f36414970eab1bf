package rival

import "headway/bench/lab"

// Two who complete at once do not see each other: each counts itself in and the other out, and the one who is later
// writes over the one who was first. It stays wrong until somebody completes a task of that project alone.
const createRecount = createProgress + `
create function completion_after_insert() returns trigger
language plpgsql
as $$
declare
  v_project_id bigint;
  v_done bigint;
begin
  select t.project_id into v_project_id from task t where t.id = new.task_id;
  update progress p
  set done = (
    select coalesce(sum(t.weight), 0)
    from completion c
    join task t on t.id = c.task_id
    where t.project_id = v_project_id
  )
  where p.project_id = v_project_id
  returning p.done into v_done;
  perform pg_notify('progress', json_build_object('project_id', v_project_id, 'done', v_done)::text);
  return null;
end
$$;
create trigger completion_after_insert after insert on completion
for each row execute function completion_after_insert()`

// Recount counts the project's completions anew in a trigger on each.
func Recount() lab.Rival {
	return lab.Rival{
		Name:      "recount",
		Title:     "recount in a trigger",
		About:     "A trigger recounts the project at each completion and notifies. Two concurrent completions do not see each other.",
		Base:      plain(),
		Setup:     lab.SQL(createRecount),
		Statement: insertCompletion,
		Channel:   channel,
		Heard:     heard,
		Read:      readProgress,
		Recount:   recountCompletions,
	}
}
