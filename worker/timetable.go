package worker

import (
	"log/slog"
	"time"

	"github.com/robfig/cron/v3"
)

// timetable finds the times of a schedule as they come. It looks at the clock on the wall again and again, which may be
// put back or forward at any moment, also by hours: [cron.Cron] sleeps until a time comes, however far away it is by now.
type timetable struct {
	schedule cron.Schedule
	looked   time.Time // when it was looked at last
	next     time.Time // the time that comes next, zero: none does
}

// look returns the time of the schedule that has come, the zero time if none has since the last look, and how long to
// wait before the next look, most at the most.
func (t *timetable) look(now time.Time, most time.Duration) (slot time.Time, wait time.Duration) {
	now = now.Round(0) // what follows goes by the clock on the wall alone
	if t.looked.IsZero() || now.Before(t.looked) {
		t.next = t.schedule.Next(now)
	}
	t.looked = now
	if !t.next.IsZero() && !t.next.After(now) {
		slot, t.next = t.next, t.schedule.Next(now)
	}
	if wait = most; !t.next.IsZero() {
		wait = min(t.next.Sub(now), most)
	}
	return slot, wait
}

// lastSlot returns the last time of a schedule after one moment and up to another, the zero time if there is none. The
// schedule looks forward only, so it is asked from further and further back.
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

// wallClock is a schedule whose times come although clocks are put forward and leave them out: at that moment then, all
// of them at once. One that clocks put back show twice comes twice.
type wallClock struct{ *cron.SpecSchedule }

// Next implements [cron.Schedule]. It goes from one change of clocks to the next, and between them by a clock that is never
// changed: the schedule itself counts in hours, and loses its way where clocks change by half of one.
func (s wallClock) Next(after time.Time) time.Time {
	at := after
	if s.Location != time.Local {
		at = after.In(s.Location)
	}
	for from := after; ; {
		_, offset := at.Zone()
		_, change := at.ZoneBounds()
		unchanged := *s.SpecSchedule
		unchanged.Location = time.FixedZone("", offset)
		next := unchanged.Next(from)
		if next.IsZero() || change.IsZero() || next.Before(change) {
			return next.In(after.Location())
		}
		// What the clocks leave out is what would come by the old clock before the new one is where it begins.
		_, changed := change.Zone()
		if forward := time.Duration(changed-offset) * time.Second; next.Before(change.Add(forward)) {
			return change.In(after.Location())
		}
		at, from = change, change.Add(-time.Second)
	}
}

// cronLogger hands on what the schedule has to say: its routine is nobody's business, a panic in a run is.
type cronLogger struct{ log *slog.Logger }

// Info implements [cron.Logger].
func (l cronLogger) Info(msg string, keysAndValues ...any) {
	l.log.Debug("the schedule", slog.String("event", msg), slog.Group("details", keysAndValues...))
}

// Error implements [cron.Logger].
func (l cronLogger) Error(err error, msg string, keysAndValues ...any) {
	l.log.Error("the schedule", slog.String("event", msg), slog.Any("error", err), slog.Group("details", keysAndValues...))
}
