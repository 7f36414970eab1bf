package growth

import (
	"fmt"
	"time"

	"headway/bench/report"
)

// Budget is what the figures are to keep.
const (
	leastTasksRatio = 0.95 // of the completions a second, at the most tasks beside the fewest
	mostSettling    = 50 * time.Millisecond
	settlingOf      = 10_000 // customers
	mostUnread      = 5 * time.Millisecond
	mostRows        = 1
	mostSweep       = time.Second
)

// Sections tells what was found.
func (r Result) Sections() []report.Section {
	return []report.Section{r.tasks(), r.customers(), r.unread(), r.sweeps()}
}

// Goals compares it with the budget.
func (r Result) Goals() []report.Goal {
	fewest, most := r.Tasks[0], r.Tasks[len(r.Tasks)-1]
	ratio := most.PerSecond / fewest.PerSecond
	goals := []report.Goal{{
		What:     fmt.Sprintf("completions a second with %s tasks in the project, as a ratio to %s", report.Count(most.Tasks), report.Count(fewest.Tasks)),
		Measured: report.Ratio(ratio), Budget: "at least " + report.Ratio(leastTasksRatio), Met: ratio >= leastTasksRatio,
	}}
	for _, assigned := range []bool{false, true} {
		c := r.most(assigned)
		goals = append(goals, report.Goal{
			What:     fmt.Sprintf("one completion that moves the bars of %s, %s, from commit to notified", report.Count(c.Customers), c.audience()),
			Measured: report.Duration(c.Notified), Budget: "under " + report.Duration(mostSettling), Met: c.Notified < mostSettling,
		})
	}
	goals = append(goals,
		report.Goal{
			What:     fmt.Sprintf("`unread` of a person behind by %s messages", report.Count(r.Unread.Messages)),
			Measured: report.Duration(r.Unread.Read), Budget: "under " + report.Duration(mostUnread), Met: r.Unread.Read < mostUnread,
		},
		report.Goal{
			What:     "rows written to mark all of them read",
			Measured: fmt.Sprint(r.Unread.Rows), Budget: fmt.Sprint(mostRows), Met: r.Unread.Rows <= mostRows,
		},
	)
	for _, s := range r.Sweeps {
		goals = append(goals, report.Goal{
			What:     fmt.Sprintf("reserving %s digests that are due among %s subscriptions; %s", report.Count(s.Due), report.Count(s.Subscriptions), s.Case),
			Measured: report.Duration(s.Time), Budget: "under " + report.Duration(mostSweep), Met: s.Time < mostSweep,
		})
	}
	return goals
}

func (r Result) tasks() report.Section {
	t := report.Table{Columns: []report.Column{
		report.Number("tasks in a project"), report.Number("projects"), report.Number("completions a second"),
		report.Number("ratio"), report.Number("CPU each"), report.Number("worker's memory"),
	}}
	for _, m := range r.Tasks {
		t.Rows = append(t.Rows, []string{
			report.Count(m.Tasks), report.Count(m.Projects), report.Count(m.PerSecond), report.Ratio(m.PerSecond / r.Tasks[0].PerSecond),
			report.Duration(m.CPU), report.Bytes(m.Resident),
		})
	}
	return report.Section{Title: "More tasks in a project", Parts: []report.Part{
		report.Prose(fmt.Sprintf(
			"The same %s tasks, cut into projects of different sizes, completed from 32 connections as fast as they go. "+
				"The CPU is that of the clients and the server together.", report.Count(r.Tasks[0].Tasks*r.Tasks[0].Projects))),
		t,
	}}
}

// most returns what was found for the most customers that the budget speaks of.
func (r Result) most(assigned bool) (most CustomersResult) {
	for _, c := range r.Customers {
		if c.Assigned == assigned && c.Customers <= settlingOf && c.Customers > most.Customers {
			most = c
		}
	}
	return most
}

// audience says whom the task was for.
func (c CustomersResult) audience() string {
	if c.Assigned {
		return "each assigned"
	}
	return "everyone"
}

func (r Result) customers() report.Section {
	t := report.Table{Columns: []report.Column{
		report.Number("customers"), report.Text("whom the task is for"), report.Number("fold"),
		report.Number("commit to notified"), report.Number("reading all their bars"),
	}}
	for _, c := range r.Customers {
		t.Rows = append(t.Rows, []string{
			report.Count(c.Customers), c.audience(), report.Duration(c.Fold), report.Duration(c.Notified), report.Duration(c.Read),
		})
	}
	return report.Section{Title: "More customers", Parts: []report.Part{
		report.Prose("One completion of a shared task while nothing else happens. By the time it is notified, it has been folded " +
			"and all bars are settled; they are correct to readers from its commit on. A task for everyone is one row, however many customers there are; " +
			"one that is assigned by name is a row for each."),
		t,
	}}
}

func (r Result) unread() report.Section {
	u := r.Unread
	return report.Section{Title: "Far behind", Parts: []report.Part{
		report.Prose(fmt.Sprintf("A person who has not read %s messages of a channel: `select messages from headway.unread where user_id = …` "+
			"takes %s, and `headway.mark_read` of everything %s; it writes %d row.",
			report.Count(u.Messages), report.Duration(u.Read), report.Duration(u.MarkRead), u.Rows)),
	}}
}

func (r Result) sweeps() report.Section {
	t := report.Table{Columns: []report.Column{
		report.Text("everybody who is not due"), report.Number("subscriptions"), report.Number("due"), report.Number("`reserve_digests`"),
	}}
	for _, s := range r.Sweeps {
		t.Rows = append(t.Rows, []string{s.Case, report.Count(s.Subscriptions), report.Count(s.Due), report.Duration(s.Time)})
	}
	return report.Section{Title: "A digest sweep", Parts: []report.Part{
		report.Prose("One call, which every worker makes on its schedule, finds and reserves what is due."), t,
	}}
}
