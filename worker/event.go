package worker

// Event is a step of the worker, for observers: see [Worker.Observe].
type Event string

// The steps of a worker, in the order in which the first worker goes through them.
const (
	Leading    Event = "leading"     // it became the leader
	StandingBy Event = "standing by" // another one leads
	Folded     Event = "folded"      // it folded at least one fact
	LyingDown  Event = "lying down"  // it found nothing more and is about to try KEY
	Refused    Event = "refused"     // KEY was refused: a silent writer is at work
	Deferred   Event = "deferred"    // the queue holds something that it cannot fold at the moment
	Silenced   Event = "silenced"    // writers would not ring, so it polls
	Asleep     Event = "asleep"      // it holds KEY and is about to wait for the bell
	Rung       Event = "rung"        // the bell woke it
	Polled     Event = "polled"      // it looks without the bell having rung
	Deaf       Event = "deaf"        // LISTEN does not work, so it polls
	Lost       Event = "lost"        // it lost the listening connection
)

func (w *Worker) observe(e Event) {
	if w.Observe != nil {
		w.Observe(e)
	}
}
