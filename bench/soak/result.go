package soak

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"headway/bench/lab"
	"headway/bench/report"
	"headway/internal/pause"
)

// Result is how it went.
type Result struct {
	Full, Rate float64 // completions a second at full speed, and as they were asked for
	Duration   time.Duration
	Projects   int
	Hold       report.Span
	Samples    []Sample

	Left        int // facts at the end, when nobody wrote any more
	Differences int // rows of headway.verify()

	timings map[string][]timing
}

// patience is how long the worker may take at the end until nothing is left.
const patience = time.Minute

// inspect looks at what became of everything.
func (r *run) inspect(ctx context.Context, result *Result) error {
	conn, err := r.db.Connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	deadline := time.Now().Add(patience)
	for {
		if err := conn.QueryRow(ctx, `select s.pending_facts from headway.status s`).Scan(&result.Left); err != nil {
			return err
		}
		if result.Left == 0 || time.Now().After(deadline) || !pause.For(ctx, 20*time.Millisecond) {
			break
		}
	}
	return errors.Join(ctx.Err(), conn.QueryRow(ctx, `select count(*) from headway.verify()`).Scan(&result.Differences))
}

// phase is a part of the run.
type phase struct {
	name       string
	from, till time.Duration
}

func (p phase) contains(at time.Duration) bool { return at >= p.from && at < p.till }

// phases returns the run before somebody left the transaction open, while they did, and after all had settled.
func (r Result) phases() (before, during, after phase) {
	at := func(share float64) time.Duration { return time.Duration(share * float64(r.Duration)) }
	return phase{"before", at(calm), r.Hold.From}, phase{"while it is open", r.Hold.From, r.Hold.Till}, phase{"at the end", at(settled), at(1)}
}

// figures returns a figure of the samples of a phase.
func (r Result) figures(p phase, of func(Sample) float64) []float64 {
	var all []float64
	for _, s := range r.Samples {
		if p.contains(s.At) {
			all = append(all, of(s))
		}
	}
	return all
}

// took returns how long something took in a phase.
func (r Result) took(p phase, what string) []float64 {
	var all []float64
	for _, t := range r.timings[what] {
		if p.contains(t.at) {
			all = append(all, float64(t.took))
		}
	}
	return all
}

// quantile returns the figure that a share of them does not exceed, NaN where there is none.
func quantile(figures []float64, share float64) float64 {
	if len(figures) == 0 {
		return math.NaN()
	}
	return lab.Quantile(slices.Sorted(slices.Values(figures)), share)
}

func median(figures []float64) float64 { return quantile(figures, 0.5) }

func most(figures []float64) float64 { return quantile(figures, 1) }

// What samples are asked for.
func perSecond(s Sample) float64 { return s.PerSecond }
func waiting(s Sample) float64   { return float64(s.Waiting) }
func dead(s Sample) float64      { return float64(s.Dead) }
func onDisk(s Sample) float64    { return float64(s.QueueTable + s.QueueIndexes) }
func fold(s Sample) float64      { return float64(s.Fold) }
func resident(s Sample) float64  { return s.Resident }

// back returns how long after the transaction's end the lag was, for five seconds, again what 99 of 100 had before;
// negative: it never was.
func (r Result) back() time.Duration {
	before, _, _ := r.phases()
	usual := quantile(r.took(before, notifying), 0.99)
	const calmFor = 5 * time.Second
	since := r.Hold.Till
	for _, t := range r.timings[notifying] {
		switch {
		case t.at+t.took < r.Hold.Till:
		case float64(t.took) > 2*usual:
			since = t.at + t.took
		case t.at-since >= min(calmFor, r.Duration/20):
			return since - r.Hold.Till
		}
	}
	return -1
}

// Goals says what must have held.
func (r Result) Goals() []report.Goal {
	before, _, after := r.phases()
	closing := phase{from: r.Hold.Till, till: r.Hold.Till + time.Duration(calm*float64(r.Duration))}
	ratio := func(what string, now, then, limit float64) report.Goal {
		return report.Goal{
			What: what, Measured: report.Ratio(now / then), Budget: "at most " + report.Ratio(limit), Met: now <= then*limit,
		}
	}
	kept := median(r.figures(phase{till: r.Duration}, perSecond)) / r.Rate
	back := r.back()
	goals := []report.Goal{
		{
			What: "completions a second, as a ratio to the target", Measured: report.Ratio(kept),
			Budget: "at least 0.98", Met: kept >= 0.98,
		},
		{
			What: "from the end of the transaction until the lag is back to normal", Measured: report.Duration(max(0, back)),
			Budget: "under 30 s", Met: back >= 0 && back < 30*time.Second,
		},
		ratio("commit to notified, p50 at the end as a ratio to before", median(r.took(after, notifying)), median(r.took(before, notifying)), 1.5),
		ratio("time of a fold at the end, as a ratio to before", median(r.figures(after, fold)), median(r.figures(before, fold)), 1.5),
		ratio("the queue on disk at the end, as a ratio to after the transaction", most(r.figures(after, onDisk)), most(r.figures(closing, onDisk)), 1.1),
		{What: "facts left", Measured: fmt.Sprint(r.Left), Budget: "0", Met: r.Left == 0},
		{What: "rows of `headway.verify()`", Measured: fmt.Sprint(r.Differences), Budget: "0", Met: r.Differences == 0},
	}
	if back < 0 {
		goals[1].Measured = "never"
	}
	return goals
}
