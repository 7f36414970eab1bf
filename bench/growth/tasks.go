package growth

import (
	"context"
	"fmt"
	"sync"
	"time"

	"headway/bench/lab"
	"headway/bench/process"
	"headway/bench/rival"
)

// tasksAt is how many tasks a project has.
type tasksAt struct {
	sizes    []int
	tasks    int // at least, of all projects together: enough to complete
	plan     lab.Plan
	repeated int
}

func tasksPlan(quick bool) tasksAt {
	plan := lab.Plan{Writers: 32, Warmup: 2 * time.Second, Full: 5 * time.Second, Patience: 30 * time.Second}
	if quick {
		plan.Warmup, plan.Full = time.Second, 2*time.Second
		return tasksAt{sizes: []int{100, 10_000, 100_000}, tasks: 100_000, plan: plan, repeated: 1}
	}
	return tasksAt{sizes: []int{100, 10_000, 1_000_000}, tasks: 1_000_000, plan: plan, repeated: 3}
}

// TasksResult is how fast tasks are completed in projects of a size.
type TasksResult struct {
	Tasks, Projects int
	PerSecond       float64
	CPU             time.Duration // of clients and server for one completion; 0: unknown
	Resident        float64       // bytes of the worker's memory, at most; 0: unknown
}

// measureTasks cuts the same number of tasks into projects of different sizes.
func measureTasks(ctx context.Context, l *lab.Lab, program string, at tasksAt) ([]TasksResult, error) {
	results := make([]TasksResult, len(at.sizes))
	rates := make([][]float64, len(at.sizes))
	cpus := make([][]time.Duration, len(at.sizes))
	for range at.repeated {
		for i, size := range at.sizes {
			r := &results[i]
			r.Tasks, r.Projects = size, at.tasks/size
			shape := lab.Shape{
				Name: fmt.Sprintf("projects_of_%d", size), Title: fmt.Sprintf("projects of %d tasks", size),
				Projects: r.Projects, Customers: 10, Tasks: at.tasks,
			}
			var memory float64
			headway := rival.Headway()
			headway.Start = func(ctx context.Context, db *lab.Database) (func() error, error) {
				return startWatched(ctx, program, db.URL, &memory)
			}
			measured, err := l.Measure(ctx, headway, shape, at.plan)
			if err == nil && measured.Wrong > 0 {
				err = fmt.Errorf("the progress of %d of them is wrong", measured.Wrong)
			}
			if err != nil {
				return nil, fmt.Errorf("projects of %d: %w", size, err)
			}
			rates[i], cpus[i] = append(rates[i], measured.Full.PerSecond), append(cpus[i], measured.CPU)
			r.Resident = max(r.Resident, memory)
		}
	}
	for i := range results {
		results[i].PerSecond, results[i].CPU = lab.Median(rates[i]), lab.Median(cpus[i])
	}
	return results, nil
}

// startWatched runs a worker and looks at its memory now and then, until it is stopped. most becomes the most that it had.
func startWatched(ctx context.Context, program, url string, most *float64) (stop func() error, err error) {
	worker, err := process.Start(ctx, program, url)
	if err != nil {
		return nil, err
	}
	watching, cancel := context.WithCancel(ctx)
	var watched sync.WaitGroup
	watched.Go(func() {
		ticker := time.NewTicker(500 * time.Millisecond)
		defer ticker.Stop()
		for {
			if m, err := worker.Metrics(watching); err == nil {
				*most = max(*most, m.Resident)
			}
			select {
			case <-ticker.C:
			case <-watching.Done():
				return
			}
		}
	})
	return func() error {
		cancel()
		watched.Wait()
		return worker.Stop()
	}, nil
}
