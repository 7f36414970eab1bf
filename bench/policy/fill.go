package policy

import (
	"fmt"
	"strings"
)

// size is how much there is in the database.
type size struct {
	projects, people    int // at least 20 projects
	fewTasks, manyTasks int // in the first project and in the last
	chat, activity, own int // messages of each project, for its staff, and for each person
}

// Of the people, the first look after projects, two of them after each; all others are customers of one project, and
// every so many of them of more.
const (
	projectsOfStaff = 10 // for each of them
	everySo         = 20 // customers
	more            = 20 // projects
)

// sqlFill makes what the policies are to tell apart. What comes in numbers comes past the triggers, as they would leave
// it; the progress is then recounted.
const sqlFill = `
insert into headway.appuser (id, fullname, email)
select i, 'Person ' || i, 'person' || i || '@example.com' from generate_series(1, $people) i;

insert into headway.project (id, name) select i, 'Project ' || i from generate_series(1, $projects) i;

insert into headway.member (project_id, user_id, role)
select p, 1 + (p + k * 7) % $staff, 'staff' from generate_series(1, $projects) p, generate_series(0, 1) k
union all
select 1 + i % $projects, i, 'customer' from generate_series($staff + 1, $people) i
union all
select 1 + (i + k * 9) % $projects, i, 'customer'
from generate_series($staff + $everySo, $people, $everySo) i, generate_series(1, $more) k
on conflict do nothing;

set session_replication_role = replica;

insert into headway.task (project_id, title, weight, shared, audience, position)
select p, 'Task ' || n, 1 + n % 5, n % 10 <> 0, case when n % 10 in (4, 8) then 'assigned' else 'everyone' end, n
from generate_series(1, $projects) p,
  generate_series(1, $fewTasks + (($manyTasks - $fewTasks) * (p / $projects::float) ^ 2)::integer) n;

insert into headway.assignment (task_id, user_id)
select t.id, m.user_id
from headway.task t
join headway.member m on m.project_id = t.project_id and m.role = 'customer'
where t.audience = 'assigned' and (t.id + m.user_id) % 8 = 0;

insert into headway.prerequisite (task_id, requires_id)
select t.id, t.id - 1
from headway.task t
join headway.task r on r.id = t.id - 1 and r.project_id = t.project_id
where t.position % 6 = 0;
analyze;

-- Of the tasks that are done once, seven of ten, by somebody they are for; of the others, three of ten.
insert into headway.completion (task_id, user_id)
select t.id, c.user_id
from headway.task t
cross join lateral (
  select m.user_id
  from headway.member m
  where m.project_id = t.project_id and m.role = 'customer' and headway.is_for(t.id, t.audience, m.user_id)
  order by m.user_id * t.id % 101
  limit 1
) c
where t.shared and t.position % 10 < 7
union all
select t.id, m.user_id
from headway.task t
join headway.member m on m.project_id = t.project_id and m.role = 'customer'
where not t.shared and (t.position / 10 + m.user_id) % 10 < 3;

insert into headway.message (sender, channel, content, seq)
select w.people[1 + n % cardinality(w.people)], 'project_' || w.project_id,
  'Message ' || n || ', about as long as what people write to each other in a project.', n
from (select m.project_id, array_agg(m.user_id order by m.user_id) as people from headway.member m group by m.project_id) w,
  generate_series(1, $chat) n;

insert into headway.message (channel, content, seq, kind)
select c.name, 'completed "Task ' || n || '"', n, 'task_completed'
from headway.channel c, generate_series(1, $activity) n
where c.name ~ '_staff$'
union all
select c.name, 'You were assigned "Task ' || n || '"', n, 'task_assigned'
from headway.channel c, generate_series(1, $own) n
where c.name ~ '^user_';

update headway.channel c set last_seq = m.seq
from (select m.channel, max(m.seq) as seq from headway.message m group by m.channel) m
where m.channel = c.name;

update headway.subscription s set mailed_seq = c.last_seq, read_seq = greatest(0, c.last_seq - (s.user_id + coalesce(c.project_id, 0) * 13) % 60)
from headway.channel c
where c.name = s.channel;

insert into headway.pending_fact (kind, project_id) select 'recompute', p.id from headway.project p;
reset session_replication_role;
analyze`

// fill returns a script that makes the rows.
func (s size) fill() string {
	return strings.NewReplacer(
		"$people", fmt.Sprint(s.people), "$projects", fmt.Sprint(s.projects),
		"$fewTasks", fmt.Sprint(s.fewTasks), "$manyTasks", fmt.Sprint(s.manyTasks),
		"$chat", fmt.Sprint(s.chat), "$activity", fmt.Sprint(s.activity), "$own", fmt.Sprint(s.own),
		"$staff", fmt.Sprint(s.projects/projectsOfStaff), "$everySo", fmt.Sprint(everySo), "$more", fmt.Sprint(more),
	).Replace(sqlFill)
}
