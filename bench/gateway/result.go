package gateway

import (
	"fmt"
	"time"

	"headway/bench/report"
)

// Budget is what the figures are to keep.
const (
	mostResident = 18_000  // bytes of an idle connection
	leastEvents  = 150_000 // a second
	leastRatio   = 3.4     // of them to socket.io's
	mostRatio    = 1.2     // of the p50 to the bare hub's
)

// String is a line on the terminal.
func (i Idle) String() string {
	text := fmt.Sprintf("%d connections after %s: %s each", i.Connections, report.Duration(i.All), report.Bytes(i.Resident))
	if i.Heap > 0 {
		text += fmt.Sprintf(", heap %s and stack %s", report.Bytes(i.Heap), report.Bytes(i.Stack))
	}
	return text
}

// of returns what a party came to.
func (r Result) of(name string) (found Standing, measured bool) {
	for _, s := range r.Standings {
		if s.name == name {
			return s, true
		}
	}
	return Standing{}, false
}

// Goals compares it with the budget.
func (r Result) Goals() []report.Goal {
	us, _ := r.of(ours)
	hub, _ := r.of("hub")
	goals := []report.Goal{{
		What:     fmt.Sprintf("memory of an idle connection, at %s of them", report.Count(us.Idle.Connections)),
		Measured: report.Bytes(us.Idle.Resident), Budget: "under " + report.Bytes(mostResident), Met: us.Idle.Resident < mostResident,
	}}
	node, compared := r.of("socket.io")
	for i, s := range us.Speeds {
		to := fmt.Sprintf("to %s receivers", report.Count(s.Receivers))
		goals = append(goals, report.Goal{
			What: "events delivered a second, " + to, Measured: report.Count(s.PerSecond),
			Budget: "over " + report.Count(leastEvents), Met: s.PerSecond > leastEvents,
		})
		if compared {
			ratio := s.PerSecond / node.Speeds[i].PerSecond
			goals = append(goals, report.Goal{
				What: "the same, as a ratio to socket.io's, " + to, Measured: report.Ratio(ratio),
				Budget: "at least " + report.Ratio(leastRatio), Met: ratio >= leastRatio,
			})
		}
	}
	ratio := float64(us.Delays.P50) / float64(hub.Delays.P50)
	return append(goals, report.Goal{
		What:     fmt.Sprintf("p50 from commit to received at %v messages a second, as a ratio to the bare hub's", r.plan.rate),
		Measured: report.Ratio(ratio), Budget: "at most " + report.Ratio(mostRatio), Met: ratio <= mostRatio,
	})
}

// Document is the page about it.
func (r Result) Document(command string, conditions []report.Condition) report.Document {
	return report.Document{
		Title: "What the gateway costs",
		Lead: "Many browsers listening to [the gateway](gateway.md), to a hub without any logic and to socket.io. Figures are from one machine, " +
			"which clients, server and PostgreSQL share: take the ratios, and run it on yours.",
		Command:    command,
		Conditions: conditions,
		Sections: []report.Section{
			{Title: "The budget", Parts: []report.Part{report.Goals(r.Goals())}},
			r.speeds(), r.delays(), r.idle(), r.about(),
		},
	}
}

// heading is the title, which stands out where it is ours.
func (p party) heading() string {
	if p.name == ours {
		return "**" + p.title + "**"
	}
	return p.title
}

func (r Result) speeds() report.Section {
	chart := report.Bars{
		File: "gateway-load.svg", Title: "Events delivered a second",
		Note:   fmt.Sprintf("at full speed, median of %d; dashed: what headway is to reach", r.plan.rounds),
		Goal:   leastEvents,
		Format: report.Count[float64],
	}
	t := report.Table{Columns: []report.Column{report.Text("server")}}
	for _, n := range r.plan.receivers {
		to := fmt.Sprintf("to %s", report.Count(n))
		chart.Series = append(chart.Series, to)
		t.Columns = append(t.Columns, report.Number("events a second "+to), report.Number("CPU of the server for each"))
	}
	for _, s := range r.Standings {
		group, row := report.Group{Name: s.title, Ours: s.name == ours}, []string{s.heading()}
		for _, speed := range s.Speeds {
			group.Values = append(group.Values, speed.PerSecond)
			row = append(row, report.Count(speed.PerSecond), fmt.Sprintf("%.1f µs", float64(speed.CPU)/float64(time.Microsecond)))
		}
		chart.Groups, t.Rows = append(chart.Groups, group), append(t.Rows, row)
	}
	return report.Section{Title: "Full speed", Parts: []report.Part{
		report.Prose(fmt.Sprintf(
			"Messages of 100 bytes to all connections, published %d at a time, in one transaction, as soon as the slowest receiver is less than %d behind. "+
				"An event is one message that reached one receiver; that it came once and in order is checked.", atATime, window)),
		chart, t,
	}}
}

func (r Result) delays() report.Section {
	t := report.Table{Columns: []report.Column{report.Text("server"), report.Number("p50"), report.Number("p99")}}
	for _, s := range r.Standings {
		t.Rows = append(t.Rows, []string{s.heading(), report.Duration(s.Delays.P50), report.Duration(s.Delays.P99)})
	}
	return report.Section{Title: "From published to received", Parts: []report.Part{
		report.Prose(fmt.Sprintf(
			"%v messages a second to %s receivers, all of them counted. Measured from when the publisher knows of its commit, or from the first receipt if that is earlier; "+
				"for the bare hub, from when it begins to publish.", r.plan.rate, report.Count(r.plan.receivers[0]))),
		t,
	}}
}

func (r Result) idle() report.Section {
	t := report.Table{Columns: []report.Column{
		report.Text("server"), report.Number("memory"), report.Number("Go's heap"), report.Number("Go's stacks"), report.Number("until all were there"),
	}}
	for _, s := range r.Standings {
		heap, stack := report.Missing, report.Missing
		if s.Idle.Heap > 0 {
			heap, stack = report.Bytes(s.Idle.Heap), report.Bytes(s.Idle.Stack)
		}
		t.Rows = append(t.Rows, []string{s.heading(), report.Bytes(s.Idle.Resident), heap, stack, report.Duration(s.Idle.All)})
	}
	return report.Section{Title: "Idle connections", Parts: []report.Part{
		report.Prose(fmt.Sprintf(
			"%s of them, one person each. The memory is the growth of the process's resident memory since before they came, divided by their number, %s after the last came; "+
				"heap and stacks are what is in use of it. All connect at the same moment to a server that has just started, as after a restart if clients had no jitter: "+
				"with headway each is checked, subscribed to what it may hear and sent its own snapshot before it counts.",
			report.Count(r.plan.idle), report.Duration(r.plan.settling))),
		t,
	}}
}

func (r Result) about() report.Section {
	t := report.Table{Columns: []report.Column{report.Text("server"), report.Text("what it is")}}
	for _, s := range r.Standings {
		t.Rows = append(t.Rows, []string{s.heading(), s.about})
	}
	return report.Section{Title: "The servers", Parts: []report.Part{t}}
}
