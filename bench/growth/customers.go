package growth

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"headway/bench/lab"
	"headway/bench/process"
)

// customersAt is how many people a completion concerns.
type customersAt struct {
	everyone    []int // customers of projects whose tasks are for everyone
	assigned    []int // customers of projects whose tasks are assigned to each of them
	repetitions int
}

func customersPlan(quick bool) customersAt {
	if quick {
		return customersAt{everyone: []int{10, 100, 1000}, assigned: []int{100}, repetitions: 5}
	}
	return customersAt{everyone: []int{10, 1000, 10_000, 100_000}, assigned: []int{1000, 10_000}, repetitions: 21}
}

// CustomersResult is what one completion of a shared task takes to reach all whom the task is for.
type CustomersResult struct {
	Customers int
	Assigned  bool          // by name, rather than everyone in the project
	Fold      time.Duration // of that completion alone
	Notified  time.Duration // from its commit
	Read      time.Duration // to read the bars of all of them
}

// crowd is a project whose tasks are all for all its customers.
type crowd struct {
	project   int64
	customers int
	assigned  bool
	tasks     int // as many as completions are measured
}

// firstTask returns the id of the first task of a project.
func (c crowd) firstTask() int64 { return c.project * 1000 }

func measureCustomers(ctx context.Context, l *lab.Lab, program string, at customersAt) ([]CustomersResult, error) {
	var crowds []crowd
	add := func(sizes []int, assigned bool) {
		for _, n := range sizes {
			crowds = append(crowds, crowd{int64(len(crowds)) + 1, n, assigned, 2*at.repetitions + 1})
		}
	}
	add(at.everyone, false)
	add(at.assigned, true)

	db, err := l.Headway(ctx, "customers", func(ctx context.Context, conn *pgx.Conn) error {
		return gather(ctx, conn, crowds)
	})
	if err != nil {
		return nil, err
	}
	conn, err := db.Connect(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Close(context.WithoutCancel(ctx))

	m := settlement{conn: conn, done: make([]int64, len(crowds))}
	folds, err := m.folds(ctx, crowds, at.repetitions)
	if err != nil {
		return nil, err
	}
	worker, err := process.Start(ctx, program, db.URL)
	if err != nil {
		return nil, err
	}
	results, err := m.settle(ctx, db, crowds, at.repetitions)
	if err := errors.Join(err, worker.Stop()); err != nil {
		return nil, err
	}
	for i := range results {
		results[i].Fold = lab.Median(folds[i])
	}
	return results, nil
}

// gather makes projects, people and tasks.
func gather(ctx context.Context, conn *pgx.Conn, crowds []crowd) error {
	people := 0
	for _, c := range crowds {
		people = max(people, c.customers)
	}
	err := lab.Execute(ctx, conn,
		fmt.Sprintf(`insert into headway.appuser (id, fullname) select i, 'Person ' || i from generate_series(1, %d) i`, people))
	if err != nil {
		return err
	}
	for _, c := range crowds {
		audience := "everyone"
		if c.assigned {
			audience = "assigned"
		}
		err := lab.Execute(ctx, conn,
			fmt.Sprintf(`insert into headway.project (id, name) values (%d, 'Project of %d')`, c.project, c.customers),
			fmt.Sprintf(`
insert into headway.member (project_id, user_id, role) select %d, i, 'customer' from generate_series(1, %d) i`, c.project, c.customers),
			fmt.Sprintf(`
insert into headway.task (id, project_id, title, audience)
select %d + i, %d, 'Task ' || i, '%s' from generate_series(0, %d) i`, c.firstTask(), c.project, audience, c.tasks-1),
		)
		if err == nil && c.assigned {
			// Nobody is told of being assigned: that is not what is measured.
			err = lab.Execute(ctx, conn,
				`set session_replication_role = replica`,
				fmt.Sprintf(`
insert into headway.assignment (task_id, user_id)
select t.id, u from headway.task t, generate_series(1, %d) u where t.project_id = %d`, c.customers, c.project),
				`reset session_replication_role`,
				fmt.Sprintf(`insert into headway.pending_fact (kind, project_id) values ('recompute', %d)`, c.project),
			)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// settlement completes tasks of crowds and looks at how that reaches them.
type settlement struct {
	conn *pgx.Conn
	done []int64 // tasks that are complete, by crowd
}

// complete completes the next task of a crowd and returns when that was committed.
func (m *settlement) complete(ctx context.Context, crowds []crowd, i int) (time.Time, error) {
	task := crowds[i].firstTask() + m.done[i]
	_, err := m.conn.Exec(ctx, `insert into headway.completion (task_id, user_id) values ($1, 1)`, task)
	m.done[i]++
	return time.Now(), err
}

// folds returns how long folds of one completion take, by crowd, while no worker runs.
func (m *settlement) folds(ctx context.Context, crowds []crowd, repetitions int) ([][]time.Duration, error) {
	folds := make([][]time.Duration, len(crowds))
	for repetition := range repetitions + 1 {
		for i := range crowds {
			if _, err := m.complete(ctx, crowds, i); err != nil {
				return nil, err
			}
			var folded int
			began := time.Now()
			if err := m.conn.QueryRow(ctx, `select headway.fold()`).Scan(&folded); err != nil {
				return nil, err
			}
			if folded != 1 {
				return nil, fmt.Errorf("%d facts were folded rather than one", folded)
			}
			if repetition > 0 { // the first one warms up
				folds[i] = append(folds[i], time.Since(began))
			}
		}
	}
	return folds, nil
}

// settle completes a task of each crowd in turn and waits until its customers have been notified and all of their bars
// are right.
func (m *settlement) settle(ctx context.Context, db *lab.Database, crowds []crowd, repetitions int) ([]CustomersResult, error) {
	listener, err := db.Connect(ctx)
	if err != nil {
		return nil, err
	}
	defer listener.Close(context.WithoutCancel(ctx))
	for _, c := range crowds {
		if _, err := listener.Exec(ctx, fmt.Sprintf("listen project_%d", c.project)); err != nil {
			return nil, err
		}
	}
	notified, read := make([][]time.Duration, len(crowds)), make([][]time.Duration, len(crowds))
	for range repetitions {
		for i, c := range crowds {
			committed, err := m.complete(ctx, crowds, i)
			if err != nil {
				return nil, err
			}
			if err := lab.AwaitProgress(ctx, listener, c.project, 0, time.Minute); err != nil {
				return nil, err
			}
			// Now and then the listener hears of a commit before the one who made it.
			notified[i] = append(notified[i], max(0, time.Since(committed)))

			var right int
			began := time.Now()
			err = m.conn.QueryRow(ctx, `
select count(*) from headway.progress p where p.project_id = $1 and p.done = $2`, c.project, m.done[i]).Scan(&right)
			if err != nil {
				return nil, err
			}
			read[i] = append(read[i], time.Since(began))
			if right != c.customers {
				return nil, fmt.Errorf("the bars of %d customers are right, of %d", right, c.customers)
			}
		}
	}
	results := make([]CustomersResult, len(crowds))
	for i, c := range crowds {
		results[i] = CustomersResult{Customers: c.customers, Assigned: c.assigned, Notified: lab.Median(notified[i]), Read: lab.Median(read[i])}
	}
	return results, nil
}
