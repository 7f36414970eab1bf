package worker

import (
	"log/slog"
	"time"

	"github.com/robfig/cron/v3"
)

// timetable finds the times of a schedule as they come. It checks the wall clock repeatedly, which may be put back or
// forward at any moment, even by hours: [cron.Cron] sleeps until a time comes, however far away that has become.
type timetable struct {
	schedule cron.Schedule
	looked   time.Time // when the clock was last checked
	next     time.Time // the next time; zero: none
}

// look returns the time of the schedule that has come, the zero time if none has since the last look, and how long to
// wait before the next look, which is never longer than limit.
func (t *timetable) look(now time.Time, limit time.Duration) (slot time.Time, wait time.Duration) {
	now = now.Round(0) // only the wall clock counts from here on
	if t.looked.IsZero() || now.Before(t.looked) {
		t.next = t.schedule.Next(now)
	}
	t.looked = now
	if !t.next.IsZero() && !t.next.After(now) {
		slot, t.next = t.next, t.schedule.Next(now)
	}
	wait = limit
	if !t.next.IsZero() {
		wait = min(t.next.Sub(now), limit)
	}
	return slot, wait
}

// lastSlot returns the last time of a schedule that is later than after and no later than until, the zero time if there
// is none. The schedule only looks forward, so it is asked from further and further back.
func lastSlot(schedule cron.Schedule, after, until time.Time) (slot time.Time) {
	for back := time.Second; slot.IsZero(); back *= 2 {
		from := until.Add(-back)
		if from.Before(after) {
			from = after
		}
		for next := schedule.Next(from); !next.IsZero() && !next.After(until); next = schedule.Next(slot) {
			slot = next
		}
		if !from.After(after) {
			break
		}
	}
	return slot
}

// wallClock is a schedule that keeps times skipped when clocks go forward: they come together at the change. A time
// shown twice when clocks go back comes twice.
type wallClock struct{ *cron.SpecSchedule }

// Next implements [cron.Schedule]. It goes from one clock change to the next, and between them follows a fixed offset:
// the schedule itself counts in hours, and goes wrong if clocks change by half an hour.
func (s wallClock) Next(after time.Time) time.Time {
	at := after.In(s.Location)
	for from := after; ; {
		_, offset := at.Zone()
		_, change := at.ZoneBounds()
		unchanged := *s.SpecSchedule
		unchanged.Location = time.FixedZone("", offset)
		next := unchanged.Next(from)
		if next.IsZero() || change.IsZero() || next.Before(change) {
			return next.In(after.Location())
		}
		// A time is skipped if, by the old clock, it would come between the change and where the new clock starts.
		_, changed := change.Zone()
		if forward := time.Duration(changed-offset) * time.Second; next.Before(change.Add(forward)) {
			return change.In(after.Location())
		}
		at, from = change, change.Add(-time.Second)
	}
}

// cronLogger logs what matters of what the schedule reports: not its routine, but a panic in a run.
type cronLogger struct{ log *slog.Logger }

// Info implements [cron.Logger].
func (l cronLogger) Info(msg string, keysAndValues ...any) {
	l.log.Debug("the schedule", slog.String("event", msg), slog.Group("details", keysAndValues...))
}

// Error implements [cron.Logger].
func (l cronLogger) Error(err error, msg string, keysAndValues ...any) {
	l.log.Error("the schedule", slog.String("event", msg), slog.Any("error", err), slog.Group("details", keysAndValues...))
}
