package lab

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"
)

// readEvery is how often progress is read while somebody waits to see it: the same for all, some percent of a core.
const readEvery = 4 * time.Millisecond

// A reader that reads the same again and again plans it once. Compiling it would take longer than reading it.
const sqlReader = `set jit = off; set plan_cache_mode = force_generic_plan`

// observer is one reader and one listener beside the writers.
type observer struct {
	rival             Rival
	visible, notified *watch
	nudge             chan struct{} // something is to be read
	stop              func() error
}

// observe begins to look and to listen. A rival that keeps no progress has no observer beside it, which is to its
// advantage: it is what the others are compared with.
func observe(ctx context.Context, r Rival, db *Database) (*observer, error) {
	o := &observer{rival: r, visible: newWatch(), notified: newWatch(), nudge: make(chan struct{}, 1)}
	if r.Channel == "" {
		o.stop = func() error { return nil }
		return o, nil
	}
	reader, err := open(ctx, db, sqlReader)
	if err != nil {
		return nil, err
	}
	if _, err := reader.Prepare(ctx, "read", r.Read); err != nil {
		return nil, errors.Join(fmt.Errorf("prepare %q: %w", r.Read, err), reader.Close(ctx))
	}
	listener, err := open(ctx, db, "listen "+r.Channel)
	if err != nil {
		return nil, errors.Join(err, reader.Close(ctx))
	}

	looking, cancel := context.WithCancel(ctx)
	group, looking := errgroup.WithContext(looking)
	group.Go(func() error { return o.look(looking, reader) })
	group.Go(func() error { return o.listen(looking, listener) })
	o.stop = func() error {
		cancel()
		err := group.Wait()
		reader.Close(context.WithoutCancel(ctx))
		listener.Close(context.WithoutCancel(ctx))
		return err
	}
	return o, nil
}

// open connects and runs a script.
func open(ctx context.Context, db *Database, script string) (*pgx.Conn, error) {
	conn, err := db.Connect(ctx)
	if err != nil {
		return nil, err
	}
	if err := Execute(ctx, conn, script); err != nil {
		return nil, errors.Join(err, conn.Close(ctx))
	}
	return conn, nil
}

// expect has both wait for a commit.
func (o *observer) expect(c commit) {
	if o.rival.Channel == "" {
		return
	}
	o.notified.expect(c)
	o.visible.expect(c)
	select {
	case o.nudge <- struct{}{}:
	default:
	}
}

// done reports whether everything that was expected has been seen.
func (o *observer) done() bool { return o.visible.done() && o.notified.done() }

// look reads the progress of projects in which something is waited for, when it begins to be and then again and again,
// until ctx is done.
func (o *observer) look(ctx context.Context, conn *pgx.Conn) error {
	again := time.NewTicker(readEvery)
	defer again.Stop()
	var ids []int64
	for {
		select {
		case <-o.nudge:
		case <-again.C:
		case <-ctx.Done():
			return nil
		}
		if ids = o.visible.projects(ids[:0]); len(ids) == 0 {
			continue
		}
		progress, err := read(context.WithoutCancel(ctx), conn, ids)
		if err != nil {
			return fmt.Errorf("read progress: %w", err)
		}
		at := time.Now()
		for _, p := range progress {
			o.visible.saw(p, at)
		}
	}
}

// read returns the progress of projects.
func read(ctx context.Context, conn *pgx.Conn, ids []int64) ([]Progress, error) {
	rows, err := conn.Query(ctx, "read", ids)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[Progress])
}

// listen notes what is notified, until ctx is done.
func (o *observer) listen(ctx context.Context, conn *pgx.Conn) error {
	for {
		n, err := conn.WaitForNotification(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("listen: %w", err)
		}
		at := time.Now()
		progress, err := o.rival.Heard(n.Payload)
		if err != nil {
			return fmt.Errorf("notification %s: %w", n.Payload, err)
		}
		for _, p := range progress {
			o.notified.saw(p, at)
		}
	}
}
