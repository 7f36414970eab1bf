// Package gateway measures what it costs to have many browsers listen: memory of a connection that is idle, the time
// from a commit until everybody has been told, and how many events are delivered a second.
//
// headway's gateway is compared with a hub without any logic, which is as little as one can do in Go, and with
// socket.io behind its Postgres adapter, on the same work in the same run. Each is a process of its own. The clients are
// goroutine-less and live in the process that measures: they check that each message comes once and in order, and share
// the cores with the server, whoever that is.
//
// What is measured of the write path, of progress and of mail, does not belong here.
package gateway

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"headway/bench/lab"
	"headway/internal/pause"
)

// plan is how much is measured.
type plan struct {
	idle      int           // connections whose memory is measured
	settling  time.Duration // how long memory may take to settle
	receivers []int         // of messages at full speed; the first of them also of those that come now and then
	rate      float64       // messages a second, now and then
	paced     time.Duration
	full      time.Duration
	rounds    int
	withNode  bool
}

func newPlan(quick bool) plan {
	if quick {
		return plan{idle: 2000, settling: 3 * time.Second, receivers: []int{1000, 2000}, rate: 10, paced: 2 * time.Second, full: time.Second, rounds: 1, withNode: true}
	}
	return plan{
		// Go collects garbage at least every two minutes, and gives back memory after it.
		idle: 10_000, settling: 150 * time.Second, receivers: []int{1000, 5000}, rate: 10, paced: 10 * time.Second, full: 4 * time.Second, rounds: 3, withNode: true,
	}
}

// Idle is what connections cost while nothing happens.
type Idle struct {
	Connections int
	All         time.Duration // from when all wanted to connect until all had
	Resident    float64       // bytes of the process for each
	Heap, Stack float64       // bytes for each of Go's heap and stacks in use; 0: not written in Go
}

// Speed is what was delivered at full speed.
type Speed struct {
	Receivers int
	PerSecond float64       // events
	CPU       time.Duration // of the server for each event
}

// Standing is what a party came to: medians of the rounds, each figure for itself.
type Standing struct {
	party
	Idle   Idle
	Delays Delays // at plan.rate messages a second to the fewest receivers
	Speeds []Speed
}

// Result is what was found.
type Result struct {
	plan      plan
	Standings []Standing
}

// Measure measures in a database of a lab or, to see in a minute that everything works, fewer connections for a shorter
// time. It tells log what is being done. It compiles headway and installs socket.io, so it runs inside the module, with
// node and npm on the path.
func Measure(ctx context.Context, l *lab.Lab, quick bool, log func(format string, args ...any)) (Result, error) {
	return measure(ctx, l, newPlan(quick), log)
}

func measure(ctx context.Context, l *lab.Lab, p plan, log func(format string, args ...any)) (Result, error) {
	if err := allowFiles(max(p.idle, mostParties*slices.Max(p.receivers)) + 500); err != nil {
		return Result{}, err
	}
	db, err := people(ctx, l, max(p.idle, slices.Max(p.receivers)))
	if err != nil {
		return Result{}, err
	}
	all, err := parties(ctx, l.Dir, db, p.withNode)
	if err != nil {
		return Result{}, err
	}

	r := Result{plan: p, Standings: make([]Standing, len(all))}
	for i, one := range all {
		r.Standings[i].party = one
		if r.Standings[i].Idle, err = measureIdle(ctx, one, p); err != nil {
			return Result{}, fmt.Errorf("%s: idle connections: %w", one.name, err)
		}
		log("%-10s %s", one.name, r.Standings[i].Idle)
	}
	return r, r.race(ctx, log)
}

// author writes the messages.
const author = 1_000_000

// people makes a database in which n people are customers of one project.
func people(ctx context.Context, l *lab.Lab, n int) (*lab.Database, error) {
	return l.Headway(ctx, "gateway", lab.SQL(fmt.Sprintf(`
insert into headway.appuser (id, fullname) select i, 'Person ' || i from generate_series(1, %d) i;
insert into headway.appuser (id, fullname) values (%d, 'Dora');
insert into headway.project (id, name) values (1, 'Website');
insert into headway.member (project_id, user_id, role) select 1, i, 'customer' from generate_series(1, %d) i;
insert into headway.member (project_id, user_id, role) values (1, %d, 'staff');
insert into headway.task (project_id, title) select 1, 'Task ' || i from generate_series(1, 20) i`, n, author, n, author)))
}

// mostParties have clients at a time.
const mostParties = 3

// allowFiles lets this process and those it starts have n files open.
func allowFiles(n int) error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("getrlimit: %w", err)
	}
	if limit.Max < uint64(n) {
		limit.Max = uint64(n) // for whoever may
	}
	limit.Cur = limit.Max
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("%d files have to be open at a time, see ulimit -n: %w", n, err)
	}
	return nil
}

