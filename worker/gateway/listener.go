package gateway

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"

	"headway/internal/listen"
	"headway/internal/pause"
)

// lookUntil looks repeatedly until end, since nothing is heard.
func (g *Gateway) lookUntil(ctx context.Context, end time.Time) {
	for ctx.Err() == nil && time.Now().Before(end) {
		g.hub.look()
		pause.For(ctx, pause.Jitter(min(g.LookInterval, time.Until(end))))
	}
}

// listen hears notifications on one connection, until it is lost.
func (g *Gateway) listen(ctx context.Context) error {
	conn, err := g.Connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	probe := listen.ProbeChannel()
	for _, channel := range []string{listen.Events, probe} {
		if err := listen.To(ctx, conn, channel); err != nil {
			return err
		}
	}
	var known hearing
	for due := time.Now(); ; {
		if err := g.ping(ctx, conn, &known); err != nil {
			return err
		}
		if !time.Now().Before(due) {
			if err := g.probe(ctx, conn, probe); err != nil {
				return err
			}
			due = time.Now().Add(g.ProbeInterval)
		}
		if _, err := g.hear(ctx, conn, g.LookInterval, ""); err != nil {
			return err
		}
	}
}

// hear passes on notifications for d, or until one arrives on the probe's channel, and reports whether it did.
func (g *Gateway) hear(ctx context.Context, conn *pgx.Conn, d time.Duration, probe string) (bool, error) {
	deadline := time.Now().Add(d)
	for {
		notification, err := listen.Next(ctx, conn, deadline)
		switch {
		case err != nil || notification == nil:
			return false, err
		case notification.Channel == listen.Events:
			g.hub.hear(notification.Payload)
		case notification.Channel == probe:
			return true, nil
		default: // a late probe
		}
	}
}

// probe returns [listen.ErrDeaf] if a notification sent over a new connection is not heard.
func (g *Gateway) probe(ctx context.Context, conn *pgx.Conn, channel string) error {
	sent := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(ctx, g.ProbeTimeout)
		defer cancel()
		sent <- listen.Notify(ctx, g.hub.store.pool, channel)
	}()
	heard, err := g.hear(ctx, conn, 2*g.ProbeTimeout, channel)
	if heard && !g.hears.Swap(true) {
		return listen.Keep(ctx, conn)
	}
	if heard || err != nil {
		return err
	}
	if err := <-sent; err != nil {
		g.Log.Warn("could not test whether the gateway receives notifications", slog.Any("error", err))
		return nil
	}
	return listen.ErrDeaf
}

// pingTimeout is how long the server may take to answer.
const pingTimeout = 5 * time.Second

// hearing is what is known about whether everything is notified.
type hearing struct {
	setting string // the version of the setting's row
	until   int64  // transactions before this one may not notify; 0: none of them is left
}

const sqlHearing = `
select
  headway.notify_mode() <> 'off', s.xmin::text,
  pg_snapshot_xmin(pg_current_snapshot())::text::bigint, pg_snapshot_xmax(pg_current_snapshot())::text::bigint
from headway.setting s where s.name = 'notify_payload'`

// ping checks that the server is there, and has everything read again if it may not have notified everything: at first,
// while notifying is off, after it may have been off, and until the transactions that ran then have ended.
func (g *Gateway) ping(ctx context.Context, conn *pgx.Conn, known *hearing) error {
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	var notifies bool
	var setting string
	var oldest, next int64
	if err := conn.QueryRow(ctx, sqlHearing).Scan(&notifies, &setting, &oldest, &next); err != nil {
		return fmt.Errorf("ask whether notifications are on: %w", err)
	}
	if !notifies || setting != known.setting {
		*known = hearing{setting, next}
	}
	if known.until != 0 {
		g.hub.look()
	}
	if notifies && oldest >= known.until {
		known.until = 0
	}
	return nil
}
