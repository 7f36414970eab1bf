// Package growth measures whether headway stays as fast as it is when there is more: more tasks in a project, more
// customers of a task, more unread messages, more people to look at for mail.
//
// Every figure is the median of several, taken in turns with those it is compared with, in databases whose rows were
// vacuumed and analyzed. The worker runs as a process of its own, as an administrator runs it.
//
// What compares headway with other ways to do the same does not belong here.
package growth

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"headway/bench/lab"
	"headway/bench/process"
	"headway/sql"
)

// Result is what was found.
type Result struct {
	Tasks     []TasksResult
	Customers []CustomersResult
	Unread    UnreadResult
	Sweeps    []SweepResult
}

// Measure measures everything in databases of a lab or, to see in a minute that everything works, smaller sizes with
// fewer repetitions. It compiles headway, so it runs inside the module only.
func Measure(ctx context.Context, l *lab.Lab, quick bool) (result Result, err error) {
	program, err := process.Build(ctx, l.Dir)
	if err != nil {
		return Result{}, err
	}

	if result.Unread, err = measureUnread(ctx, l, unreadPlan(quick)); err != nil {
		return Result{}, fmt.Errorf("unread: %w", err)
	}
	if result.Sweeps, err = measureSweeps(ctx, l, sweepPlan(quick)); err != nil {
		return Result{}, fmt.Errorf("digest sweep: %w", err)
	}
	if result.Customers, err = measureCustomers(ctx, l, program, customersPlan(quick)); err != nil {
		return Result{}, fmt.Errorf("customers: %w", err)
	}
	if result.Tasks, err = measureTasks(ctx, l, program, tasksPlan(quick)); err != nil {
		return Result{}, fmt.Errorf("tasks: %w", err)
	}
	return result, nil
}

// database makes a database with headway's schema and the rows that fill puts there.
func database(ctx context.Context, l *lab.Lab, name string, fill func(ctx context.Context, conn *pgx.Conn) error) (*lab.Database, error) {
	err := l.Template(ctx, "growth_"+name, func(ctx context.Context, conn *pgx.Conn) error {
		if err := sql.Migrate(ctx, conn, sql.Latest(), nil); err != nil {
			return err
		}
		return fill(ctx, conn)
	})
	if err != nil {
		return nil, err
	}
	return l.Copy(ctx, "growth_"+name)
}

// execute runs statements one after the other.
func execute(ctx context.Context, conn *pgx.Conn, statements ...string) error {
	for _, statement := range statements {
		if _, err := conn.Exec(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}

// foldAll folds until nothing waits.
func foldAll(ctx context.Context, conn *pgx.Conn) error {
	for folded := 1; folded > 0; {
		if err := conn.QueryRow(ctx, "select headway.fold(100000)").Scan(&folded); err != nil {
			return fmt.Errorf("fold: %w", err)
		}
	}
	return nil
}
