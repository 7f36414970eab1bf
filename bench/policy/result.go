package policy

import (
	"fmt"
	"slices"

	"headway/bench/report"
)

// Budget is what the policies may make of the time.
const (
	mostReading = 1.2
	mostWriting = 1.1 // there is one policy, that lets everything through
)

// Goals compares what was found with the budget: of each read and write, whoever has the worst of it.
func (r Result) Goals() (goals []report.Goal) {
	for _, part := range []struct {
		comparisons []Comparison
		title       string
		most        float64
	}{
		{r.Reads, "an end user reads %s, as a ratio to the owner with an explicit where", mostReading},
		{r.Writes, "a backend inserts %s, as a ratio to the owner", mostWriting},
	} {
		for _, c := range worst(part.comparisons) {
			goals = append(goals, report.Goal{
				What: fmt.Sprintf(part.title, c.What), Measured: report.Ratio(c.Ratio()),
				Budget: "at most " + report.Ratio(part.most), Met: c.Ratio() <= part.most,
			})
		}
	}
	return goals
}

// worst returns the highest ratio of each thing.
func worst(comparisons []Comparison) (highest []Comparison) {
	for _, c := range comparisons {
		i := slices.IndexFunc(highest, func(h Comparison) bool { return h.What == c.What })
		switch {
		case i < 0:
			highest = append(highest, c)
		case c.Ratio() > highest[i].Ratio():
			highest[i] = c
		}
	}
	return highest
}

// Sections tells what was found.
func (r Result) Sections() []report.Section {
	return []report.Section{{Title: "What policies cost", Parts: []report.Part{
		report.Prose(fmt.Sprintf(
			"An end user reads through row-level security; the owner, to whom it does not apply, reads the same rows with an explicit where. "+
				"A trusted backend writes under a policy that lets everything through, and the owner under none. They take turns in one run, "+
				"and the rows are compared; medians. There are %s projects, %s people, %s tasks and %s messages.",
			report.Count(r.Projects), report.Count(r.People), report.Count(r.Tasks), report.Count(r.Messages))),
		table("what is read", "end user", r.Reads),
		table("what is inserted", "backend", r.Writes),
	}}}
}

func table(what, policies string, comparisons []Comparison) report.Table {
	t := report.Table{Columns: []report.Column{
		report.Text(what), report.Text("by"), report.Number("rows"), report.Number(policies), report.Number("owner"), report.Number("ratio"),
	}}
	for _, c := range comparisons {
		t.Rows = append(t.Rows, []string{
			c.What, c.Who, report.Count(c.Rows), report.Duration(c.Policies), report.Duration(c.Owner), report.Ratio(c.Ratio()),
		})
	}
	return t
}
