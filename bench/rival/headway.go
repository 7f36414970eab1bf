package rival

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"headway/bench/lab"
)

const sqlHeadwayRows = `
insert into headway.appuser (id, fullname) select i, 'Person ' || i from generate_series(1, %[1]d * %[2]d) i;
insert into headway.project (id, name) select i, 'Project ' || i from generate_series(1, %[1]d) i;
insert into headway.member (project_id, user_id, role) select 1 + (i - 1) / %[2]d, i, 'customer' from generate_series(1, %[1]d * %[2]d) i;
insert into headway.task (id, project_id, title) select i, 1 + (i - 1) %% %[1]d, 'Task ' || i from generate_series(1, %[3]d) i;
insert into headway.completion (task_id, user_id) select i, 1 + (i - 1) %% %[1]d * %[2]d from generate_series(1, %[4]d) i`

// withHeadway is an application with headway: its schema, and the shape's rows in it.
func withHeadway() lab.Base {
	return lab.Base{Name: "headway", Fill: func(ctx context.Context, conn *pgx.Conn, shape lab.Shape) error {
		rows := fmt.Sprintf(sqlHeadwayRows, shape.Projects, shape.Customers, shape.Tasks, shape.Done)
		return lab.Installed(lab.SQL(rows))(ctx, conn)
	}}
}

// Headway is all of it, with the settings it is installed with: foreign keys, checks, an activity message for each
// completion, and a worker in this process. The listener hears headway_events, hence every message too.
func Headway() lab.Rival {
	return lab.Rival{
		Name:      "headway",
		Title:     "headway",
		About:     "With foreign keys, checks of who may complete what, an activity message for each completion, progress and notifications of both.",
		Base:      withHeadway(),
		Statement: `insert into headway.completion (task_id, user_id) values ($1, $2)`,
		Start:     func(ctx context.Context, db *lab.Database) (func() error, error) { return lab.StartWorker(ctx, db.URL) },
		Channel:   `headway_events`,
		Heard:     lab.HeardProgress,
		// The part of the bar that a project's customers share, which here is all of it.
		Read:    `select p.project_id, p.done from headway.current_progress p where p.user_id is null and p.project_id = any ($1)`,
		Folded:  `select sum(s.done)::bigint from headway.shared_progress s`,
		Recount: `select r.project_id, r.done from headway.recount r where r.user_id is null`,
	}
}
