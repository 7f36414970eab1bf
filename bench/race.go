package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"headway/bench/lab"
	"headway/bench/report"
)

// race is the rivals on the same work.
type race struct {
	rivals []lab.Rival // the first is what the others are compared with
	shapes []lab.Shape
	plan   lab.Plan
	rounds int
}

// newRace returns how the rivals are measured.
func newRace(rivals []lab.Rival, quick bool) race {
	tasks, rounds := 200_000, 3
	plan := lab.Plan{
		Writers: 32, Warmup: 500 * time.Millisecond, Paced: 3 * time.Second, Rate: 200, Full: 3 * time.Second, Patience: 30 * time.Second,
	}
	if quick {
		tasks, rounds = 50_000, 1
		plan.Warmup, plan.Paced, plan.Full = 200*time.Millisecond, 700*time.Millisecond, 700*time.Millisecond
	}
	return race{rivals: rivals, plan: plan, rounds: rounds, shapes: []lab.Shape{
		{Name: "spread", Title: "spread over 100 projects", Projects: 100, Customers: 30, Tasks: tasks, Done: tasks / 10},
		{Name: "hot", Title: "all in one project", Projects: 1, Customers: 30, Tasks: tasks, Done: tasks / 10},
	}}
}

// standing is what a rival came to in a shape: medians of the rounds, each figure for itself.
type standing struct {
	rival lab.Rival
	shape lab.Shape

	lab.Result
	Ratio float64 // of completions a second to the first rival's in the same round
}

// run measures the rivals in turns, round after round, prints a line for each time, and returns the medians, shape by
// shape in the order of the rivals.
func (r race) run(ctx context.Context, l *lab.Lab, out io.Writer) ([]standing, error) {
	fmt.Fprintf(out, "%-6s %-12s %-5s %9s %5s %6s  %-32s %-32s\n", "", "", "round", "a second", "ratio", "CPU",
		fmt.Sprintf("at %v/s: seen, notified", r.plan.Rate), "at full speed: seen, notified")
	rounds := make([][]standing, len(r.shapes)*len(r.rivals))
	for round := range r.rounds {
		for s, shape := range r.shapes {
			var ceiling float64
			for i, rival := range r.rivals {
				result, err := l.Measure(ctx, rival, shape, r.plan)
				if err != nil {
					return nil, fmt.Errorf("%s, %s: %w", shape.Name, rival.Name, err)
				}
				if i == 0 {
					ceiling = result.Full.PerSecond
				}
				now := standing{rival: rival, shape: shape, Result: result, Ratio: result.Full.PerSecond / ceiling}
				fmt.Fprintf(out, "%-6s %-12s %d/%d  %s\n", shape.Name, rival.Name, round+1, r.rounds, now)
				at := s*len(r.rivals) + i
				rounds[at] = append(rounds[at], now)
			}
		}
	}
	medians := make([]standing, len(rounds))
	for i := range rounds {
		medians[i] = middle(rounds[i])
	}
	return medians, nil
}

// middle returns the medians of a rival's rounds. Wrong is the worst of them: once is enough.
func middle(rounds []standing) standing {
	m := rounds[0]
	m.Ratio = lab.MedianOf(rounds, func(s standing) float64 { return s.Ratio })
	m.CPU = lab.MedianOf(rounds, func(s standing) time.Duration { return s.CPU })
	for _, s := range rounds {
		m.Wrong = max(m.Wrong, s.Wrong)
	}
	m.Paced = middlePhase(rounds, func(s standing) lab.Phase { return s.Paced })
	m.Full = middlePhase(rounds, func(s standing) lab.Phase { return s.Full })
	return m
}

func middlePhase(rounds []standing, of func(standing) lab.Phase) lab.Phase {
	return lab.Phase{
		PerSecond: lab.MedianOf(rounds, func(s standing) float64 { return of(s).PerSecond }),
		Left:      lab.MedianOf(rounds, func(s standing) int { return of(s).Left }),
		Behind:    lab.MedianOf(rounds, func(s standing) time.Duration { return of(s).Behind }),
		Visible:   middleDelays(rounds, func(s standing) lab.Delays { return of(s).Visible }),
		Notified:  middleDelays(rounds, func(s standing) lab.Delays { return of(s).Notified }),
	}
}

func middleDelays(rounds []standing, of func(standing) lab.Delays) lab.Delays {
	return lab.Delays{
		P50:     lab.MedianOf(rounds, func(s standing) time.Duration { return of(s).P50 }),
		P99:     lab.MedianOf(rounds, func(s standing) time.Duration { return of(s).P99 }),
		Watched: lab.MedianOf(rounds, func(s standing) int { return of(s).Watched }),
		Lost:    lab.MedianOf(rounds, func(s standing) int { return of(s).Lost }),
	}
}

// String is a line on the terminal.
func (s standing) String() string {
	text := fmt.Sprintf("%9s %5s %6s", report.Count(s.Full.PerSecond), report.Ratio(s.Ratio), micros(s.CPU))
	if !s.Keeps {
		return text
	}
	return text + fmt.Sprintf("  %-15s %-16s %-15s %-16s %s; %s",
		both(s.Paced.Visible), both(s.Paced.Notified), both(s.Full.Visible), both(s.Full.Notified), s.left(), s.right())
}

// wrong returns what headway got wrong, nil where it is nothing.
func wrong(standings []standing) (problems error) {
	for _, s := range standings {
		if s.rival.Name == ours && (s.Wrong > 0 || s.Full.Behind == lab.Never) {
			problems = errors.Join(problems, fmt.Errorf("headway, %s: %s, %s left", s.shape.Title, s.right(), s.left()))
		}
	}
	return problems
}

// both writes two delays, p50 / p99.
func both(d lab.Delays) string { return delay(d.P50) + " / " + delay(d.P99) }

func delay(d time.Duration) string {
	if d == lab.Never {
		return "never"
	}
	return report.Duration(d)
}

func micros(d time.Duration) string {
	if d == 0 {
		return report.Missing
	}
	return report.Count(d.Microseconds()) + " µs"
}

// left says how many completions the progress did not include when the writers stopped, and how long it took then.
func (s standing) left() string {
	switch p := s.Full; {
	case p.Left == 0:
		return "0"
	case p.Behind == lab.Never:
		return report.Count(p.Left) + ", for good"
	default:
		return report.Count(p.Left) + ", for " + report.Duration(p.Behind)
	}
}

// right says whether the progress was what a recount finds.
func (s standing) right() string {
	switch {
	case s.Wrong == 0:
		return "right"
	case s.Projects == 1:
		return "wrong"
	default:
		return fmt.Sprintf("wrong in %d of %d projects", s.Wrong, s.Projects)
	}
}
