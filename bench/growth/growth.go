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

	"headway/bench/lab"
	"headway/bench/process"
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
