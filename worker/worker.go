package worker

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"

	"headway/sql"
	"headway/worker/gateway"
)

// Worker folds, sends digests, reports that it is alive, and serves health, metrics, the unsubscribe page and, if
// configured, the gateway and the page for browsers. [New] makes one; its fields may be changed until [Worker.Run] is
// called.
type Worker struct {
	Config  Config
	Log     *slog.Logger
	Version string // shown in headway.worker and the metrics

	// MaxFacts bounds a fold. A worker that is behind folds up to 16 times as many; after a fold that failed, fewer.
	// Default: 1000.
	MaxFacts int

	// HeartbeatInterval is how often the worker's row is refreshed. Default: 5s. At a minute or more it would count as
	// gone.
	HeartbeatInterval time.Duration

	// StandbyInterval is how often, on average, a standby tries to lead. Default: 1s.
	StandbyInterval time.Duration

	// PingInterval is how often a sleeping leader checks that the server is still there. Default: 5s. A connection
	// whose other end has vanished is noticed within this plus 5 seconds.
	PingInterval time.Duration

	// ProbeInterval is how often a sleeping leader notifies itself. Default: 30s.
	ProbeInterval time.Duration

	// ProbeTimeout is how long that notification may take before the subscription counts as dead. Default: 5s.
	ProbeTimeout time.Duration

	// RelistenInterval is how long a worker that cannot hear polls before it tries to listen again. Default: 1m.
	RelistenInterval time.Duration

	// SweepInterval is how often to look, apart from the schedule, for mail that is waiting: to be retried, left by a
	// worker that vanished, or reserved by hand; and for a run of digests that failed. Default: 30s.
	SweepInterval time.Duration

	// Now is the clock that the digest schedule follows. Default: [time.Now].
	Now func() time.Time

	// Observe is called with every step of the loop that folds, which waits for it to return. May be nil.
	Observe func(Event)

	// Listener serves HTTP in place of Config.HTTPAddr. Run closes it. Nil: Config.HTTPAddr is used.
	Listener net.Listener

	// Handlers are served in addition to the worker's own, by pattern as for [http.ServeMux].
	Handlers map[string]http.Handler

	// Registry is what /metrics serves. Others may register with it.
	Registry *prometheus.Registry

	id         string
	pool       *pgxpool.Pool
	mailer     *Mailer          // nil: no mail
	gateway    *gateway.Gateway // nil: none
	metrics    *metrics
	status     *status
	most       int            // how many facts the next fold may take; 0: MaxFacts
	background sync.WaitGroup // other users of the pool than the loops
}

// New makes a worker with default settings.
func New(config Config, log *slog.Logger, version string) *Worker {
	id := uuid.NewString()
	registry, status := prometheus.NewRegistry(), newStatus()
	return &Worker{
		Config:            config,
		Log:               log.With(slog.String("worker", id)),
		Version:           version,
		MaxFacts:          1000,
		HeartbeatInterval: 5 * time.Second,
		StandbyInterval:   time.Second,
		PingInterval:      5 * time.Second,
		ProbeInterval:     30 * time.Second,
		ProbeTimeout:      5 * time.Second,
		RelistenInterval:  time.Minute,
		SweepInterval:     30 * time.Second,
		Now:               time.Now,
		Registry:          registry,
		id:                id,
		metrics:           newMetrics(registry, version, status),
		status:            status,
	}
}

// ID is the worker's key in headway.worker.
func (w *Worker) ID() string { return w.id }

// Run works until ctx is done; then it finishes the fold and the mails in hand, releases its locks and its row, and
// returns nil, within 25 seconds. It may be called only once.
//
// It returns an error if it cannot start: a database that cannot be reached at either address, a schema that is not
// this binary's (a [*sql.VersionError]), a login that may do too little or too much (a [*RightsError]), an HTTP address
// that is in use. It also returns one if it can accept no more HTTP connections. What else goes wrong later is logged and
// retried for as long as it takes.
func (w *Worker) Run(ctx context.Context) error {
	session, listener, err := w.begin(ctx)
	if w.pool != nil {
		defer w.closePool()
	}
	if w.mailer != nil {
		defer w.mailer.Sender.Close()
	}
	if err != nil {
		if w.Listener != nil {
			_ = w.Listener.Close()
		}
		if ctx.Err() != nil { // it was told to stop before it could start
			return nil
		}
		return err
	}

	w.Log.Info("the worker has started", slog.String("version", w.Version), slog.Int("schema", int(sql.Latest())))
	defer context.AfterFunc(ctx, func() { w.Log.Info("the worker was told to stop and is finishing what it has in hand") })()
	err = w.runLoops(ctx, w.loops(session, listener))
	w.background.Wait()
	w.retire(ctx)
	w.Log.Info("the worker has stopped")
	return err
}

// begin opens what the loops need. If it fails, the pool and the mailer may have been opened already.
func (w *Worker) begin(ctx context.Context) (first *session, listener net.Listener, err error) {
	if w.pool, err = Connect(ctx, w.Config.DatabaseURL, "headway worker"); err != nil {
		return nil, nil, err
	}
	if err := w.checkRights(ctx, w.pool); err != nil {
		return nil, nil, err
	}
	if w.Config.SMTP == nil {
		w.Log.Warn("no digests are reserved or sent: HEADWAY_SMTP_URL is not set")
	} else {
		w.metrics.mailing.Set(1)
		w.mailer = NewMailer(w.Config, w.pool, w.id, w.Log)
		w.mailer.Observe = func(_ int64, outcome string, _ error) { w.metrics.attempts.WithLabelValues(outcome).Inc() }
	}
	if w.gateway, err = w.newGateway(ctx); err != nil {
		return nil, nil, err
	}
	if first, err = w.open(ctx); err != nil {
		return nil, nil, err
	}
	if w.Config.ListenURL != "" {
		err = CheckSame(ctx, w.pool, first.conn)
		if err == nil { // it may use another login
			err = w.checkRights(ctx, first.conn)
		}
	}
	if err == nil {
		listener, err = w.listen(ctx)
	}
	if err != nil {
		first.close()
		return nil, nil, err
	}
	return first, listener, nil
}

// checkRights returns an error unless a connection's login is fit for a worker.
func (w *Worker) checkRights(ctx context.Context, db sql.Beginner) error {
	rights, err := CheckRights(ctx, db)
	if err != nil {
		return err
	}
	if len(rights.More) > 0 && w.Config.AllowMoreRights {
		w.Log.Info("the login has more rights than a worker should, which HEADWAY_ALLOW_MORE_RIGHTS allows", slog.String("login", rights.Login),
			slog.Any("more", rights.More))
	}
	return rights.Check(w.Config.AllowMoreRights)
}

// closePool closes the connections. Those whose other end is silent are left to give up by themselves, after fifteen
// seconds.
func (w *Worker) closePool() {
	closed := make(chan struct{})
	go func() { w.pool.Close(); close(closed) }()
	select {
	case <-closed:
	case <-time.After(3 * time.Second):
	}
}
