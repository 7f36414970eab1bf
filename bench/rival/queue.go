package rival

import (
	"context"
	"fmt"
	"time"

	"headway/bench/lab"
)

const (
	createQueue = createProgress + `
create table queue (
  id bigint generated always as identity primary key,
  project_id bigint not null,
  weight integer not null
)`

	// One statement, where a queue's own function would take another round trip.
	insertAndQueue = `
with done as (insert into completion (task_id, user_id) values ($1, $2) returning task_id)
insert into queue (project_id, weight)
select t.project_id, t.weight
from done d
join task t on t.id = d.task_id`

	// In one statement, so that nothing is counted twice or not at all when the consumer dies. The ids are an array
	// rather than a join: whatever the planner believes of a table that is sometimes empty, the index finds them.
	consume = `
with
  taken as (
    delete from queue
    where id = any (array(select id from queue order by id limit 1000 for update skip locked))
    returning project_id, weight
  ),
  delta as (
    select t.project_id, count(*) as taken, sum(t.weight) as done
    from taken t
    group by t.project_id
  ),
  moved as (
    update progress p
    set done = p.done + d.done
    from delta d
    where p.project_id = d.project_id
    returning p.project_id, p.done, d.taken
  )
select coalesce(sum(m.taken), 0)::bigint, count(pg_notify('progress', json_build_object('project_id', m.project_id, 'done', m.done)::text))
from moved m`

	// pollQueue is how long the consumer waits when it found nothing, as those do that do without a NOTIFY for each row.
	pollQueue = 5 * time.Millisecond
)

// Queue is a table of what was completed and a consumer that reads it in batches, counts, and notifies once for each
// project in a batch: what users of pgmq write, less what the extension's visibility times and archive cost.
func Queue() lab.Rival {
	return lab.Rival{
		Name:      "queue",
		Title:     "queue, read in batches",
		About:     "Each completion also inserts into a queue; a consumer deletes up to 1,000 rows at a time, adds them up by project and notifies once for each. It looks every 5 ms.",
		Base:      plain(),
		Setup:     lab.SQL(createQueue),
		Statement: insertAndQueue,
		Start:     consumeQueue,
		Channel:   channel,
		Heard:     heard,
		Read:      readProgress,
		Folded:    sumProgress,
		Recount:   recountCompletions,
	}
}

func consumeQueue(ctx context.Context, db *lab.Database) (stop func() error, err error) {
	conn, err := db.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return loop(ctx, conn, func(ctx context.Context) error {
		var taken, notified int64
		if err := conn.QueryRow(ctx, consume).Scan(&taken, &notified); err != nil {
			return fmt.Errorf("consume: %w", err)
		}
		if taken == 0 {
			<-time.After(pollQueue)
		}
		return nil
	}), nil
}
