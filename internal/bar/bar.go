// Package bar draws progress as lines of text for a terminal.
//
// Everything here is pure: rows and a size go in, lines come out, none wider than requested. Putting them on a screen
// belongs in package terminal, knowing what to draw in package live.
package bar

import (
	"fmt"
	"slices"
	"strings"
)

// Palette marks text with colours, calm ones that the terminal's theme decides on. The zero value marks nothing.
type Palette struct{ Color bool }

func (p Palette) mark(code, s string) string {
	if !p.Color || s == "" {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

// Strong is for headings and project names.
func (p Palette) Strong(s string) string { return p.mark("1", s) }

// Dim is for what is rarely read.
func (p Palette) Dim(s string) string { return p.mark("2", s) }

// Fresh is for what has just changed.
func (p Palette) Fresh(s string) string { return p.mark("1;33", s) }

// Good is for what is complete or in order.
func (p Palette) Good(s string) string { return p.mark("32", s) }

// Warn is for what someone should look at.
func (p Palette) Warn(s string) string { return p.mark("33", s) }

// Bad is for what has failed.
func (p Palette) Bad(s string) string { return p.mark("31", s) }

// filled is for the completed part of a bar.
func (p Palette) filled(s string) string { return p.mark("36", s) }

// Row is one bar.
type Row struct {
	Name        string
	Done, Total int64
	Gained      int64  // how much of Done is new; negative if it decreased
	Note        string // shown behind the bar
	Heading     bool   // a project; the rows below it are indented
}

// Percent is floor(100·done/total), so 100 means that everything is done; 0 if there is nothing to do.
func Percent(done, total int64) int64 {
	if total <= 0 {
		return 0
	}
	return 100 * done / total
}

const (
	gap    = 2  // columns between columns
	maxBar = 48 // wider ones are no easier to read
	minBar = 6  // narrower ones say nothing

	minNote = 4 // narrower ones say nothing either
)

// Table draws rows below each other, in columns that fit into the width. If it is narrow, the bars are short, then the
// notes are cut or left out, then the numbers, then the bars. At least this many columns are kept for notes, so that
// bars keep their length as notes come and go.
func Table(p Palette, rows []Row, width, notes int) []string {
	var names, counts int
	for _, r := range rows {
		names = max(names, indent(r)+Width(r.Name))
		counts = max(counts, len(r.count()))
		notes = max(notes, Width(r.note()))
	}
	const percent = len("100%")
	names = min(names, max(8, width/3), max(0, width-gap-percent))
	left := width - names - gap - percent
	take := func(columns int) bool {
		if columns+gap > left {
			return false
		}
		left -= columns + gap
		return true
	}
	bar := 0
	if take(minBar) {
		bar = minBar
	}
	if !take(counts) {
		counts = 0
	}
	if notes = min(notes, left-gap); notes < minNote || !take(notes) {
		notes = 0
	}
	if bar > 0 {
		bar += min(left, maxBar-minBar)
	}

	lines := make([]string, 0, len(rows))
	for _, r := range rows {
		name := Pad(Cut(strings.Repeat(" ", indent(r))+r.Name, names), names)
		if r.Heading {
			name = p.Strong(name)
		}
		var line strings.Builder
		line.WriteString(name)
		if bar > 0 {
			line.WriteString(strings.Repeat(" ", gap) + Bar(p, r, bar))
		}
		line.WriteString(strings.Repeat(" ", gap) + padLeft(fmt.Sprintf("%d%%", Percent(r.Done, r.Total)), percent))
		if counts > 0 {
			line.WriteString(strings.Repeat(" ", gap) + p.Dim(padLeft(r.count(), counts)))
		}
		if note := r.note(); note != "" && notes > 0 {
			line.WriteString(strings.Repeat(" ", gap) + p.Fresh(Cut(note, notes)))
		}
		lines = append(lines, Cut(line.String(), width))
	}
	return lines
}

func indent(r Row) int {
	if r.Heading {
		return 0
	}
	return 2
}

func (r Row) count() string { return Count(r.Done) + "/" + Count(r.Total) }

// note says what has changed, in percent like the bar, followed by the note.
func (r Row) note() string {
	gained := Percent(r.Done, r.Total) - Percent(r.Done-r.Gained, r.Total)
	if gained == 0 {
		return r.Note
	}
	return strings.TrimSpace(fmt.Sprintf("%+d  %s", gained, r.Note))
}

// Bar draws one bar with this many columns. It is full only when everything is done, and empty only when nothing is.
func Bar(p Palette, r Row, columns int) string {
	cells := func(done int64) int {
		if r.Total <= 0 || done <= 0 {
			return 0
		}
		n := int(float64(columns) * float64(done) / float64(r.Total))
		if done < r.Total {
			n = min(n, columns-1)
		}
		return min(max(n, 1), columns)
	}
	now := cells(r.Done)
	before := min(cells(r.Done-r.Gained), now)

	old := strings.Repeat("█", before)
	if r.Done >= r.Total && r.Gained <= 0 {
		old = p.Good(old)
	} else {
		old = p.filled(old)
	}
	return old + p.Fresh(strings.Repeat("█", now-before)) + p.Dim(strings.Repeat("░", columns-now))
}

// Group is a project with its customers.
type Group struct {
	Sum  Row // of all customers
	Rows []Row
}

// Fit chooses what to show of the groups in this many lines: every sum before any single customer, then the first rows
// of each group, and how many more there are.
func Fit(p Palette, groups []Group, width, height, notes int) (lines []string) {
	if height <= 0 {
		return nil
	}
	hidden := 0
	if len(groups) > height {
		hidden = len(groups) - (height - 1)
		groups = groups[:height-1]
	}
	shown := share(groups, height-len(groups)-min(hidden, 1))

	// All in one table, so that the bars line up.
	var rows []Row
	more := map[int]string{} // what is left out, by the number of rows above it
	for i, g := range groups {
		sum := g.Sum
		sum.Heading = true
		rows = append(append(rows, sum), g.Rows[:shown[i]]...)
		if left := len(g.Rows) - shown[i]; left > 0 && shown[i] > 0 {
			rows = rows[:len(rows)-1] // makes room for the line that says so
			more[len(rows)] = "and " + Count(left+1) + " more"
			if shown[i] == 1 {
				more[len(rows)] = Count(left+1) + " customers"
			}
		}
	}
	for i, line := range Table(p, rows, width, notes) {
		if text := more[i]; text != "" {
			lines = append(lines, Cut(p.Dim("  "+text), width))
		}
		lines = append(lines, line)
	}
	if text := more[len(rows)]; text != "" {
		lines = append(lines, Cut(p.Dim("  "+text), width))
	}
	if hidden > 0 {
		lines = append(lines, Cut(p.Dim("and "+Count(hidden)+" more projects"), width))
	}
	return lines
}

// share divides lines among the groups: small groups get all they need, the others equal shares.
func share(groups []Group, lines int) []int {
	order := make([]int, len(groups))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return len(groups[a].Rows) - len(groups[b].Rows) })
	shown := make([]int, len(groups))
	for n, i := range order {
		shown[i] = min(len(groups[i].Rows), lines/(len(order)-n))
		lines -= shown[i]
	}
	return shown
}
