package main

import (
	"fmt"
	"time"

	"headway/bench/lab"
	"headway/bench/report"
)

// Budget is what headway is to keep.
const (
	leastRatio     = 0.50
	mostP50        = 2 * time.Millisecond
	mostP99        = 8 * time.Millisecond
	mostP99AtSpeed = 50 * time.Millisecond
)

// goals compares what headway came to with the budget.
func (r race) goals(standings []standing) (goals []report.Goal) {
	for _, s := range standings {
		if s.rival.Name != ours {
			continue
		}
		under := func(what string, d, most time.Duration) report.Goal {
			return report.Goal{
				What: what + ", " + s.shape.Title, Measured: delay(d), Budget: "under " + report.Duration(most), Met: d < most,
			}
		}
		goals = append(goals,
			report.Goal{
				What:     fmt.Sprintf("completions a second, as a ratio to the bare insert, %s", s.shape.Title),
				Measured: report.Ratio(s.Ratio), Budget: "at least " + report.Ratio(leastRatio), Met: s.Ratio >= leastRatio,
			},
			under(fmt.Sprintf("p50 from commit to notified at %v a second", r.plan.Rate), s.Paced.Notified.P50, mostP50),
			under(fmt.Sprintf("p99 from commit to notified at %v a second", r.plan.Rate), s.Paced.Notified.P99, mostP99),
			under("p99 from commit to notified at full speed", s.Full.Notified.P99, mostP99AtSpeed),
			report.Goal{
				What:     "every bar right at the end, nothing left, " + s.shape.Title,
				Measured: s.right(), Budget: "right", Met: s.Wrong == 0 && s.Full.Behind != lab.Never,
			},
		)
	}
	return goals
}

// sections tells how the rivals came off.
func (r race) sections(standings []standing) []report.Section {
	throughput := report.Section{Title: "Ways to keep progress", Parts: []report.Part{
		report.Prose(fmt.Sprintf(
			"%d connections complete tasks, each as fast as it is answered: %s. The ratio is to the bare insert in the same round. "+
				"The CPU is that of clients, server and worker together for one completion, until its progress is there. "+
				"\"Left\" is the number of completions that the progress did not yet include when the writers stopped, and the time until it did.",
			r.plan.Writers, r.titles())),
		r.chart(standings),
	}}
	delays := report.Section{Title: "From commit to seen, and to notified", Parts: []report.Part{
		report.Prose(fmt.Sprintf(
			"From when a writer knows of its commit: to when somebody who reads the progress, again and again, has a number that includes it, "+
				"and to when a listener has been notified of such a number; p50 / p99. At %v a second, completions come at random moments. "+
				"Where the news overtakes the writer's own answer, that is 0; what never came is the longest. The reader plans its query once, with jit off.",
			r.plan.Rate)),
	}}
	for _, shape := range r.shapes {
		throughput.Parts = append(throughput.Parts, report.Prose("**"+capital(shape.Title)+"**"), r.throughput(standings, shape))
		delays.Parts = append(delays.Parts, report.Prose("**"+capital(shape.Title)+"**"), r.delays(standings, shape))
	}
	return []report.Section{throughput, delays, r.about()}
}

// titles names the shapes in a sentence.
func (r race) titles() (text string) {
	for i, shape := range r.shapes {
		if i > 0 {
			text += ", or "
		}
		text += shape.Title
	}
	return text
}

func (r race) chart(standings []standing) report.Bars {
	chart := report.Bars{
		File: "performance.svg", Title: "Completions a second, as a ratio to the bare insert",
		Note:   fmt.Sprintf("%d connections at full speed, median of %d; dashed: what headway is to reach", r.plan.Writers, r.rounds),
		Goal:   leastRatio,
		Format: report.Ratio,
	}
	for _, shape := range r.shapes {
		chart.Series = append(chart.Series, shape.Title)
	}
	for i, rival := range r.rivals {
		group := report.Group{Name: rival.Title, Ours: rival.Name == ours}
		for s := range r.shapes {
			group.Values = append(group.Values, standings[s*len(r.rivals)+i].Ratio)
		}
		chart.Groups = append(chart.Groups, group)
	}
	return chart
}

func (r race) throughput(standings []standing, shape lab.Shape) report.Table {
	t := report.Table{Columns: []report.Column{
		report.Text("way"), report.Number("completions a second"), report.Number("ratio"), report.Number("CPU each"),
		report.Number("left"), report.Text("at the end"),
	}}
	for _, s := range standings {
		if s.shape.Name != shape.Name {
			continue
		}
		row := []string{s.name(), report.Count(s.Full.PerSecond), report.Ratio(s.Ratio), micros(s.CPU)}
		if s.Keeps {
			row = append(row, s.left(), s.right())
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

func (r race) delays(standings []standing, shape lab.Shape) report.Table {
	rate := fmt.Sprintf("at %v a second", r.plan.Rate)
	t := report.Table{Columns: []report.Column{
		report.Text("way"), report.Number("seen " + rate), report.Number("notified " + rate),
		report.Number("seen at full speed"), report.Number("notified at full speed"),
	}}
	for _, s := range standings {
		if s.shape.Name != shape.Name || !s.Keeps {
			continue
		}
		name := s.name()
		if s.Paced.PerSecond < 0.8*r.plan.Rate {
			name += fmt.Sprintf(" (%s a second is all it does)", report.Count(s.Paced.PerSecond))
		}
		t.Rows = append(t.Rows, []string{
			name, both(s.Paced.Visible), both(s.Paced.Notified), both(s.Full.Visible), both(s.Full.Notified),
		})
	}
	return t
}

// about says what each rival is.
func (r race) about() report.Section {
	t := report.Table{Columns: []report.Column{report.Text("way"), report.Text("what it does")}}
	for _, rival := range r.rivals {
		t.Rows = append(t.Rows, []string{rival.Title, rival.About})
	}
	return report.Section{Title: "The ways", Parts: []report.Part{
		report.Prose("Each is a file in `bench/rival`, written as a user who knows PostgreSQL well would write it. All but headway are " +
			"spared what is not progress: foreign keys, checks, a record of who did what."),
		t,
	}}
}

// name is the title, which stands out where it is ours.
func (s standing) name() string {
	if s.rival.Name == ours {
		return "**" + s.rival.Title + "**"
	}
	return s.rival.Title
}

func capital(text string) string {
	if text == "" {
		return ""
	}
	return string(text[0]-'a'+'A') + text[1:]
}
