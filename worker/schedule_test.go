package worker_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"headway/internal/pgtest"
	"headway/internal/smtptest"
	"headway/worker"
)

// That a schedule that is none is refused at the start, with the reason, is in TestAWrongValueIsNamedWithWhatWouldBeRight.

// ticks is a schedule that comes often, and counts its times.
type ticks struct {
	interval time.Duration
	asked    atomic.Int64
}

func (s *ticks) Next(after time.Time) time.Time {
	s.asked.Add(1)
	return after.Add(s.interval)
}

// once is a schedule with one time that is soon; the next one is far away.
type once struct{ at atomic.Pointer[time.Time] }

func (s *once) Next(after time.Time) time.Time {
	at := after.Add(20 * time.Millisecond).Truncate(time.Millisecond) // as the database keeps it
	if !s.at.CompareAndSwap(nil, &at) {
		return after.AddDate(1, 0, 0)
	}
	return at
}

// scheduled is a database with somebody who is due, a mail server, and what a worker needs to know of both.
func scheduled(t *testing.T, more ...string) (config worker.Config, conn *pgx.Conn, server *smtptest.Server) {
	t.Helper()
	p := unread(t, 1, smtptest.Options{})
	return p.config(more...), p.conn, p.server
}

// config is that of a worker that sends, once a year unless more says otherwise.
func (p *post) config(more ...string) worker.Config {
	p.t.Helper()
	return config(p.t, p.db.URL, append([]string{
		"HEADWAY_SMTP_URL", p.server.URL(), "HEADWAY_MAIL_FROM", "headway@example.com", "HEADWAY_DIGEST_SCHEDULE", "0 0 1 1 *",
	}, more...)...)
}

func awaitMails(t *testing.T, server *smtptest.Server, mails int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	if _, err := server.Wait(ctx, mails); err != nil {
		t.Fatal(err)
	}
}

// runs counts the runs that are on record.
func runs(t *testing.T, conn *pgx.Conn) int {
	t.Helper()
	return value[int](t, conn, `select count(*) from headway.digest_run`)
}

func TestTheScheduleSendsWhatIsDueOnce(t *testing.T) {
	t.Parallel()
	config, conn, server := scheduled(t)
	config.DigestSchedule.Schedule = &ticks{interval: 20 * time.Millisecond}
	w := start(t, config)
	awaitMails(t, server, 1)
	after := runs(t, conn)
	pgtest.Eventually(t, soon, func() bool { return runs(t, conn) > after+3 }, "it runs no more")
	w.stop()
	if n := value[int](t, conn, `select count(*) from headway.digest where state = 'sent'`); n != 1 || len(server.Messages()) != 1 {
		t.Errorf("%d are called sent, %d mails came", n, len(server.Messages()))
	}
}

func TestARunPrunesTheLedger(t *testing.T) {
	t.Parallel()
	config, conn, _ := scheduled(t)
	config.DigestSchedule.Schedule = &once{}
	pgtest.Execute(t, conn, `insert into headway.digest_run (slot, finished_at) values (now() - interval '1 year', now() - interval '1 year')`)
	start(t, config)
	pgtest.Eventually(t, soon, func() bool {
		return value[bool](t, conn, `select min(slot) > now() - interval '1 hour' from headway.digest_run`)
	}, "what is old is still there")
}

// TestTheScheduleGoesOnThoughTheClockIsPutBack: of a clock that is ahead, or shows another year, for a while only.
func TestTheScheduleGoesOnThoughTheClockIsPutBack(t *testing.T) {
	t.Parallel()
	config, conn, server := scheduled(t)
	config.DigestSchedule.Schedule = &ticks{interval: time.Second}
	var ahead atomic.Int64
	ahead.Store(int64(time.Hour))
	start(t, config, func(w *worker.Worker) {
		w.SweepInterval = 50 * time.Millisecond
		w.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	})
	awaitMails(t, server, 1)
	ahead.Store(0)
	pgtest.Execute(t, conn, `select headway.post(2, 'broadcast', 'After it.')`)
	awaitMails(t, server, 2)
}

