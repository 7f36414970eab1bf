package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"headway/internal/bar"
	"headway/internal/sqlstate"
	"headway/worker"
)

// runDigests reserves digests for everyone due and sends what is reserved, once.
func runDigests(ctx context.Context, e env, args []string) error {
	flags := newFlags("headway digest run",
		"Does once what workers do on schedule: reserves a digest for everybody who is due now, and sends what is\n"+
			"waiting to be sent. It is safe to run beside running workers. HEADWAY_SMTP_URL, HEADWAY_MAIL_FROM,\n"+
			"HEADWAY_DIGEST_CONCURRENCY and HEADWAY_APP_URL apply as they do to a worker. It fails if a mail could not be sent.")
	if helped, err := parse(e, flags, args); helped || err != nil {
		return err
	}
	config, err := loadConfig(e)
	if err != nil {
		return err
	}
	if config.SMTP == nil {
		return errors.New("HEADWAY_SMTP_URL is not set, so there is no server to send mail to: smtp://user:password@host:587 or smtps://host:465")
	}
	pool, err := worker.Connect(ctx, config.DatabaseURL, "headway digest")
	if err != nil {
		return err
	}
	defer pool.Close()
	log := slog.New(slog.NewTextHandler(e.stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	mailer := worker.NewMailer(config, pool, uuid.NewString(), log)
	defer mailer.Sender.Close()
	failures := failures{reasons: map[int64]error{}}
	mailer.Observe = failures.note

	reserved, err := mailer.Reserve(ctx)
	if err != nil {
		return refused(err, pool.Config().ConnConfig.User, "send digests", "headway_worker")
	}
	sent, err := mailer.Send(ctx)
	fmt.Fprintf(e.stdout, "reserved %d, sent %d\n", reserved, sent)
	return cmp.Or(err, failures.tell(ctx, pool, e.stdout), ctx.Err())
}

// failures are the digests that could not be sent, and why.
type failures struct {
	mu      sync.Mutex
	reasons map[int64]error
}

func (f *failures) note(digestID int64, _ string, reason error) {
	if reason == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reasons[digestID] = reason
}

const sqlFailures = `
	select d.id, d.state, coalesce(u.fullname, '') as fullname, coalesce(d.error, '') as error,
		case when d.state = 'reserved' then d.next_attempt_at end as again_at
	from headway.digest d
	join headway.appuser u on u.id = d.user_id
	where d.id = any ($1)
	order by d.id`

// tell prints what became of them, and returns an error if there are any.
func (f *failures) tell(ctx context.Context, pool *pgxpool.Pool, out io.Writer) error {
	if len(f.reasons) == 0 {
		return nil
	}
	ids := slices.Sorted(maps.Keys(f.reasons))
	failed := fmt.Errorf("%s could not be sent", plural(len(ids), "digest", "digests"))
	type failure struct {
		ID              int64
		State           string
		Fullname, Error string
		AgainAt         *time.Time
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	rows, _ := pool.Query(ctx, sqlFailures, ids) // CollectRows returns its error
	found, err := pgx.CollectRows(rows, pgx.RowToStructByName[failure])
	if sqlstate.Of(err) == sqlstate.InsufficientPrivilege { // a worker's login cannot see who gets what
		for _, id := range ids {
			fmt.Fprintf(out, "digest %d: %s\n", id, bar.Clean(f.reasons[id].Error()))
		}
		return failed
	}
	if err != nil {
		return fmt.Errorf("look up what failed: %w", err)
	}
	for _, d := range found {
		state := d.State
		if d.AgainAt != nil {
			state = "next attempt at " + d.AgainAt.Local().Format(time.DateTime)
		}
		fmt.Fprintf(out, "digest %d for %s, %s: %s\n", d.ID, bar.Clean(d.Fullname), state, bar.Clean(d.Error))
	}
	return failed
}
