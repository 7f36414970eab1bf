package process

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Metrics is what a worker says of itself.
type Metrics struct {
	Resident float64       // bytes of memory; 0 where the system does not tell
	Heap     float64       // bytes of it in use by Go's heap
	Stack    float64       // bytes of it in use by the stacks of goroutines
	CPU      time.Duration // since it started; 0 where the system does not tell
	Facts    float64       // it has folded
	Folds    float64       // that succeeded, those that found nothing included
	FoldTime time.Duration // that they took in all
}

// Metrics asks the worker.
func (w *Worker) Metrics(ctx context.Context) (Metrics, error) {
	text, err := w.get(ctx, "/metrics")
	if err != nil {
		return Metrics{}, err
	}
	values, err := parse(text)
	if err != nil {
		return Metrics{}, err
	}
	seconds := func(name string) time.Duration { return time.Duration(values[name] * float64(time.Second)) }
	return Metrics{
		Resident: values["process_resident_memory_bytes"],
		Heap:     values["go_memstats_heap_inuse_bytes"],
		Stack:    values["go_memstats_stack_inuse_bytes"],
		CPU:      seconds("process_cpu_seconds_total"),
		Facts:    values["headway_facts_folded_total"],
		Folds:    values["headway_fold_seconds_count"],
		FoldTime: seconds("headway_fold_seconds_sum"),
	}, nil
}

// parse returns the values in Prometheus' text format, of metrics that have no labels.
func parse(text string) (map[string]float64, error) {
	values := map[string]float64{}
	for line := range strings.Lines(text) {
		name, value, found := strings.Cut(strings.TrimSpace(line), " ")
		if !found || strings.HasPrefix(name, "#") || strings.Contains(name, "{") {
			continue
		}
		number, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return nil, fmt.Errorf("metric %s: %w", name, err)
		}
		values[name] = number
	}
	return values, nil
}
