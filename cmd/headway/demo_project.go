package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
)

// cast is the people and things in the demo, with the ids that the database gave them.
type cast struct {
	abe, bob, charlie, dora int64
	people                  []demoPerson

	project int64
	tasks   map[string]int64 // by title
}

// The tasks that the story mentions.
const (
	choosePhotos  = "Choose the photographs"
	writeProducts = "Write the product pages"
	writeAbout    = "Write the page about us"
	approveDraft  = "Approve the design draft"
	proofread     = "Proofread all pages"
)

// demoTask is a task of the project. Unless it is for somebody in particular, it is for everyone.
type demoTask struct {
	title, detail string
	weight        int
	individual    bool     // each customer does it for themselves
	due           string   // from now
	assigned      []string // names
	requires      []string
	done          bool
}

var demoTasks = []demoTask{
	{title: "Sign off the sitemap", weight: 2, due: "-9 days", done: true},
	{title: "Send the logo and the colours", weight: 1, due: "-6 days", done: true},
	{title: choosePhotos, detail: "Twelve, landscape, with the names of those shown.", weight: 2, due: "2 days"},
	{title: writeProducts, weight: 3, due: "5 days", assigned: []string{"Bob", "Charlie"}},
	{title: writeAbout, detail: "Who you are, since when, and a photo of the team.", weight: 3, due: "5 days", assigned: []string{"Abe"}},
	{title: approveDraft, weight: 1, individual: true, due: "6 days"},
	{title: "Confirm the legal notice", weight: 1, due: "8 days", assigned: []string{"Abe"}},
	{title: "Give access to the domain", weight: 1, due: "9 days", assigned: []string{"Charlie"}},
	{title: proofread, weight: 3, due: "12 days", requires: []string{writeProducts, writeAbout}},
	{title: "Go live", weight: 2, due: "14 days", requires: []string{proofread, approveDraft}},
}

const (
	sqlDemoPerson = `insert into headway.appuser (fullname, email) values ($1, lower($1) || '@example.com') returning id`

	sqlDemoProject = `insert into headway.project (name) values ('Website relaunch') returning id`

	sqlDemoMember = `insert into headway.member (project_id, user_id, role) values ($1, $2, $3)`

	sqlDemoTask = `
insert into headway.task (project_id, title, detail, weight, shared, audience, due_at, position, created_by)
values ($1, $2, nullif($3, ''), $4, $5, $6, date_trunc('day', now()) + $7::interval + interval '17 hours', $8, $9)
returning id`

	sqlDemoAssignment = `insert into headway.assignment (task_id, user_id) values ($1, $2)`

	sqlDemoPrerequisite = `insert into headway.prerequisite (task_id, requires_id) values ($1, $2)`

	sqlDemoCompletion = `insert into headway.completion (task_id, user_id) values ($1, $2)`
)

// loadDemo loads people and a project, in one transaction.
func loadDemo(ctx context.Context, conn *pgx.Conn) (c cast, err error) {
	c.tasks = map[string]int64{}
	err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		if err := tx.QueryRow(ctx, sqlDemoProject).Scan(&c.project); err != nil {
			return err
		}
		for _, p := range []struct {
			id         *int64
			name, role string
		}{{&c.abe, "Abe", "customer"}, {&c.bob, "Bob", "customer"}, {&c.charlie, "Charlie", "customer"}, {&c.dora, "Dora", "staff"}} {
			if err := tx.QueryRow(ctx, sqlDemoPerson, p.name).Scan(p.id); err != nil {
				return err
			}
			if _, err := tx.Exec(ctx, sqlDemoMember, c.project, *p.id, p.role); err != nil {
				return err
			}
			c.people = append(c.people, demoPerson{*p.id, p.name, p.role})
		}
		for i, t := range demoTasks {
			if err := c.loadTask(ctx, tx, i, t); err != nil {
				return fmt.Errorf("task %q: %w", t.title, err)
			}
		}
		return nil
	})
	if err != nil {
		return c, fmt.Errorf("load the demo's project: %w", err)
	}
	return c, nil
}

func (c *cast) loadTask(ctx context.Context, tx pgx.Tx, position int, t demoTask) error {
	audience := "everyone"
	if len(t.assigned) > 0 {
		audience = "assigned"
	}
	var id int64
	err := tx.QueryRow(ctx, sqlDemoTask,
		c.project, t.title, t.detail, t.weight, !t.individual, audience, t.due, position, c.dora).Scan(&id)
	if err != nil {
		return err
	}
	c.tasks[t.title] = id
	for _, p := range c.people {
		if slices.Contains(t.assigned, p.Name) {
			if _, err := tx.Exec(ctx, sqlDemoAssignment, id, p.ID); err != nil {
				return err
			}
		}
	}
	for _, title := range t.requires {
		if _, err := tx.Exec(ctx, sqlDemoPrerequisite, id, c.tasks[title]); err != nil {
			return err
		}
	}
	if t.done {
		_, err = tx.Exec(ctx, sqlDemoCompletion, id, c.abe)
	}
	return err
}
