package worker

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"headway/worker/gateway"
	"headway/worker/smtp"
)

// metrics are the worker's counters. The gauges, which show the present state, are read from the status.
type metrics struct {
	facts         prometheus.Counter
	foldErrors    prometheus.Counter
	foldSeconds   prometheus.Histogram
	reconnects    prometheus.Counter
	wakes         prometheus.Counter
	polls         prometheus.Counter
	probeFailures prometheus.Counter
	panics        prometheus.Counter
	mailErrors    prometheus.Counter
	attempts      *prometheus.CounterVec
	digests       *prometheus.GaugeVec
	mailing       prometheus.Gauge
}

func newMetrics(registry *prometheus.Registry, version string, status *status) *metrics {
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))

	registered := promauto.With(registry)

	counter := func(name, help string) prometheus.Counter {
		return registered.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	gauge := func(name, help string, value func(condition) float64) {
		registered.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return value(status.read()) })
	}
	gauge("headway_leader", "1 if this worker folds as the leader, or polls.",
		func(c condition) float64 { return oneIf(c.leader) })
	gauge("headway_listening", "1 if this worker receives notifications.",
		func(c condition) float64 { return oneIf(c.listening) })
	gauge("headway_schema_ok", "1 if the schema is the one that this worker was built with.",
		func(c condition) float64 { return oneIf(c.schema == nil) })
	gauge("headway_pending_facts", "Facts waiting to be folded, at the last heartbeat.",
		func(c condition) float64 { return c.queue.facts })
	gauge("headway_oldest_fact_age_seconds", "How long the oldest fact that waits to be folded has waited, at the last heartbeat.",
		func(c condition) float64 { return c.queue.age })
	gauge("headway_notification_queue_usage", "How full the server's notification queue is, from 0 to 1; at 0.5 and above, no notifications are sent.",
		func(c condition) float64 { return c.queue.notifications })
	gauge("headway_oldest_digest_age_seconds", "How long the oldest digest that could be sent has waited, at the last heartbeat.",
		func(c condition) float64 { return c.queue.digestAge })

	registered.NewGaugeVec(prometheus.GaugeOpts{Name: "headway_info", Help: "Always 1."}, []string{"version"}).WithLabelValues(version).Set(1)
	attempts := registered.NewCounterVec(prometheus.CounterOpts{
		Name: "headway_digest_attempts_total",
		Help: "Attempts to send a digest, by outcome: sent, retry, refused, rejected or unknown.",
	}, []string{"outcome"})
	for _, outcome := range []string{"sent", string(smtp.Retry), string(smtp.Refused), string(smtp.Rejected), string(smtp.Unknown)} {
		attempts.WithLabelValues(outcome) // start at 0, so that the first of each counts as an increase
	}

	return &metrics{
		attempts: attempts,
		digests: registered.NewGaugeVec(prometheus.GaugeOpts{
			Name: "headway_digests",
			Help: "Digests in the ledger by state, at the last heartbeat.",
		}, []string{"state"}),
		mailing: registered.NewGauge(prometheus.GaugeOpts{
			Name: "headway_mailing", Help: "1 if this worker has a mail server to send digests with.",
		}),
		mailErrors: counter("headway_mail_errors_total", "How often digests could not be reserved or sent because the mail server or the ledger was not available."),
		facts:      counter("headway_facts_folded_total", "Facts that were folded."),
		foldErrors: counter("headway_fold_errors_total", "Folds that failed and were retried."),
		foldSeconds: registered.NewHistogram(prometheus.HistogramOpts{
			Name:    "headway_fold_seconds",
			Help:    "How long successful folds took, including those that found nothing.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 16), // half a millisecond to 16 seconds
		}),
		reconnects:    counter("headway_reconnects_total", "How often the listening connection was lost, or could not be opened."),
		wakes:         counter("headway_doorbell_wakes_total", "How often the bell ended a sleep."),
		polls:         counter("headway_polls_total", "How often the worker looked without being rung."),
		probeFailures: counter("headway_probe_failures_total", "Notifications to itself that the worker did not receive."),
		panics:        counter("headway_panics_total", "Loops of the worker that panicked and were restarted."),
	}
}

// ledger records how many digests are in each state, also 0, so that the first of each counts as an increase.
func (m *metrics) ledger(digests map[string]float64) {
	for _, state := range []string{"reserved", "sending", "sent", "read_before_sending", "failed", "held", "cancelled"} {
		m.digests.WithLabelValues(state).Set(digests[state])
	}
}

// registerGateway makes the metrics include those of a gateway.
func registerGateway(registry *prometheus.Registry, g *gateway.Gateway) {
	registered := promauto.With(registry)
	registered.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "headway_gateway_connections", Help: "Clients listening to this worker's gateway.",
	}, func() float64 { return float64(g.Connections()) })
	registered.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "headway_gateway_listening", Help: "1 if the gateway receives notifications; otherwise it polls every few seconds.",
	}, func() float64 { return oneIf(g.Hears()) })
}

func oneIf(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
