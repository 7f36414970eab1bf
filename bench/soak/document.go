package soak

import (
	"fmt"
	"math"
	"time"

	"headway/bench/report"
)

// Document returns the page that tells of it.
func (r Result) Document(command string, conditions []report.Condition) report.Document {
	before, during, after := r.phases()
	return report.Document{
		Title: "Under load for a while",
		Lead: fmt.Sprintf("%s of completions at half of full speed (%s of %s a second) in %s projects, a tenth of them in one, while people "+
			"look at their bars, at what they have to do and at what is unread, post and mark read. In the middle somebody leaves a "+
			"transaction open for %s that has written and read: until it ends, no deleted row can be removed from any table, and the queue "+
			"is nothing but short-lived rows. The question is whether the queue bloats, and whether the lag recovers.",
			length(r.Duration), report.Count(r.Rate), report.Count(r.Full), report.Count(r.Projects), length(r.Hold.Till-r.Hold.From)),
		Command:    command,
		Conditions: conditions,
		Sections: []report.Section{
			{Title: "What must hold", Parts: []report.Part{report.Goals(r.Goals())}},
			{Title: "Over time", Parts: []report.Part{r.chart()}},
			{Title: "In figures", Parts: []report.Part{r.table(before, during, after), r.people(before, during, after)}},
		},
	}
}

// length says in words how long something lasted.
func length(d time.Duration) string {
	switch d = d.Round(time.Second); {
	case d == time.Minute:
		return "a minute"
	case d%time.Minute == 0:
		return fmt.Sprintf("%d minutes", d/time.Minute)
	default:
		return fmt.Sprintf("%d seconds", d/time.Second)
	}
}

// table compares the phases by what was sampled.
func (r Result) table(phases ...phase) report.Table {
	milliseconds := func(v float64) string {
		if math.IsNaN(v) {
			return report.Missing
		}
		return report.Duration(time.Duration(v))
	}
	t := report.Table{Columns: []report.Column{report.Text("what")}}
	for _, p := range phases {
		t.Columns = append(t.Columns, report.Number(p.name))
	}
	row := func(name string, format func(float64) string, figure func(phase) float64) {
		cells := []string{name}
		for _, p := range phases {
			cells = append(cells, format(figure(p)))
		}
		t.Rows = append(t.Rows, cells)
	}
	sampled := func(of func(Sample) float64, share float64) func(phase) float64 {
		return func(p phase) float64 { return quantile(r.figures(p, of), share) }
	}
	row("completions a second", report.Count, sampled(perSecond, 0.5))
	for _, share := range []float64{0.5, 0.99} {
		row(fmt.Sprintf("commit to notified, p%.0f", 100*share), milliseconds, func(p phase) float64 {
			return quantile(r.took(p, notifying), share)
		})
	}
	row("time of a fold, p50", milliseconds, sampled(fold, 0.5))
	row("time of a fold, p99", milliseconds, sampled(fold, 0.99))
	row("facts of a fold, p50", report.Count, sampled(func(s Sample) float64 { return s.Batch }, 0.5))
	row("facts that wait, p50", report.Count, sampled(waiting, 0.5))
	row("facts that wait, at most", report.Count, sampled(waiting, 1))
	row("age of the oldest, at most", milliseconds, sampled(func(s Sample) float64 { return float64(s.Oldest) }, 1))
	row("dead rows in the queue, at most", report.Count, sampled(dead, 1))
	row("the queue on disk, at most", report.Bytes, sampled(onDisk, 1))
	row("memory of the worker, at most", report.Bytes, sampled(resident, 1))
	return t
}

// people compares the phases by how long people waited.
func (r Result) people(phases ...phase) report.Table {
	t := report.Table{Columns: []report.Column{report.Text("p50 / p99 of")}}
	for _, p := range phases {
		t.Columns = append(t.Columns, report.Number(p.name))
	}
	for _, what := range []string{completing, reading, readingHot, outstanding, snapshot, unread, posting, marking} {
		cells := []string{what}
		for _, p := range phases {
			took := r.took(p, what)
			if len(took) == 0 {
				cells = append(cells, report.Missing)
				continue
			}
			cells = append(cells, fmt.Sprintf("%s / %s",
				report.Duration(time.Duration(median(took))), report.Duration(time.Duration(quantile(took, 0.99)))))
		}
		t.Rows = append(t.Rows, cells)
	}
	return t
}

const (
	millisecond = float64(time.Millisecond)
	megabyte    = 1e6
)

// chart draws the run.
func (r Result) chart() report.Lines {
	c := report.Lines{
		File:  "soak.svg",
		Title: fmt.Sprintf("Completing %s tasks a second for %s", report.Count(r.Rate), length(r.Duration)),
		Note:  "Half of full speed, while people read, post and mark read.",
		Spans: []report.Span{r.Hold},
	}
	for _, s := range r.Samples {
		c.At = append(c.At, s.At)
	}
	sampled := func(name string, unit float64, of func(Sample) float64) report.Line {
		l := report.Line{Name: name}
		for _, s := range r.Samples {
			l.Values = append(l.Values, of(s)/unit)
		}
		return l
	}
	timed := func(name, what string, share float64) report.Line {
		l := report.Line{Name: name}
		for _, took := range r.between(what) {
			l.Values = append(l.Values, quantile(took, share)/millisecond)
		}
		return l
	}
	c.Panels = []report.Panel{
		{Title: "Completions a second", Lines: []report.Line{sampled("", 1, perSecond)}},
		{Title: "Commit to notified, ms", Log: true, Lines: []report.Line{timed("p50", notifying, 0.5), timed("worst", notifying, 1)}},
		{Title: "Time of a fold, ms", Lines: []report.Line{sampled("", millisecond, fold)}},
		{Title: "Rows of the queue", Log: true, Lines: []report.Line{sampled("waiting", 1, waiting), sampled("dead", 1, dead)}},
		{Title: "On disk, MB", Lines: []report.Line{
			sampled("queue", megabyte, func(s Sample) float64 { return float64(s.QueueTable) }),
			sampled("its indexes", megabyte, func(s Sample) float64 { return float64(s.QueueIndexes) }),
			sampled("progress", megabyte, func(s Sample) float64 { return float64(s.Progress) }),
			sampled("channels", megabyte, func(s Sample) float64 { return float64(s.Channel) }),
		}},
		{Title: "Reading a bar, ms", Log: true, Lines: []report.Line{
			timed("p50", reading, 0.5), timed("in the busiest project", readingHot, 0.5),
		}},
		{Title: "Memory of the worker, MB", Lines: []report.Line{
			sampled("resident", megabyte, resident), sampled("heap", megabyte, func(s Sample) float64 { return s.Heap }),
		}},
	}
	return c
}

// between returns, for each sample, how long something took that began since the sample before.
func (r Result) between(what string) [][]float64 {
	all := make([][]float64, len(r.Samples))
	for _, t := range r.timings[what] {
		for i, s := range r.Samples {
			if t.at < s.At {
				all[i] = append(all[i], float64(t.took))
				break
			}
		}
	}
	return all
}
