package mail

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"headway/bench/lab"
)

// template is the name of the database that is copied for each measurement.
const template = "mail"

const (
	customersOfEach = 50  // projects
	tasksOfEach     = 200 // of which half were completed a month ago
)

// Person 1 is on the staff and has no address. The customers, from 2 on, have each one project. They have not read three
// messages, since which eight tasks were completed.
const (
	sqlPeople = `
insert into headway.appuser (id, fullname) values (1, 'Dora');
insert into headway.appuser (id, fullname, email) select i, 'Person ' || i, 'person' || i || '@example.com' from generate_series(2, %[1]d + 1) i;
insert into headway.project (id, name) select i, 'Website relaunch ' || i from generate_series(1, %[2]d) i;
insert into headway.member (project_id, user_id, role) select i, 1, 'staff' from generate_series(1, %[2]d) i;
insert into headway.member (project_id, user_id, role) select 1 + (i - 2) / %[3]d, i, 'customer' from generate_series(2, %[1]d + 1) i;
insert into headway.task (id, project_id, title)
  select (p - 1) * %[4]d + t, p, 'Task ' || t || ' of a project' from generate_series(1, %[2]d) p, generate_series(1, %[4]d) t;
insert into headway.completion (task_id, user_id, completed_at)
  select (p - 1) * %[4]d + t, 2 + (p - 1) * %[3]d, now() - interval '30 days' from generate_series(1, %[2]d) p, generate_series(1, %[4]d / 2) t`

	sqlReadIt = `select headway.mark_read(s.user_id, s.channel) from headway.subscription s`

	sqlUnread = `
select headway.post(1, 'project_' || p, 'This is message ' || m || ', as long as what people write to each other in a project.')
  from generate_series(1, %[1]d) p, generate_series(1, 3) m;
insert into headway.completion (task_id, user_id)
  select p * %[3]d - t, 2 + (p - 1) * %[2]d from generate_series(1, %[1]d) p, generate_series(0, 7) t`

	// Nothing is due by itself, so the worker has nothing to send until it is told.
	sqlPatience = `select headway.set_setting('digest_after', '1 year'), headway.set_setting('digest_min_gap', '0')`

	sqlReserve = `select headway.reserve(array(select i from generate_series(2, $1 + 1) i))`
)

// fill makes as many people as get a digest in any case, and what they have not read.
func (p plan) fill(ctx context.Context, conn *pgx.Conn) error {
	people := 0
	for _, c := range p.cases {
		people = max(people, c.digests)
	}
	projects := (people + customersOfEach - 1) / customersOfEach
	if err := lab.Execute(ctx, conn, fmt.Sprintf(sqlPeople, people, projects, customersOfEach, tasksOfEach)); err != nil {
		return err
	}
	if err := lab.FoldAll(ctx, conn); err != nil {
		return err
	}
	return lab.Execute(ctx, conn, sqlReadIt, fmt.Sprintf(sqlUnread, projects, customersOfEach, tasksOfEach), sqlPatience)
}
