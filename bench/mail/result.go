package mail

import (
	"fmt"

	"headway/bench/report"
)

// leastRatio is the budget: of the digests a second, to what a bare client sends.
const leastRatio = 0.8

// Goals compares it with the budget. The budget is for servers that take their time, as all do that are elsewhere.
func (r Result) Goals() (goals []report.Goal) {
	for _, c := range r {
		if c.Delay > 0 {
			goals = append(goals, report.Goal{
				What:     fmt.Sprintf("digests a second, as a ratio to a bare SMTP client; %d connections to %s", c.Connections, server(c.Delay)),
				Measured: report.Ratio(c.Ratio), Budget: "at least " + report.Ratio(leastRatio), Met: c.Ratio >= leastRatio,
			})
		}
	}
	return goals
}

// Sections tells what was found.
func (r Result) Sections() []report.Section {
	t := report.Table{Columns: []report.Column{
		report.Text("the mail server"), report.Number("connections"), report.Number("digests a second"), report.Number("bare client"),
		report.Number("ratio"), report.Number("CPU each"), report.Number("bare client"),
	}}
	size := 0.0
	for _, c := range r {
		size = max(size, c.Size)
		t.Rows = append(t.Rows, []string{
			server(c.Delay), fmt.Sprint(c.Connections), report.Count(c.PerSecond), report.Count(c.Bare),
			report.Ratio(c.Ratio), report.Duration(c.CPU), report.Duration(c.BareCPU),
		})
	}
	return []report.Section{{Title: "Sending digests", Parts: []report.Part{
		report.Prose(fmt.Sprintf("A worker sends digests that are reserved, each to another person of a project of %d tasks with three messages unread; "+
			"a mail has %s. The bare client sends the same mails over as many connections to the same server, and does nothing else: "+
			"it has the mails, and puts nothing on record. A worker reads what is unread, writes the mail, and commits the bytes before it sends them "+
			"and how it ended after. A server that answers at once, on the same machine, therefore shows what that costs. One that takes its time, "+
			"as every server does that is elsewhere or stores what it takes, is what the budget is for. The CPU is that of all who take part, "+
			"the mail server included.", tasksOfEach, report.Bytes(size))),
		t,
	}}}
}
