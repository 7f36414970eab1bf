package policy

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// person is somebody who reads or writes, in a project of theirs.
type person struct {
	who           string
	user, project int64
	seq           int64 // what they have of the project's channel
	task          int64 // of the project, open for them; 0: nothing is for them
}

func (p person) args() pgx.NamedArgs {
	return pgx.NamedArgs{"user": p.user, "project": p.project, "seq": p.seq, "task": p.task}
}

// readers are one person of each kind.
type readers struct{ one, many, staff person }

// sqlReader finds the person with about so many projects, and of these one whose size is in the middle.
const sqlReader = `
select r.projects, r.user_id, r.project_id, c.last_seq - 100, coalesce(o.task_id, 0)
from (
  select count(*) as projects, m.user_id, (array_agg(m.project_id order by m.project_id))[(1 + count(*)) / 2] as project_id
  from headway.member m
  where m.role = $1
  group by m.user_id
  order by
    abs(count(*) - $2),
    abs((array_agg(m.project_id order by m.project_id))[(1 + count(*)) / 2] - (select avg(p.id) from headway.project p)),
    m.user_id
  limit 1
) r
join headway.channel c on c.name = 'project_' || r.project_id
left join lateral (
  select o.task_id
  from headway.outstanding_task o
  where o.project_id = r.project_id and o.user_id = r.user_id and o.blocked_by = '{}'
  limit 1
) o on true`

// findReaders returns a customer of one project, a customer of many, and somebody who looks after many.
func findReaders(ctx context.Context, conn *pgx.Conn) (found readers, err error) {
	for _, r := range []struct {
		person   *person
		role     string
		projects int
	}{{&found.one, "customer", 1}, {&found.many, "customer", 1 + more}, {&found.staff, "staff", 1 + more}} {
		var projects int
		err := conn.QueryRow(ctx, sqlReader, r.role, r.projects).
			Scan(&projects, &r.person.user, &r.person.project, &r.person.seq, &r.person.task)
		if err != nil {
			return readers{}, fmt.Errorf("find a person with the role %s in about %d projects: %w", r.role, r.projects, err)
		}
		r.person.who = fmt.Sprintf("%s of %d", r.role, projects)
	}
	return found, nil
}
