// Package mail measures how many digests headway's worker sends in a second beside a bare SMTP client that sends the
// same bytes: to the same server, over as many connections, in turns, medians of rounds.
//
// The worker runs as a process of its own, as an administrator runs it. What it does and the bare client does not is all
// that makes a digest: to find out what a person has not read, to write the mail, and to have each step on record, with
// a durable commit, before the next.
//
// What a digest costs to reserve belongs to bench/growth.
package mail

import (
	"context"
	"fmt"
	"time"

	"headway/bench/lab"
	"headway/bench/process"
	"headway/internal/smtptest"
)

// plan is how much is sent, and how.
type plan struct {
	cases  []conditions
	rounds int
}

// conditions are those of one comparison.
type conditions struct {
	delay       time.Duration // that the server takes to accept a mail
	connections int
	digests     int // each for another person
}

func newPlan(quick bool) plan {
	const slow = 20 * time.Millisecond
	if quick {
		return plan{rounds: 1, cases: []conditions{{slow, 4, 100}, {slow, 16, 200}, {0, 4, 200}, {0, 16, 200}}}
	}
	return plan{rounds: 3, cases: []conditions{{slow, 4, 1500}, {slow, 16, 5000}, {0, 4, 3000}, {0, 16, 3000}}}
}

// Result is what was found, case by case.
type Result []CaseResult

// CaseResult is one comparison. Figures are medians of the rounds, each for itself.
type CaseResult struct {
	Delay       time.Duration // that the server takes to accept a mail
	Connections int
	Digests     int
	PerSecond   float64       // digests that headway sends
	Bare        float64       // mails a second that the bare client sends
	Ratio       float64       // of the two in a round
	CPU         time.Duration // of worker, database and mail server for a digest; 0: unknown
	BareCPU     time.Duration // of client and mail server for a mail; 0: unknown
	Size        float64       // bytes of a mail, on average
}

// Measure measures in databases of a lab or, to see in some seconds that everything works, sends fewer digests, once. It
// tells log what is being done. It compiles headway, so it runs inside the module only. An error is also that somebody
// did not get exactly one digest, or that the ledger does not say so.
func Measure(ctx context.Context, l *lab.Lab, quick bool, log func(format string, args ...any)) (Result, error) {
	return measure(ctx, l, newPlan(quick), log)
}

func measure(ctx context.Context, l *lab.Lab, p plan, log func(format string, args ...any)) (Result, error) {
	program, err := process.Build(ctx, l.Dir)
	if err != nil {
		return nil, err
	}
	if err := l.Template(ctx, template, lab.Installed(p.fill)); err != nil {
		return nil, err
	}
	result := make(Result, len(p.cases))
	for i, c := range p.cases {
		var ours, bare []run
		for round := range p.rounds {
			now, err := worker(ctx, l, program, c)
			if err != nil {
				return nil, fmt.Errorf("headway, %s: %w", c, err)
			}
			ours = append(ours, now)
			other, err := loop(ctx, l, now.mails, c)
			if err != nil {
				return nil, fmt.Errorf("the bare client, %s: %w", c, err)
			}
			bare = append(bare, other)
			log("mail   %s  %d/%d  %5.0f digests a second, %v CPU; the bare client %5.0f, %v; ratio %.2f", c, round+1, p.rounds,
				now.perSecond, now.cpu.Round(time.Microsecond), other.perSecond, other.cpu.Round(time.Microsecond), now.perSecond/other.perSecond)
		}
		result[i] = c.summarize(ours, bare)
	}
	return result, nil
}

// String returns the conditions, for people.
func (c conditions) String() string {
	return fmt.Sprintf("%d connections to %s", c.connections, server(c.delay))
}

// server says what kind of server takes so long.
func server(delay time.Duration) string {
	if delay == 0 {
		return "a server that answers at once"
	}
	return fmt.Sprintf("a server that takes %v", delay)
}

// run is one way to send, in one round.
type run struct {
	perSecond float64
	cpu       time.Duration // for each mail
	mails     []smtptest.Message
}

// summarize returns the medians of what was measured in turns.
func (c conditions) summarize(ours, bare []run) CaseResult {
	ratios := make([]float64, len(ours))
	for i := range ours {
		ratios[i] = ours[i].perSecond / bare[i].perSecond
	}
	bytes := 0
	for _, m := range ours[0].mails {
		bytes += len(m.Data)
	}
	perSecond := func(r run) float64 { return r.perSecond }
	cpu := func(r run) time.Duration { return r.cpu }
	return CaseResult{
		Delay: c.delay, Connections: c.connections, Digests: c.digests,
		PerSecond: lab.MedianOf(ours, perSecond), Bare: lab.MedianOf(bare, perSecond), Ratio: lab.Median(ratios),
		CPU: lab.MedianOf(ours, cpu), BareCPU: lab.MedianOf(bare, cpu),
		Size: float64(bytes) / float64(len(ours[0].mails)),
	}
}
