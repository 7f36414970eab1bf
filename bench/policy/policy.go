// Package policy measures what row-level security costs: what an end user reads through the policies, beside the same
// rows read by the owner, whom no policy concerns, with an explicit where; and what a trusted backend writes, beside the
// owner.
//
// Both sides take turns, each on a connection of its own whose statements are prepared and whose plans have settled, and
// the medians are compared. What they read is compared too: it has to be the same.
//
// Whether the policies let through what they should, and nothing else, is no question of time: package sql tests it.
package policy

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"headway/bench/lab"
)

// plan is how much is measured.
type plan struct {
	size
	repeated int // each read and write, by each side
}

func newPlan(quick bool) plan {
	if quick {
		return plan{size{projects: 40, people: 400, fewTasks: 20, manyTasks: 200, chat: 200, activity: 200, own: 5}, 30}
	}
	return plan{size{projects: 1000, people: 10_000, fewTasks: 50, manyTasks: 1000, chat: 500, activity: 500, own: 10}, 300}
}

// Result is what was found.
type Result struct {
	Projects, People, Tasks, Messages int

	Reads  []Comparison // an end user, beside the owner with an explicit where
	Writes []Comparison // a trusted backend, beside the owner
}

// Comparison is what the same costs with policies and without.
type Comparison struct {
	What, Who string
	Rows      int
	Policies  time.Duration // by a role that policies are for
	Owner     time.Duration // by the owner, whom none concerns
}

// Ratio is what the policies make of the time.
func (c Comparison) Ratio() float64 { return float64(c.Policies) / float64(c.Owner) }

// Measure measures everything in a database of a lab or, to see in a minute that everything works, less in a smaller one.
// It tells log what is being done.
func Measure(ctx context.Context, l *lab.Lab, quick bool, log func(format string, args ...any)) (Result, error) {
	return measure(ctx, l, newPlan(quick), log)
}

func measure(ctx context.Context, l *lab.Lab, p plan, log func(format string, args ...any)) (result Result, err error) {
	db, err := l.Headway(ctx, "policy", lab.SQL(p.fill()))
	if err != nil {
		return Result{}, err
	}
	var conns [2]*pgx.Conn
	for i := range conns {
		if conns[i], err = db.Connect(ctx); err != nil {
			return Result{}, err
		}
		defer conns[i].Close(context.WithoutCancel(ctx))
	}

	result.Projects, result.People = p.projects, p.people
	if err := conns[0].QueryRow(ctx, sqlSize).Scan(&result.Tasks, &result.Messages); err != nil {
		return Result{}, err
	}
	who, err := findReaders(ctx, conns[0])
	if err != nil {
		return Result{}, err
	}
	for _, part := range []struct {
		things  []thing
		role    string
		results *[]Comparison
	}{{reads(who), "headway_user", &result.Reads}, {writes(who), "headway_app", &result.Writes}} {
		for _, t := range part.things {
			for _, by := range t.by {
				c, err := t.compare(ctx, conns, part.role, by, p.repeated)
				if err != nil {
					return Result{}, fmt.Errorf("%s, %s: %w", t.what, by.who, err)
				}
				log("%s, %s: %.2f", c.What, c.Who, c.Ratio())
				*part.results = append(*part.results, c)
			}
		}
	}
	return result, nil
}

const sqlSize = `select (select count(*) from headway.task), (select count(*) from headway.message)`
