package sql_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// differenceError says where progress was not what a recount makes of the same snapshot.
type differenceError struct{ difference string }

func (e *differenceError) Error() string { return e.difference }

// customer is a customer of a project.
type customer struct{ Project, User int64 }

// bar is somebody's progress.
type bar struct{ Done, Total, Percent int64 }

// compare reads all bars, from the view and one by one, and the tables in one snapshot and returns a [*differenceError] where they differ. The recount
// is its own: it knows what design.md says of the tables, and nothing of how headway counts.
func compare(ctx context.Context, conn *pgx.Conn) error {
	return pgx.BeginTxFunc(ctx, conn, pgx.TxOptions{IsoLevel: pgx.RepeatableRead}, func(tx pgx.Tx) error {
		// TRUNCATE empties a table in older snapshots too. With the locks taken first, there is no older snapshot.
		if _, err := tx.Exec(ctx, `lock table headway.project, headway.member, headway.task, headway.assignment, headway.completion,
			headway.pending_fact, headway.shared_progress, headway.personal_progress in access share mode`); err != nil {
			return err
		}
		want, everyone, personal, err := recount(ctx, tx)
		if err != nil {
			return err
		}
		var differences []string
		for name, query := range map[string]string{
			"progress": "select project_id, user_id, done, total, percent from headway.progress",
			"current_bar": `select m.project_id, m.user_id, b.done, b.total, b.percent
				from headway.member m cross join lateral headway.current_bar(m.project_id, m.user_id) b`,
		} {
			got := map[customer]bar{}
			if err := each(ctx, tx, query, func(v []int64) {
				got[customer{v[0], v[1]}] = bar{v[2], v[3], v[4]}
			}); err != nil {
				return err
			}
			for c, w := range want {
				if g, ok := got[c]; !ok || g != w {
					differences = append(differences, fmt.Sprintf("project %d, person %d: %s has %v, the tables %v", c.Project, c.User, name, g, w))
				}
			}
			for c, g := range got {
				if _, ok := want[c]; !ok {
					differences = append(differences, fmt.Sprintf("project %d, person %d: %s has %v, they are no customer", c.Project, c.User, name, g))
				}
			}
		}

		// Where no fact waits, the tables below the view say the same.
		waiting := map[int64]bool{}
		if err := each(ctx, tx, "select distinct project_id from headway.pending_fact", func(v []int64) { waiting[v[0]] = true }); err != nil {
			return err
		}
		if err := each(ctx, tx, "select project_id, done, total from headway.shared_progress", func(v []int64) {
			if w := everyone[v[0]]; !waiting[v[0]] && (v[1] != w.Done || v[2] != w.Total) {
				differences = append(differences, fmt.Sprintf("project %d: shared_progress has %v, the tables %v", v[0], v[1:], w))
			}
		}); err != nil {
			return err
		}
		folded := map[customer]bool{}
		if err := each(ctx, tx, "select project_id, user_id, done, total from headway.personal_progress", func(v []int64) {
			c := customer{v[0], v[1]}
			folded[c] = true
			if w := personal[c]; !waiting[v[0]] && (v[2] != w.Done || v[3] != w.Total) {
				differences = append(differences, fmt.Sprintf("project %d, person %d: personal_progress has %v, the tables %v", v[0], v[1], v[2:], w))
			}
		}); err != nil {
			return err
		}
		for c, w := range personal {
			if !folded[c] && !waiting[c.Project] && w != (bar{}) {
				differences = append(differences, fmt.Sprintf("project %d, person %d: personal_progress has no row, the tables %v", c.Project, c.User, w))
			}
		}
		if len(differences) > 0 {
			slices.Sort(differences)
			return &differenceError{strings.Join(differences, "; ")}
		}
		return nil
	})
}

// recount counts every customer's bar, and its two parts: what is for everyone and done for all, and the rest.
func recount(ctx context.Context, tx pgx.Tx) (bars map[customer]bar, everyone map[int64]bar, personal map[customer]bar, err error) {
	type link struct{ task, user int64 }
	assigned, completed, completedByAny := map[link]bool{}, map[link]bool{}, map[int64]bool{}
	bars, everyone, personal = map[customer]bar{}, map[int64]bar{}, map[customer]bar{}

	err = errors.Join(
		each(ctx, tx, "select project_id, user_id from headway.member where role = 'customer'", func(v []int64) {
			bars[customer{v[0], v[1]}] = bar{}
		}),
		each(ctx, tx, "select task_id, user_id from headway.assignment", func(v []int64) { assigned[link{v[0], v[1]}] = true }),
		each(ctx, tx, "select task_id, user_id from headway.completion", func(v []int64) {
			completed[link{v[0], v[1]}], completedByAny[v[0]] = true, true
		}),
	)
	if err != nil {
		return nil, nil, nil, err
	}
	err = each(ctx, tx, "select id, project_id, weight, shared::int, (audience = 'everyone')::int from headway.task", func(v []int64) {
		task, project, weight, shared, forEveryone := v[0], v[1], v[2], v[3] == 1, v[4] == 1
		if forEveryone {
			e := everyone[project]
			e.Total += weight
			if shared && completedByAny[task] {
				e.Done += weight
			}
			everyone[project] = e
		}
		for c, b := range bars {
			if c.Project != project || !forEveryone && !assigned[link{task, c.User}] {
				continue
			}
			complete := completed[link{task, c.User}]
			if shared {
				complete = completedByAny[task]
			}
			p := personal[c]
			b.Total += weight
			if !forEveryone {
				p.Total += weight
			}
			if complete {
				b.Done += weight
				if !forEveryone || !shared {
					p.Done += weight
				}
			}
			bars[c], personal[c] = b, p
		}
	})
	for c, b := range bars {
		if b.Total > 0 {
			b.Percent = b.Done * 100 / b.Total
		}
		bars[c] = b
	}
	return bars, everyone, personal, err
}

// each calls yield with every row of numbers that a query returns.
func each(ctx context.Context, tx pgx.Tx, query string, yield func(row []int64)) error {
	rows, err := tx.Query(ctx, query)
	if err != nil {
		return err
	}
	defer rows.Close()
	row := make([]int64, len(rows.FieldDescriptions()))
	targets := make([]any, len(row))
	for i := range row {
		targets[i] = &row[i]
	}
	for rows.Next() {
		if err := rows.Scan(targets...); err != nil {
			return err
		}
		yield(row)
	}
	return rows.Err()
}
