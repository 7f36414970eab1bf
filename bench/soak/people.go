package soak

import (
	"context"
	"fmt"
	"math/rand/v2"

	"golang.org/x/sync/errgroup"
)

// habit is something that people do.
type habit struct {
	what  string
	rate  float64 // times a second, all together
	query string
	// arguments for a project and one of its customers
	arguments func(project, user int64) []any
	hot       bool // in the busiest project only
}

func personIn(project, user int64) []any { return []any{project, user} }

func person(_, user int64) []any { return []any{user} }

func channelOf(project, user int64) []any { return []any{user, fmt.Sprintf("project_%d", project)} }

func habits() []habit {
	const readBar = `select g.done, g.total, g.percent, g.version from headway.progress g where g.project_id = $1 and g.user_id = $2`
	return []habit{
		{what: reading, rate: 20, query: readBar, arguments: personIn},
		{what: readingHot, rate: 5, query: readBar, arguments: personIn, hot: true},
		{what: outstanding, rate: 5, arguments: personIn, query: `
select o.task_id, o.title, o.due_at, o.blocked_by from headway.outstanding_task o where o.project_id = $1 and o.user_id = $2
order by o.position, o.task_id limit 50`},
		{what: snapshot, rate: 5, query: `select headway.snapshot($1)`, arguments: person},
		{what: unread, rate: 10, query: `select u.channel, u.messages from headway.unread u where u.user_id = $1`, arguments: person},
		{what: posting, rate: 10, query: `select headway.post($1, $2, 'How far are we? I am waiting for the last of it.')`, arguments: channelOf},
		{what: marking, rate: 10, query: `select headway.mark_read($1, $2)`, arguments: channelOf},
	}
}

// people follow their habits until ctx is done.
func (r *run) people(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	for i, h := range habits() {
		conn, err := r.db.Connect(context.WithoutCancel(ctx))
		if err != nil {
			return err
		}
		group.Go(func() error {
			defer conn.Close(context.WithoutCancel(ctx))
			random := rand.New(rand.NewPCG(uint64(i), 1))
			return every(ctx, h.rate, uint64(i), func(ctx context.Context) error {
				project := int64(1)
				if !h.hot {
					project = 2 + random.Int64N(r.tasks.projects-2)
				}
				user := r.tasks.customer(project, random.Int64N(customersPerProject))
				return r.timed(h.what, func() error {
					_, err := conn.Exec(ctx, h.query, h.arguments(project, user)...)
					return err
				})
			})
		})
	}
	return group.Wait()
}
