package gateway

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"headway/internal/listen"
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
	turns   *turns
	buffers buffers
	hears   atomic.Bool

	mu     sync.Mutex
	counts map[int64]int // connections by person
	total  int
}

// New makes a gateway.
func New(pool *pgxpool.Pool, connect func(ctx context.Context) (*pgx.Conn, error), verifier *Verifier, log *slog.Logger) *Gateway {
	connections := int(pool.Config().MaxConns)
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
		hub:            newHub(newStore(pool, connections)),
		turns:          &turns{most: max(1, connections/2), queues: map[int64]*queue{}},
		counts:         map[int64]int{},
	}
}

// Run listens for what happens until ctx is done, which is no error, and then ends all connections.
func (g *Gateway) Run(ctx context.Context) error {
	g.hub.open(ctx, g.Log)
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

// beat checks all connections regularly until ctx is done.
func (g *Gateway) beat(ctx context.Context) {
	for pause.For(ctx, min(time.Second, g.PingInterval)) {
		g.hub.beat(g.Now(), g.PingInterval)
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
