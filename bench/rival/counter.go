package rival

import "headway/bench/lab"

// The counter's row stays locked until the commit is on disk, so those who complete tasks of one project queue up;
// and so does everybody for NOTIFY, whose lock is the whole server's.
const createCounter = createProgress + `
create function completion_after_insert() returns trigger
language plpgsql
as $$
declare
  v_project_id bigint;
  v_done bigint;
begin
  update progress p
  set done = p.done + t.weight
  from task t
  where t.id = new.task_id and p.project_id = t.project_id
  returning p.project_id, p.done into v_project_id, v_done;
  perform pg_notify('progress', json_build_object('project_id', v_project_id, 'done', v_done)::text);
  return null;
end
$$;
create trigger completion_after_insert after insert on completion
for each row execute function completion_after_insert()`

// Counter adds to a row of the project in a trigger on each completion.
func Counter() lab.Rival {
	return lab.Rival{
		Name:      "counter",
		Title:     "counter in a trigger",
		About:     "A trigger adds to a row of the project at each completion and notifies.",
		Base:      plain(),
		Setup:     lab.SQL(createCounter),
		Statement: insertCompletion,
		Channel:   channel,
		Heard:     heard,
		Read:      readProgress,
		Recount:   recountCompletions,
	}
}
