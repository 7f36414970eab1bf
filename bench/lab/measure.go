package lab

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"headway/internal/pause"
)

// Plan is how long and how hard a rival is measured.
type Plan struct {
	Writers int           // connections
	Warmup  time.Duration // at full speed, before everything
	Paced   time.Duration // at Rate; 0: not at all
	Rate    float64       // completions a second
	Full    time.Duration // at full speed

	// Patience is how long a rival may take at the end until nothing is left.
	Patience time.Duration
}

// Phase is what was seen of a load.
type Phase struct {
	PerSecond         float64       // completions that committed in time
	Left              int           // that were not in the progress when the time was up
	Behind            time.Duration // how long it took from then until none was left; Never: longer than the patience
	Visible, Notified Delays        // from when a writer knew of its commit to when a reader had it, or a listener
}

// Result is what a measurement found.
type Result struct {
	Paced, Full Phase         // at the plan's rate, and at full speed
	CPU         time.Duration // of all processes for a completion at full speed, until nothing was left; 0: unknown

	Keeps    bool // it keeps progress; without, there is no Paced and nothing is seen of Full but its rate
	Projects int
	Wrong    int // of these, how many had other progress at the end than a recount finds
}

const (
	// watchGap leaves 50 completions a second that are watched at full speed, of every rival.
	watchGap = 20 * time.Millisecond

	// grace is how long something may remain unseen once nothing is left to do.
	grace = time.Second
)

// Measure measures a rival in a database of its own.
func (l *Lab) Measure(ctx context.Context, r Rival, shape Shape, p Plan) (Result, error) {
	template := r.Base.Name + "_" + shape.Name
	err := l.Template(ctx, template, func(ctx context.Context, conn *pgx.Conn) error { return r.Base.Fill(ctx, conn, shape) })
	if err != nil {
		return Result{}, err
	}
	db, err := l.Copy(ctx, template)
	if err != nil {
		return Result{}, err
	}
	m := measurement{lab: l, rival: r, db: db, plan: p, load: newLoad(shape)}
	return m.run(ctx)
}

// measurement is one call of [Lab.Measure].
type measurement struct {
	lab      *Lab
	rival    Rival
	db       *Database
	plan     Plan
	control  *pgx.Conn
	load     *load
	driver   driver
	observer *observer
}

func (m *measurement) run(ctx context.Context) (_ Result, err error) {
	if m.control, err = m.db.Connect(ctx); err != nil {
		return Result{}, err
	}
	defer m.control.Close(context.WithoutCancel(ctx))
	if m.rival.Setup != nil {
		if err := m.rival.Setup(ctx, m.control); err != nil {
			return Result{}, fmt.Errorf("set up: %w", err)
		}
	}
	if m.driver, err = m.open(ctx); err != nil {
		return Result{}, fmt.Errorf("connect: %w", err)
	}
	defer m.driver.close()
	if err := m.lab.Checkpoint(ctx); err != nil {
		return Result{}, err
	}
	stop := func() error { return nil }
	if m.rival.Start != nil {
		if stop, err = m.rival.Start(ctx, m.db); err != nil {
			return Result{}, fmt.Errorf("start: %w", err)
		}
	}
	if m.observer, err = observe(ctx, m.rival, m.db); err != nil {
		return Result{}, errors.Join(err, stop())
	}
	result, err := m.phases(ctx)
	return result, errors.Join(err, m.observer.stop(), stop())
}

// open opens the writers' connections.
func (m *measurement) open(ctx context.Context) (driver, error) {
	if m.rival.Writers != nil {
		return openGoroutines(ctx, m.db, m.plan.Writers, m.rival.Writers)
	}
	return openStatement(ctx, m.db, m.plan.Writers, m.rival.Statement)
}

