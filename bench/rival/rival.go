// Package rival has the ways to keep progress that are measured beside headway, a file for each.
//
// All but headway itself stand on the same tables, those of an application that has none of it, and on a table of
// completions with the columns and the key of headway's. None but the second bare insert has foreign keys there, none
// checks who completes what, none keeps a record of it: whatever headway does beyond progress, they are spared. Each
// is written as its users would write it who know PostgreSQL well.
//
// How they are measured belongs to bench/lab.
package rival

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"headway/bench/lab"
)

// All returns every rival, the bare insert first and headway last.
func All() []lab.Rival {
	return []lab.Rival{
		Bare(), ForeignKeys(), Recount(), Counter(), MaterializedView(), River(), Queue(), Headway(),
	}
}

const sqlPlain = `
create table person (
  id bigint primary key,
  fullname text not null
);

create table project (
  id bigint primary key,
  name text not null
);

create table member (
  project_id bigint not null references project,
  user_id bigint not null references person,
  primary key (project_id, user_id)
);

create table task (
  id bigint primary key,
  project_id bigint not null references project,
  title text not null,
  weight integer not null default 1
);
create index on task (project_id);

create table completion (
  task_id bigint not null,
  user_id bigint not null,
  completed_by bigint,
  completed_at timestamptz not null default now(),
  primary key (task_id, user_id)
)`

const sqlPlainRows = `
insert into person (id, fullname) select i, 'Person ' || i from generate_series(1, %[1]d * %[2]d) i;
insert into project (id, name) select i, 'Project ' || i from generate_series(1, %[1]d) i;
insert into member (project_id, user_id) select 1 + (i - 1) / %[2]d, i from generate_series(1, %[1]d * %[2]d) i;
insert into task (id, project_id, title) select i, 1 + (i - 1) %% %[1]d, 'Task ' || i from generate_series(1, %[3]d) i;
insert into completion (task_id, user_id) select i, 1 + (i - 1) %% %[1]d * %[2]d from generate_series(1, %[4]d) i`

// plain is an application without progress.
func plain() lab.Base {
	return lab.Base{Name: "plain", Fill: func(ctx context.Context, conn *pgx.Conn, shape lab.Shape) error {
		return lab.Execute(ctx, conn, sqlPlain, fmt.Sprintf(sqlPlainRows, shape.Projects, shape.Customers, shape.Tasks, shape.Done))
	}}
}

const (
	insertCompletion = `insert into completion (task_id, user_id) values ($1, $2)`

	// A counter for each project, with room on its page for the next version of the row.
	createProgress = `
create table progress (
  project_id bigint primary key references project,
  done bigint not null,
  total bigint not null
) with (fillfactor = 50);
insert into progress (project_id, done, total)
select t.project_id, coalesce(sum(t.weight) filter (where c.task_id is not null), 0), sum(t.weight)
from task t
left join (select distinct task_id from completion) c on c.task_id = t.id
group by t.project_id;
analyze progress;
`
	channel = `progress`

	readProgress = `select project_id, done from progress where project_id = any ($1)`

	sumProgress = `select sum(done)::bigint from progress`

	recountCompletions = `
select t.project_id, count(c.task_id)
from task t
left join (select distinct task_id from completion) c on c.task_id = t.id
group by t.project_id`
)

// heard reads what the rivals on the plain tables notify: {"project_id": 7, "done": 12}, or an array of such.
func heard(payload string) ([]lab.Progress, error) {
	if !strings.HasPrefix(payload, "[") {
		payload = "[" + payload + "]"
	}
	var bars []struct {
		Project int64 `json:"project_id"`
		Done    int64 `json:"done"`
	}
	if err := json.Unmarshal([]byte(payload), &bars); err != nil {
		return nil, err
	}
	progress := make([]lab.Progress, len(bars))
	for i, b := range bars {
		progress[i] = lab.Progress{Project: b.Project, Done: b.Done}
	}
	return progress, nil
}
