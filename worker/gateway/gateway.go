package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"headway/internal/listen"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"headway/internal/pause"
)

// Gateway serves browsers. [New] makes one with defaults; fields may be changed until it is used.
type Gateway struct {
	Verifier *Verifier
	Log      *slog.Logger

	// Connect opens the connection that listens: a direct one, to the same database as the pool.
	Connect func(ctx context.Context) (*pgx.Conn, error)

	// Origins are the origins of pages that may connect, as scheme://host[:port], besides the gateway's own.
	Origins []string

	// MaxConnections bounds how many clients may listen at a time. Default: 20,000.
	MaxConnections int

	// MaxPerPerson bounds how many of them may belong to one person. Default: 30.
	MaxPerPerson int

	// MaxWaiting is how many bytes may be waiting for a slow client when something more arrives. Default: 256 KiB.
	MaxWaiting int

	// HelloTimeout is how long a WebSocket may stay open without a token. Default: 10s.
	HelloTimeout time.Duration

	// PingInterval is how often to check whether a client is still there. Default: 25s.
	PingInterval time.Duration

	// LookInterval is how often to check that the server is there and would notify. Default: 5s.
	LookInterval time.Duration

	// ProbeInterval is how often to check that notifications sent through the pool's URL arrive. Default: 30s.
	ProbeInterval time.Duration

	// ProbeTimeout is how long that may take, separately for sending and for arriving. Default: 5s.
	ProbeTimeout time.Duration

	// Now is the clock for expiry. Default: [time.Now].
	Now func() time.Time

	hub     *hub
	buffers buffers
	hears   atomic.Bool

	mu     sync.Mutex
	counts map[int64]int // connections by person
	total  int
}

// New makes a gateway.
func New(pool *pgxpool.Pool, connect func(ctx context.Context) (*pgx.Conn, error), verifier *Verifier, log *slog.Logger) *Gateway {
	return &Gateway{
		Verifier:       verifier,
		Log:            log,
		Connect:        connect,
		MaxConnections: 20_000,
		MaxPerPerson:   30,
		MaxWaiting:     256 << 10,
		HelloTimeout:   10 * time.Second,
		PingInterval:   25 * time.Second,
		LookInterval:   5 * time.Second,
		ProbeInterval:  30 * time.Second,
		ProbeTimeout:   5 * time.Second,
		Now:            time.Now,
		hub:            newHub(&store{pool: pool}, log),
		counts:         map[int64]int{},
	}
}

// Run listens for what happens until ctx is done, which is no error, and then ends all connections.
func (g *Gateway) Run(ctx context.Context) error {
	g.hub.log = g.Log
	g.hub.open(ctx)
	defer g.hub.close()
	var beating sync.WaitGroup
	beating.Go(func() { g.beat(ctx) })
	defer beating.Wait()
	deaf := false
	reconnect := pause.Backoff{First: 100 * time.Millisecond, Max: 5 * time.Second}
	for ctx.Err() == nil {
		began := time.Now()
		err := g.listen(ctx)
		heard := g.hears.Swap(false)
		if ctx.Err() != nil {
			break
		}
		if errors.Is(err, listen.ErrDeaf) && !heard {
			if !deaf {
				g.Log.Warn("notifications do not arrive, so the gateway polls: is DATABASE_URL a pooler in transaction mode? "+
					"Set HEADWAY_LISTEN_URL to a direct connection to the same database",
					slog.Duration("look_interval", g.LookInterval), slog.Duration("tries_again_in", g.ProbeInterval))
			}
			deaf = true
			reconnect.Reset()
			g.lookUntil(ctx, time.Now().Add(g.ProbeInterval))
			continue
		}
		g.Log.Warn("the gateway receives no notifications, reconnecting", slog.Any("error", err))
		deaf = false
		if time.Since(began) > time.Minute {
			reconnect.Reset()
		}
		pause.For(ctx, reconnect.Next())
	}
	return nil
}

// Hears reports whether notifications arrive.
func (g *Gateway) Hears() bool { return g.hears.Load() }

// Connections returns how many clients are listening.
func (g *Gateway) Connections() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.total
}

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
	for _, channel := range []string{"headway_events", probe} {
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
		case notification.Channel == "headway_events":
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
	if heard {
		g.hears.Store(true)
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

// beat checks all connections regularly until ctx is done.
func (g *Gateway) beat(ctx context.Context) {
	ticker := time.NewTicker(min(time.Second, g.PingInterval))
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			g.hub.beat(g.Now(), g.PingInterval)
		}
	}
}

// limits returns the limits of each connection.
func (g *Gateway) limits() limits {
	return limits{waiting: g.MaxWaiting, write: g.PingInterval, now: g.Now}
}

var errTooMany = errors.New("too many connections")

// admit sets whose connection it is and counts it, unless there are too many. leave undoes that.
func (g *Gateway) admit(c *conn, identity Identity) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.total >= g.MaxConnections || g.counts[identity.UserID] >= g.MaxPerPerson {
		return errTooMany
	}
	g.total++
	g.counts[identity.UserID]++
	c.identify(identity)
	return nil
}

// leave removes a connection from everything; it is no error if it was never admitted.
func (g *Gateway) leave(c *conn) {
	if c.UserID == 0 {
		return
	}
	g.hub.remove(c)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.total--
	if g.counts[c.UserID]--; g.counts[c.UserID] == 0 {
		delete(g.counts, c.UserID)
	}
}

// renew lets a connection outlive its token by means of a newer one for the same person.
func (g *Gateway) renew(c *conn, token string) error {
	identity, err := g.Verifier.Verify(token)
	if err != nil || identity.UserID != c.UserID {
		return errExpired
	}
	c.renew(identity.Expires)
	return nil
}

// allowed reports whether a page of this origin may connect.
func (g *Gateway) allowed(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" || slices.Contains(g.Origins, origin) {
		return true
	}
	parsed, err := url.Parse(origin)
	return err == nil && parsed.Host == r.Host
}