// TestARunInTheFutureCountsForNone: a worker whose clock was ahead has recorded it.
func TestARunInTheFutureCountsForNone(t *testing.T) {
	t.Parallel()
	config, conn, server := scheduled(t)
	config.DigestSchedule.Schedule = &once{}
	var failed atomic.Int64
	log := newLogbook(t, func(message string) {
		if message == "digests could not be reserved, retrying" {
			failed.Add(1)
		}
	})
	pgtest.Execute(t, conn, breakdown)
	start(t, config, func(w *worker.Worker) { w.Log, w.SweepInterval = slog.New(log), 50*time.Millisecond })
	pgtest.Eventually(t, soon, func() bool { return failed.Load() > 0 }, "no run fails")
	pgtest.Execute(t, conn, `insert into headway.digest_run (slot) values (now() + interval '1 hour')`)
	before := failed.Load()
	pgtest.Eventually(t, soon, func() bool { return failed.Load() > before+1 }, "it is not tried again")
	pgtest.Execute(t, conn, mend)
	awaitMails(t, server, 1)
}

// TestMailGoesOnAfterASilence loses the network: every connection of the pool leads nowhere, also the one over which the end
// of a mail is being recorded.
func TestMailGoesOnAfterASilence(t *testing.T) {
	t.Parallel()
	p := unread(t, 1, smtptest.Options{})
	proxy := newProxy(t, p.db.URL)
	c := p.config()
	c.DatabaseURL = pgtest.AsWorker(proxy.url(p.db.URL))
	w := start(t, c, func(w *worker.Worker) {
		w.SweepInterval, w.PingInterval = 2*time.Second, 200*time.Millisecond
	})
	w.await(worker.Leading, worker.Asleep)
	pgtest.Execute(t, p.conn, `select headway.reserve_digests()`)
	awaitMails(t, p.server, 1)
	proxy.silence()
	pgtest.Eventually(t, 2*soon, func() bool {
		return value[int](t, p.conn, `select count(*) from headway.digest where state = 'sent'`) == 1
	}, "the end of the mail is not recorded")
	pgtest.Execute(t, p.conn, `select headway.post(2, 'broadcast', 'After it.')`)
	pgtest.Execute(t, p.conn, `select headway.reserve_digests()`)
	awaitMails(t, p.server, 2)
}

func TestRunsThatWouldOverlapAreSkipped(t *testing.T) {
	t.Parallel()
	p := unread(t, 1, smtptest.Options{})
	config, conn, other, server := p.config(), p.conn, p.db.Conn(t), p.server
	schedule := &ticks{interval: 20 * time.Millisecond}
	config.DigestSchedule.Schedule = schedule

	// As long as another reserves, a run waits.
	pgtest.Execute(t, other, `begin; select pg_advisory_xact_lock(headway.lock_key('reserve'))`)
	start(t, config)
	pgtest.Eventually(t, soon, func() bool { return advisoryWaits(t, conn) > 0 }, "no run begins")
	began := schedule.asked.Load()
	pgtest.Eventually(t, soon, func() bool { return schedule.asked.Load() > began+20 }, "time stands still")
	if n := advisoryWaits(t, conn); n != 1 {
		t.Errorf("%d runs wait", n)
	}
	pgtest.Execute(t, other, `commit`)
	awaitMails(t, server, 1)
	pgtest.Eventually(t, soon, func() bool { return runs(t, conn) > 2 }, "it runs no more")
}

