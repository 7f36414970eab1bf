package report

import (
	"fmt"
	"strings"
)

// Table is rows of cells. A row that is shorter than the header ends in empty cells.
type Table struct {
	Columns []Column
	Rows    [][]string
}

// Column is the head of a column. [Text] and [Number] make one.
type Column struct {
	name  string
	right bool
}

// Text is a column of words.
func Text(name string) Column { return Column{name: name} }

// Number is a column of figures, which stand at its right.
func Number(name string) Column { return Column{name: name, right: true} }

func (t Table) markdown() string {
	var lines []string
	head, rule := make([]string, len(t.Columns)), make([]string, len(t.Columns))
	for i, c := range t.Columns {
		head[i], rule[i] = c.name, "---"
		if c.right {
			rule[i] = "---:"
		}
	}
	lines = append(lines, row(head), "| "+strings.Join(rule, " | ")+" |")
	for _, cells := range t.Rows {
		lines = append(lines, row(append(cells[:len(cells):len(cells)], make([]string, max(0, len(head)-len(cells)))...)))
	}
	return strings.Join(lines, "\n")
}

func (Table) charts() (map[string][]byte, error) { return nil, nil }

// row returns a line of a table.
func row(cells []string) string {
	var line strings.Builder
	for _, cell := range cells {
		cell = strings.ReplaceAll(strings.ReplaceAll(cell, "|", `\|`), "\n", " ")
		fmt.Fprintf(&line, "| %s ", cell)
	}
	return line.String() + "|"
}

// Goal is a figure beside what it is to be.
type Goal struct {
	What     string // "p99 from commit to notified at 200 a second"
	Measured string // "4.7 ms"
	Budget   string // "under 8 ms"
	Met      bool
}

// Goals is a table of goals, in which one that was missed stands out.
func Goals(goals []Goal) Table {
	t := Table{Columns: []Column{Text("what"), Number("measured"), Number("budget"), Text("met")}}
	for _, g := range goals {
		met := "yes"
		if !g.Met {
			met = "**no**"
		}
		t.Rows = append(t.Rows, []string{g.What, g.Measured, g.Budget, met})
	}
	return t
}
