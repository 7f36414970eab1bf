package lab

import (
	"context"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"headway/internal/pause"
)

// goroutines completes tasks with a goroutine for each connection.
type goroutines struct {
	conns   []*pgx.Conn
	writers []Complete
}

// openGoroutines opens connections and learns how to complete a task on each.
func openGoroutines(ctx context.Context, db *Database, n int, learn func(context.Context, []*pgx.Conn) ([]Complete, error)) (_ driver, err error) {
	g := &goroutines{}
	for range n {
		conn, err := db.Connect(ctx)
		if err != nil {
			g.close()
			return nil, err
		}
		g.conns = append(g.conns, conn)
	}
	if g.writers, err = learn(ctx, g.conns); err != nil {
		g.close()
		return nil, err
	}
	return g, nil
}

func (g *goroutines) close() {
	for _, conn := range g.conns {
		conn.Close(context.Background())
	}
}

func (g *goroutines) drive(ctx context.Context, t *turn) error {
	due := t.pace.arrivals()
	var arrived atomic.Int64
	group, ctx := errgroup.WithContext(ctx)
	// A query whose context can end costs a goroutine.
	uncancelled := context.WithoutCancel(ctx)
	for i, complete := range g.writers {
		group.Go(func() error {
			random := rand.New(rand.NewPCG(uint64(i), 0))
			for ctx.Err() == nil && !t.over(time.Now()) {
				if t.pace.rate > 0 {
					i := int(arrived.Add(1)) - 1
					if i >= len(due) || !pause.For(ctx, time.Until(t.began.Add(due[i]))) {
						return nil
					}
				}
				task, project, user, err := t.next(random)
				if err != nil {
					return err
				}
				if err := complete(uncancelled, task, user); err != nil {
					return err
				}
				t.commit(project, time.Now())
			}
			return nil
		})
	}
	return group.Wait()
}