// phases warms up, completes at a steady rate, then at full speed, and compares with a recount.
func (m *measurement) phases(ctx context.Context) (Result, error) {
	result := Result{Keeps: m.rival.Channel != "", Projects: m.load.shape.Projects}

	if _, _, err := m.phase(ctx, pace{duration: m.plan.Warmup, gap: watchGap}); err != nil {
		return Result{}, fmt.Errorf("warm up: %w", err)
	}
	if result.Keeps && m.plan.Paced > 0 {
		// First, while there is nothing left from full speed that would be in the way.
		paced, _, err := m.phase(ctx, pace{duration: m.plan.Paced, rate: m.plan.Rate})
		if err != nil {
			return Result{}, fmt.Errorf("at %v a second: %w", m.plan.Rate, err)
		}
		result.Paced = paced
	}

	before, err := m.lab.CPU()
	if err != nil {
		return Result{}, fmt.Errorf("read the CPU time: %w", err)
	}
	full, committed, err := m.phase(ctx, pace{duration: m.plan.Full, gap: watchGap})
	if err != nil {
		return Result{}, fmt.Errorf("at full speed: %w", err)
	}
	after, err := m.lab.CPU()
	if err != nil {
		return Result{}, fmt.Errorf("read the CPU time: %w", err)
	}
	result.Full, result.CPU = full, (after-before)/time.Duration(max(committed, 1))

	result.Wrong, err = m.recount(ctx)
	return result, err
}

// phase lays a load on, waits until nothing is left to do, and returns what was seen of it and how many completions
// there were in all.
func (m *measurement) phase(ctx context.Context, p pace) (Phase, int, error) {
	already := m.load.total()
	counted, err := m.load.run(ctx, m.driver, p, m.observer.expect)
	if err != nil {
		return Phase{}, 0, err
	}
	phase := Phase{PerSecond: float64(counted) / p.duration.Seconds()}
	ended := time.Now()
	if phase.Left, err = m.left(ctx); err != nil {
		return Phase{}, 0, err
	}
	for left := phase.Left; left > 0; {
		if time.Since(ended) > m.plan.Patience {
			ended = time.Time{}
			break
		}
		if !pause.For(ctx, 20*time.Millisecond) {
			return Phase{}, 0, ctx.Err()
		}
		if left, err = m.left(ctx); err != nil {
			return Phase{}, 0, err
		}
	}
	if ended.IsZero() {
		phase.Behind = Never
	} else if phase.Left > 0 {
		phase.Behind = time.Since(ended)
	}
	for last := time.Now().Add(grace); !m.observer.done() && time.Now().Before(last); {
		if !pause.For(ctx, time.Millisecond) {
			return Phase{}, 0, ctx.Err()
		}
	}
	phase.Visible, phase.Notified = m.observer.visible.take(), m.observer.notified.take()
	return phase, int(m.load.total() - already), nil
}

// left returns how many completions have not reached the progress.
func (m *measurement) left(ctx context.Context) (left int, err error) {
	if m.rival.Folded == "" {
		return 0, nil
	}
	var folded int
	if err := m.control.QueryRow(ctx, m.rival.Folded).Scan(&folded); err != nil {
		return 0, fmt.Errorf("read what is left: %w", err)
	}
	return int(m.load.total()) - folded, nil
}

// recount returns in how many projects the progress is not what the tables say.
func (m *measurement) recount(ctx context.Context) (wrong int, err error) {
	rows, err := m.control.Query(ctx, m.rival.Recount)
	if err != nil {
		return 0, fmt.Errorf("recount: %w", err)
	}
	truth, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Progress])
	if err != nil {
		return 0, fmt.Errorf("recount: %w", err)
	}
	var completions int64
	for _, p := range truth {
		completions += p.Done
	}
	// Every task is completed once and stays so: what was committed has to be there, or nothing here can be believed.
	if committed := m.load.total(); completions != committed {
		return 0, fmt.Errorf("recount: there are %d completions, and %d were committed", completions, committed)
	}
	if m.rival.Read == "" {
		return 0, nil
	}

	ids := make([]int64, len(truth))
	for i, p := range truth {
		ids[i] = p.Project
	}
	rows, err = m.control.Query(ctx, m.rival.Read, ids)
	if err != nil {
		return 0, fmt.Errorf("read progress: %w", err)
	}
	kept, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Progress])
	if err != nil {
		return 0, fmt.Errorf("read progress: %w", err)
	}
	done := map[int64]int64{}
	for _, p := range kept {
		done[p.Project] = p.Done
	}
	for _, p := range truth {
		if done[p.Project] != p.Done {
			wrong++
		}
	}
	return wrong, nil
}