func TestAPanicInARunLeavesTheScheduleAlive(t *testing.T) {
	t.Parallel()
	config, conn, server := scheduled(t)
	config.DigestSchedule.Schedule = &ticks{interval: 20 * time.Millisecond}
	// Somebody's log is what panics here: it is called in the middle of a run.
	var once sync.Once
	panicked := make(chan struct{})
	log := newLogbook(t, func(message string) {
		if message == "digests were reserved" {
			once.Do(func() { close(panicked); panic("a defect") })
		}
	})
	w := start(t, config, func(w *worker.Worker) { w.Log = slog.New(log) })
	await(t, "the panic", panicked)
	pgtest.Eventually(t, soon, func() bool { return log.has("the schedule") }, "nobody hears of it")
	after := runs(t, conn)
	pgtest.Eventually(t, soon, func() bool { return runs(t, conn) > after+2 }, "it runs no more")
	awaitMails(t, server, 1)
	pgtest.Execute(t, conn, `select headway.post(2, 'broadcast', 'After it.')`)
	awaitMails(t, server, 2)
	w.stop()
	if len(server.Messages()) != 2 {
		t.Errorf("%d mails", len(server.Messages()))
	}
}

// breakdown has every digest that is reserved fail, until mend is run.
const (
	breakdown = `
		create function public.fail() returns trigger language plpgsql as $$ begin raise 'no room'; end $$;
		create trigger fail before insert on headway.digest for each row execute function public.fail()`
	mend = `drop trigger fail on headway.digest`
)

func TestARunThatFailsIsTriedAgain(t *testing.T) {
	t.Parallel()
	config, conn, server := scheduled(t)
	config.DigestSchedule.Schedule = &once{}
	log := newLogbook(t, nil)
	pgtest.Execute(t, conn, breakdown)
	w := start(t, config, func(w *worker.Worker) { w.Log, w.SweepInterval = slog.New(log), time.Second })
	pgtest.Eventually(t, soon, func() bool { return log.has("digests could not be reserved, retrying") }, "no run fails")
	if metric(t, w.Worker, "headway_mail_errors_total") == 0 {
		t.Error("metrics do not tell")
	}
	pgtest.Execute(t, conn, mend)
	awaitMails(t, server, 1)
	pgtest.Eventually(t, soon, func() bool { return runs(t, conn) == 1 }, "the run is not on record")
}

func TestARunThatFailsIsLeftToAWorkerThatHasDoneIt(t *testing.T) {
	t.Parallel()
	config, conn, _ := scheduled(t)
	schedule := &once{}
	config.DigestSchedule.Schedule = schedule
	log := newLogbook(t, nil)
	pgtest.Execute(t, conn, breakdown)
	w := start(t, config, func(w *worker.Worker) { w.Log, w.SweepInterval = slog.New(log), time.Second })
	pgtest.Eventually(t, soon, func() bool { return log.has("digests could not be reserved, retrying") }, "no run fails")
	// Somebody is due again by now, but not before the next time of the schedule.
	pgtest.Execute(t, conn, fmt.Sprintf(`begin; %s; select headway.digest_run_finished('%s'); commit`, mend, schedule.at.Load().Format(time.RFC3339Nano)))
	pgtest.Eventually(t, soon, func() bool { return log.has("the digest run has already been done") }, "nobody looks")
	w.stop()
	if n := value[int](t, conn, `select count(*) from headway.due_digests()`); n != 1 || runs(t, conn) != 1 {
		t.Errorf("%d due, %d runs", n, runs(t, conn))
	}
}

func TestWhatWasMissedIsMadeUpForOnce(t *testing.T) {
	t.Parallel()
	// Eight in the morning where the day begins first, on the first day of each month.
	zone, err := time.LoadLocation("Pacific/Kiritimati")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now().In(zone)
	last := time.Date(now.Year(), now.Month(), 1, 8, 0, 0, 0, zone)
	if last.After(now) {
		last = last.AddDate(0, -1, 0)
	}
	config, conn, server := scheduled(t, "HEADWAY_DIGEST_SCHEDULE", "CRON_TZ=Pacific/Kiritimati 0 8 1 * *")
	// The last run was half a year ago.
	if _, err := conn.Exec(t.Context(), `select headway.digest_run_finished($1)`, last.AddDate(0, -6, 0)); err != nil {
		t.Fatal(err)
	}
	w := start(t, config)
	awaitMails(t, server, 1)
	pgtest.Eventually(t, soon, func() bool { return runs(t, conn) == 2 }, "the run is not on record")
	w.stop()
	if slot := value[time.Time](t, conn, `select max(slot) from headway.digest_run`); !slot.Equal(last) {
		t.Errorf("it made up for %v rather than %v", slot, last)
	}

	// The next worker has nothing to make up for: what is unread waits for the next time.
	pgtest.Execute(t, conn, `select headway.post(2, 'broadcast', 'After it.'); select headway.reserve_digest(1)`)
	pgtest.Execute(t, conn, `insert into headway.appuser (fullname, email) values ('Eve', 'eve@example.com'); select headway.post(2, 'broadcast', 'Hello, Eve.')`)
	w = start(t, config)
	awaitMails(t, server, 2) // what is reserved goes, schedule or not
	w.stop()
	if n := value[int](t, conn, `select count(*) from headway.due_digests() d join headway.appuser u on u.id = d.user_id where u.fullname = 'Eve'`); n != 1 || runs(t, conn) != 2 {
		t.Errorf("%d due, %d runs", n, runs(t, conn))
	}
}

