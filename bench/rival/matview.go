package rival

import (
	"context"

	"headway/bench/lab"
)

const (
	createView = `
create materialized view progress as
select t.project_id,
  coalesce(sum(t.weight) filter (where c.task_id is not null), 0)::bigint as done,
  sum(t.weight)::bigint as total
from task t
left join (select distinct task_id from completion) c on c.task_id = t.id
group by t.project_id;
create unique index on progress (project_id);
analyze progress`

	refreshView = `refresh materialized view concurrently progress`

	// Nobody tells which rows a refresh has changed, so all of them are sent: the payload has room for 200 projects.
	notifyView = `select pg_notify('progress', json_agg(json_build_object('project_id', project_id, 'done', done))::text) from progress`
)

// MaterializedView refreshes a view of all projects, again and again without a pause, and notifies after each time.
func MaterializedView() lab.Rival {
	return lab.Rival{
		Name:      "matview",
		Title:     "materialized view",
		About:     "`refresh materialized view concurrently` of all projects, again and again without a pause, and a notification of all bars after each.",
		Base:      plain(),
		Setup:     lab.SQL(createView),
		Statement: insertCompletion,
		Start:     refresh,
		Channel:   channel,
		Heard:     heard,
		Read:      readProgress,
		Folded:    sumProgress,
		Recount:   recountCompletions,
	}
}

func refresh(ctx context.Context, db *lab.Database) (stop func() error, err error) {
	conn, err := db.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return loop(ctx, conn, func(ctx context.Context) error { return lab.Execute(ctx, conn, refreshView, notifyView) }), nil
}
