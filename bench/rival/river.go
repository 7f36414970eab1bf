package rival

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"

	"headway/bench/lab"
)

// River inserts a job in the transaction of each completion, and a worker of River's adds to the counter and notifies.
//
// The writer's transaction is begin, insert, [river.Client.InsertTx], commit: the way its documentation shows, and four
// round trips. Fetch intervals are those of River's own benchmark program, far below the defaults, which would keep a
// job waiting for up to 100 ms. A job is marked as completed by River's batches: doing it in the transaction of
// the counter, which it takes for a worker's death not to count twice, is slower.
func River() lab.Rival {
	return lab.Rival{
		Name:    "river",
		Title:   "River, a job each",
		About:   "A job is inserted in the transaction of each completion, by River's client; its worker adds to a row of the project and notifies.",
		Base:    plain(),
		Setup:   setupRiver,
		Writers: insertJobs,
		Start:   workJobs,
		Channel: channel,
		Heard:   heard,
		Read:    readProgress,
		Folded:  sumProgress,
		Recount: recountCompletions,
	}
}

func setupRiver(ctx context.Context, conn *pgx.Conn) error {
	if err := lab.Execute(ctx, conn, createProgress); err != nil {
		return err
	}
	pool, err := pgxpool.New(ctx, conn.Config().ConnString())
	if err != nil {
		return err
	}
	defer pool.Close()
	migrator, err := rivermigrate.New(riverpgxv5.New(pool), &rivermigrate.Config{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	_, err = migrator.Migrate(ctx, rivermigrate.DirectionUp, nil)
	return err
}

// completed is a job: a task was completed.
type completed struct {
	TaskID int64 `json:"task_id"`
}

// Kind implements [river.JobArgs].
func (completed) Kind() string { return "completed" }

func insertJobs(_ context.Context, conns []*pgx.Conn) ([]lab.Complete, error) {
	client, err := river.NewClient(riverpgxv5.New(nil), riverConfig(nil))
	if err != nil {
		return nil, err
	}
	writers := make([]lab.Complete, len(conns))
	for i, conn := range conns {
		writers[i] = func(ctx context.Context, task, user int64) error {
			return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
				if _, err := tx.Exec(ctx, insertCompletion, task, user); err != nil {
					return err
				}
				_, err := client.InsertTx(ctx, tx, completed{TaskID: task}, nil)
				return err
			})
		}
	}
	return writers, nil
}

const (
	maxWorkers = 100
	workConns  = 10
)

func riverConfig(workers *river.Workers) *river.Config {
	config := &river.Config{
		FetchCooldown:     2 * time.Millisecond,
		FetchPollInterval: 20 * time.Millisecond,
		Logger:            slog.New(slog.DiscardHandler),
		Workers:           workers,
	}
	if workers != nil {
		config.Queues = map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: maxWorkers}}
	}
	return config
}

func workJobs(ctx context.Context, db *lab.Database) (stop func() error, err error) {
	config, err := pgxpool.ParseConfig(db.URL)
	if err != nil {
		return nil, err
	}
	config.MaxConns = workConns
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, err
	}
	workers := river.NewWorkers()
	river.AddWorker(workers, &counter{pool: pool})
	client, err := river.NewClient(riverpgxv5.New(pool), riverConfig(workers))
	if err == nil {
		err = client.Start(ctx)
	}
	if err != nil {
		pool.Close()
		return nil, err
	}
	return func() error {
		defer pool.Close()
		return client.Stop(context.WithoutCancel(ctx))
	}, nil
}

// counter works the jobs.
type counter struct {
	river.WorkerDefaults[completed]
	pool *pgxpool.Pool
}

const addToProgress = `
with moved as (
  update progress p
  set done = p.done + t.weight
  from task t
  where t.id = $1 and p.project_id = t.project_id
  returning p.project_id, p.done
)
select pg_notify('progress', json_build_object('project_id', m.project_id, 'done', m.done)::text) from moved m`

// Work implements [river.Worker].
func (c *counter) Work(ctx context.Context, job *river.Job[completed]) error {
	if _, err := c.pool.Exec(ctx, addToProgress, job.Args.TaskID); err != nil {
		return fmt.Errorf("count task %d: %w", job.Args.TaskID, err)
	}
	return nil
}
