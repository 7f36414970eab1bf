package soak

import (
	"context"
	"fmt"
	"time"

	"headway/internal/pause"
)

// Sample is how it was going at a time of the run. What is of a length of time is since the sample before.
type Sample struct {
	At        time.Duration
	PerSecond float64 // completions

	Waiting int           // facts in the queue
	Oldest  time.Duration // of them
	Dead    int64         // rows of the queue that are deleted and not removed, as far as the server knows

	QueueTable, QueueIndexes int64 // bytes on disk
	Progress, Channel        int64 // bytes on disk with their indexes

	Fold     time.Duration // that a fold took, on average
	Batch    float64       // facts that a fold consumed, on average
	Resident float64       // bytes of the worker's memory
	Heap     float64       // bytes of its heap
}

const sqlSample = `
select s.pending_facts, coalesce(extract(epoch from s.oldest_fact_age), 0)::float8,
  pg_stat_get_dead_tuples('headway.pending_fact'::regclass),
  pg_table_size('headway.pending_fact'), pg_indexes_size('headway.pending_fact'),
  pg_total_relation_size('headway.shared_progress') + pg_total_relation_size('headway.personal_progress'),
  pg_total_relation_size('headway.channel')
from headway.status s`

// sample looks how it is going, some 600 times in a long run and every second or more often in a short one, until ctx
// is done.
func (r *run) sample(ctx context.Context, w *writers) ([]Sample, error) {
	asking := context.WithoutCancel(ctx)
	conn, err := r.db.Connect(asking)
	if err != nil {
		return nil, err
	}
	defer conn.Close(asking)

	interval := max(r.duration/600, min(time.Second, r.duration/40))
	metrics, err := r.worker.Metrics(asking)
	if err != nil {
		return nil, err
	}
	var samples []Sample
	completed, last := w.done.Load(), r.began
	for n := 1; pause.For(ctx, time.Until(r.began.Add(time.Duration(n)*interval))); n++ {
		var s Sample
		var oldest float64
		err := conn.QueryRow(asking, sqlSample).Scan(
			&s.Waiting, &oldest, &s.Dead, &s.QueueTable, &s.QueueIndexes, &s.Progress, &s.Channel)
		if err != nil {
			return nil, fmt.Errorf("take a sample: %w", err)
		}
		s.Oldest = time.Duration(oldest * float64(time.Second))
		m, err := r.worker.Metrics(asking)
		if err != nil {
			return nil, err
		}
		now, done := time.Now(), w.done.Load()
		s.At = now.Sub(r.began)
		s.PerSecond = float64(done-completed) / now.Sub(last).Seconds()
		if folds := m.Folds - metrics.Folds; folds > 0 {
			s.Fold = time.Duration(float64(m.FoldTime-metrics.FoldTime) / folds)
			s.Batch = (m.Facts - metrics.Facts) / folds
		}
		s.Resident, s.Heap = m.Resident, m.Heap
		completed, metrics, last = done, m, now
		samples = append(samples, s)
		if n%50 == 0 {
			r.log("%v: %.0f completions a second, %d facts wait, a fold takes %v, the queue has %.1f MB",
				s.At.Round(time.Second), s.PerSecond, s.Waiting, s.Fold.Round(100*time.Microsecond), onDisk(s)/megabyte)
		}
	}
	return samples, nil
}