// measureIdle connects to a server that has just started, all at once as after a restart, and looks at its memory.
func measureIdle(ctx context.Context, one party, p plan) (idle Idle, err error) {
	s, err := one.start(ctx)
	if err != nil {
		return Idle{}, err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	before, err := s.settle(ctx, p.settling/10)
	if err != nil {
		return Idle{}, err
	}
	began := time.Now()
	f, err := open(s.address, p.idle, s.dialect)
	if err != nil {
		return Idle{}, err
	}
	defer f.close()
	if err := f.waitUntilThere(ctx); err != nil {
		return Idle{}, err
	}
	idle = Idle{Connections: p.idle, All: time.Since(began)}
	after, err := s.settle(ctx, p.settling)
	if err != nil {
		return Idle{}, err
	}
	n := float64(p.idle)
	idle.Resident, idle.Heap, idle.Stack = (after.resident-before.resident)/n, (after.heap-before.heap)/n, (after.stack-before.stack)/n
	// They must still be there.
	return idle, f.wait(ctx, func() bool { return true })
}

// footprint is what a server has in memory, in bytes.
type footprint struct{ resident, heap, stack float64 }

// settle waits and returns the footprint then.
func (s *server) settle(ctx context.Context, d time.Duration) (found footprint, err error) {
	if !pause.For(ctx, d) {
		return footprint{}, ctx.Err()
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", s.pid))
	if err != nil {
		return footprint{}, err
	}
	pages, err := strconv.ParseFloat(strings.Fields(string(status))[1], 64)
	if err != nil {
		return footprint{}, fmt.Errorf("/proc/%d/statm: %w", s.pid, err)
	}
	found.resident = pages * float64(os.Getpagesize())
	if s.memory != nil {
		found.heap, found.stack, err = s.memory(ctx)
	}
	return found, err
}

// race measures the delivery while all of the parties run.
func (r *Result) race(ctx context.Context, log func(format string, args ...any)) (err error) {
	servers := make([]*server, len(r.Standings))
	for i, one := range r.Standings {
		if servers[i], err = one.start(ctx); err != nil {
			return fmt.Errorf("%s: %w", one.name, err)
		}
		defer func() { err = errors.Join(err, servers[i].stop()) }()
	}
	for i, receivers := range r.plan.receivers {
		if err := r.deliver(ctx, servers, receivers, i == 0, log); err != nil {
			return fmt.Errorf("%d receivers: %w", receivers, err)
		}
	}
	return nil
}

// deliver measures the delivery to so many, party after party, round after round.
func (r *Result) deliver(ctx context.Context, servers []*server, receivers int, paced bool, log func(format string, args ...any)) error {
	fleets := make([]*fleet, len(servers))
	for i, s := range servers {
		var err error
		if fleets[i], err = open(s.address, receivers, s.dialect); err != nil {
			return err
		}
		defer fleets[i].close()
		if err := fleets[i].waitUntilThere(ctx); err != nil {
			return fmt.Errorf("%s: %w", r.Standings[i].name, err)
		}
	}
	delays, speeds := make([][]Delays, len(servers)), make([][]Speed, len(servers))
	for range r.plan.rounds {
		for i, s := range servers {
			name := r.Standings[i].name
			if paced {
				d, err := fleets[i].pace(ctx, s.publish, r.plan.rate, r.plan.paced)
				if err != nil {
					return fmt.Errorf("%s: %v messages a second: %w", name, r.plan.rate, err)
				}
				delays[i] = append(delays[i], d)
				log("%-10s %v messages a second to %d: p50 %v, p99 %v", name, r.plan.rate, receivers, d.P50, d.P99)
			}
			speed, err := s.rush(ctx, fleets[i], r.plan.full)
			if err != nil {
				return fmt.Errorf("%s: full speed: %w", name, err)
			}
			speeds[i] = append(speeds[i], speed)
			log("%-10s full speed to %d: %.0f events a second, %v of CPU each", name, receivers, speed.PerSecond, speed.CPU)
		}
	}
	for i := range r.Standings {
		r.Standings[i].Speeds = append(r.Standings[i].Speeds, Speed{
			Receivers: receivers,
			PerSecond: lab.MedianOf(speeds[i], func(s Speed) float64 { return s.PerSecond }),
			CPU:       lab.MedianOf(speeds[i], func(s Speed) time.Duration { return s.CPU }),
		})
		if paced {
			r.Standings[i].Delays = Delays{
				P50: lab.MedianOf(delays[i], func(d Delays) time.Duration { return d.P50 }),
				P99: lab.MedianOf(delays[i], func(d Delays) time.Duration { return d.P99 }),
			}
		}
	}
	return nil
}

// rush measures the full speed, and what of it the server's CPU did.
func (s *server) rush(ctx context.Context, f *fleet, d time.Duration) (Speed, error) {
	before, err := lab.ProcessCPU(s.pid)
	if err != nil {
		return Speed{}, err
	}
	perSecond, events, err := f.rush(ctx, s.publish, d)
	if err != nil {
		return Speed{}, err
	}
	after, err := lab.ProcessCPU(s.pid)
	return Speed{Receivers: len(f.receivers), PerSecond: perSecond, CPU: (after - before) / time.Duration(max(events, 1))}, err
}