// dates is a schedule with these times, in order.
type dates []time.Time

func (s dates) Next(after time.Time) time.Time {
	for _, date := range s {
		if date.After(after) {
			return date
		}
	}
	return time.Time{}
}

// TestATimeThatComesWhileItMakesUpForAnotherCounts has the next time come while somebody keeps the run that was missed
// from ending.
func TestATimeThatComesWhileItMakesUpForAnotherCounts(t *testing.T) {
	t.Parallel()
	p := unread(t, 1, smtptest.Options{})
	config, conn, other := p.config(), p.conn, p.db.Conn(t)
	var clock atomic.Int64
	began := time.Now().Truncate(time.Second)
	clock.Store(began.Unix())
	missed, next := began.Add(-time.Hour), began.Add(time.Hour)
	config.DigestSchedule.Schedule = dates{missed, next}
	if _, err := conn.Exec(t.Context(), `select headway.digest_run_finished($1)`, missed.Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	pgtest.Execute(t, other, `begin; select pg_advisory_xact_lock(headway.lock_key('reserve'))`)
	start(t, config, func(w *worker.Worker) {
		w.Now, w.SweepInterval = func() time.Time { return time.Unix(clock.Load(), 0) }, 50*time.Millisecond
	})
	pgtest.Eventually(t, soon, func() bool { return advisoryWaits(t, conn) > 0 }, "it makes up for nothing")
	clock.Store(next.Add(time.Second).Unix())
	pgtest.Execute(t, other, `commit`)
	for _, slot := range []time.Time{missed, next} {
		pgtest.Eventually(t, soon, func() bool {
			return value[bool](t, conn, `select exists (select from headway.digest_run r where r.slot = $1)`, slot)
		}, "there is no run for %v", slot)
	}
}

func TestTheFirstWorkerHasNothingToMakeUpFor(t *testing.T) {
	t.Parallel()
	config, conn, server := scheduled(t, "HEADWAY_DIGEST_SCHEDULE", "0 0 1 1 *")
	pgtest.Execute(t, conn, `insert into headway.appuser (id, fullname, email) values (9, 'Eve', 'eve@example.com'); select headway.post(2, 'broadcast', 'Hello, Eve.'); select headway.reserve_digest(9)`)
	w := start(t, config)
	awaitMails(t, server, 1)
	w.stop()
	if n := value[int](t, conn, `select count(*) from headway.due_digests()`); n != 1 || runs(t, conn) != 0 {
		t.Errorf("%d due, %d runs", n, runs(t, conn))
	}
}

func TestTheScheduleGoesByTheClocksOnTheWall(t *testing.T) {
	t.Parallel()
	at := func(s string) time.Time {
		t.Helper()
		at, err := time.Parse(time.RFC3339, s)
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
	for _, test := range []struct{ schedule, after, want string }{
		{"CRON_TZ=Europe/Lisbon 30 1 * * *", "2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z"}, // two o'clock there
		{"CRON_TZ=Europe/Lisbon 30 1 * * *", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"},
		{"CRON_TZ=Europe/Lisbon 0 1 * * *", "2026-03-28T01:00:00Z", "2026-03-29T01:00:00Z"},
		{"CRON_TZ=Europe/Lisbon 0 2 * * *", "2026-03-28T02:00:00Z", "2026-03-29T01:00:00Z"},
		{"CRON_TZ=Europe/Lisbon 0 2 * * *", "2026-03-29T01:00:00Z", "2026-03-30T01:00:00Z"},
		{"CRON_TZ=Europe/Lisbon */20 1 * * *", "2026-03-28T12:00:00Z", "2026-03-29T01:00:00Z"},
		{"CRON_TZ=Europe/Lisbon */20 1 * * *", "2026-03-29T01:00:00Z", "2026-03-30T00:00:00Z"},
		{"CRON_TZ=Europe/Lisbon 30 1 * * 1-5", "2026-03-27T01:30:00Z", "2026-03-30T00:30:00Z"}, // it is a Sunday
		{"CRON_TZ=Europe/Lisbon 30 1 29 3 *", "2025-03-29T01:30:00Z", "2026-03-29T01:00:00Z"},
		{"CRON_TZ=America/Los_Angeles 15 2 * * *", "2026-03-07T10:15:00Z", "2026-03-08T10:00:00Z"},
		{"CRON_TZ=Asia/Beirut 0 0 * * *", "2025-03-28T22:00:00Z", "2025-03-29T22:00:00Z"},
		{"CRON_TZ=Australia/Lord_Howe 15 2 * * *", "2026-10-02T15:45:00Z", "2026-10-03T15:30:00Z"}, // by half an hour
		{"CRON_TZ=Australia/Lord_Howe 0 0 * * *", "2026-10-03T13:30:00Z", "2026-10-04T13:00:00Z"},
		{"CRON_TZ=Australia/Lord_Howe 0 0 * * *", "2026-04-04T13:00:00Z", "2026-04-05T13:30:00Z"},
		{"CRON_TZ=Europe/Lisbon 30 1 * * *", "2026-10-24T12:00:00Z", "2026-10-25T00:30:00Z"}, // shown twice
		{"CRON_TZ=Europe/Lisbon 30 1 * * *", "2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z"},
		{"CRON_TZ=Europe/Lisbon 30 1 * * *", "2026-10-25T01:30:00Z", "2026-10-26T01:30:00Z"},
		{"CRON_TZ=Pacific/Apia 0 8 * * *", "2011-12-29T18:00:00Z", "2011-12-30T10:00:00Z"}, // a whole day
		{"CRON_TZ=Asia/Tokyo 30 1 * * *", "2026-03-28T16:30:00Z", "2026-03-29T16:30:00Z"},
		{"CRON_TZ=UTC 30 1 * * *", "2026-03-28T01:30:00Z", "2026-03-29T01:30:00Z"},
		{"@every 24h", "2026-03-28T01:30:00Z", "2026-03-29T01:30:00Z"},
	} {
		var schedule worker.Schedule
		if err := schedule.EnvDecode(t.Context(), test.schedule); err != nil {
			t.Fatal(err)
		}
		if next := schedule.Next(at(test.after)); !next.Equal(at(test.want)) {
			t.Errorf("%s: after %s comes %s, want %s", test.schedule, test.after, next.Format(time.RFC3339), test.want)
		}
	}
}

func TestTheScheduleAsksTheDatabaseWhoIsDue(t *testing.T) {
	t.Parallel()
	// Three workers whose schedules come at once: one mail for everybody.
	p := unread(t, 20, smtptest.Options{})
	var workers []*running
	for range 3 {
		config := p.config()
		config.DigestSchedule.Schedule = &ticks{interval: 10 * time.Millisecond}
		workers = append(workers, start(t, config))
	}
	awaitMails(t, p.server, 20)
	for _, w := range workers {
		w.stop()
	}
	to := map[string]bool{}
	for _, m := range p.server.Messages() {
		to[m.To] = true
	}
	if len(p.server.Messages()) != 20 || len(to) != 20 {
		t.Errorf("%d mails to %d people", len(p.server.Messages()), len(to))
	}
}
