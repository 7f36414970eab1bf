package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"headway/bench/lab"
)

// result is what a replay found.
type result struct {
	connections, completions int

	paced                       bool    // slower than could be
	bareBefore, rate, bareAfter float64 // a second

	delays []time.Duration // from commit to notification, sorted, of all that were notified

	people, projects, finished int // finished projects are at 100 percent for every customer
	facts                      int // that nobody has folded
	differences                []string
}

const countAll = `
select
  (select count(*) from replay.person),
  (select count(*) from replay.project),
  (
    select count(*)
    from replay.project p
    where 100 = all (select g.percent from headway.progress g where g.project_id = p.id)
  ),
  (select count(*) from headway.pending_fact)`

// inspect looks at what became of everything.
func inspect(ctx context.Context, conn *pgx.Conn, res *result) error {
	err := conn.QueryRow(ctx, countAll).Scan(&res.people, &res.projects, &res.finished, &res.facts)
	if err != nil {
		return fmt.Errorf("count: %w", err)
	}
	rows, _ := conn.Query(ctx, "select to_json(v)::text from headway.verify() v") // CollectRows returns its error
	if res.differences, err = pgx.CollectRows(rows, pgx.RowTo[string]); err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	return nil
}

// wrong returns what headway got wrong, nil where it is nothing.
func (r result) wrong() error {
	var problems []error
	if lost := r.completions - len(r.delays); lost > 0 {
		problems = append(problems, fmt.Errorf("%d completions were never notified", lost))
	}
	if r.finished != r.projects {
		problems = append(problems, fmt.Errorf("%d projects are not at 100 percent", r.projects-r.finished))
	}
	if r.facts > 0 {
		problems = append(problems, fmt.Errorf("%d facts are left", r.facts))
	}
	if len(r.differences) > 0 {
		problems = append(problems, fmt.Errorf("verify() finds %d differences", len(r.differences)))
	}
	return errors.Join(problems...)
}

// delay returns the delay that a share of the notifications did not exceed.
func (r result) delay(share float64) string {
	if len(r.delays) == 0 {
		return "never"
	}
	return fmt.Sprintf("%.1f ms", float64(lab.Quantile(r.delays, share))/float64(time.Millisecond))
}

// String is what a person reads.
func (r result) String() string {
	var text strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&text, "%-20s%s\n", name, fmt.Sprintf(format, args...))
	}
	ratio := fmt.Sprintf("%.2f of that", r.rate/(r.bareBefore+r.bareAfter)*2)
	if r.paced {
		ratio = "as asked"
	}
	line("replayed", "%d completions of %d people in %d projects, over %d connections", r.completions, r.people, r.projects, r.connections)
	line("bare table", "%.0f a second before, %.0f after", r.bareBefore, r.bareAfter)
	line("headway", "%.0f a second, %s", r.rate, ratio)
	line("commit to notified", "p50 %s, p99 %s, worst %s", r.delay(0.50), r.delay(0.99), r.delay(1))
	line("at 100 percent", "%d of %d projects", r.finished, r.projects)
	line("facts left", "%d", r.facts)
	line("verify()", "%d rows", len(r.differences))
	for _, difference := range r.differences {
		line("", "%s", difference)
	}
	return text.String()
}
