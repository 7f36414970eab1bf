package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"headway/internal/bar"
	"headway/internal/live"
	"headway/internal/pgtest"
	"headway/internal/terminal"
)

// TestALongProjectNameLeavesRoomForWhatIsSaid shows the same message in a narrow terminal and on a line of its own.
func TestALongProjectNameLeavesRoomForWhatIsSaid(t *testing.T) {
	t.Parallel()
	name := strings.Repeat("Website relaunch ", 10)
	said := "The logo is ready"
	board := &live.Board{
		Projects: []*live.Project{{ID: 1, Name: name}, {ID: 2, Name: "Shop"}},
		Recent: []live.Message{
			{ProjectID: 1, Kind: "chat", SenderName: "Bob", Content: &said},
			{Channel: strings.Repeat("review", 10), Kind: "chat", SenderName: "Bob", Content: &said},
		},
	}
	v := &view{}
	for i, line := range v.feed(board, 80, 2) {
		if place := []string{"  Website", "  review"}[i]; !strings.HasSuffix(line, "Bob: The logo is ready") || !strings.Contains(line, place) || bar.Width(line) > 80 {
			t.Errorf("%q", line)
		}
	}
	var out strings.Builder
	v.out = &out
	v.plain(board, live.Event{Kind: live.Said, Message: board.Recent[0]})
	if !strings.Contains(out.String(), strings.TrimSpace(name)+"  Bob: The logo is ready") {
		t.Errorf("%q", &out)
	}
}

// TestABarShowsForAWhileHowFarItMoved has a bar move twice, and then again after that has been shown.
func TestABarShowsForAWhileHowFarItMoved(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		bob := &live.Customer{UserID: 2, Name: "Bob"}
		p := &live.Project{ID: 1, Customers: []*live.Customer{bob}}
		v := &view{gains: map[gainOf]gain{}, note: func(*live.Project, *live.Customer) string { return "" }}
		move := func(to int64) {
			before := p.Bar(bob)
			bob.Own = live.Part{Done: to, Total: 10}
			v.remember([]live.Move{{Project: p, Customer: bob, Before: before, After: p.Bar(bob)}})
		}
		expect := func(want int64) {
			t.Helper()
			if got := v.row(p, bob).Gained; got != want {
				t.Errorf("it shows %+d, want %+d", got, want)
			}
			if got := v.row(p, nil).Gained; got != 0 {
				t.Errorf("the sum shows %+d", got)
			}
		}
		if v.expiry() != nil {
			t.Error("something is to be redrawn, although nothing moved")
		}
		move(1)
		<-time.After(freshFor / 2)
		move(3)
		expect(3)
		<-time.After(freshFor * 3 / 4) // more than since the first
		expect(3)
		moved := time.Now()
		<-v.expiry()
		if waited := time.Since(moved); waited != freshFor/4 {
			t.Errorf("it is redrawn after %v", waited)
		}
		expect(0)
		<-time.After(time.Nanosecond)
		move(4)
		expect(1)
		<-v.expiry()
		<-time.After(time.Nanosecond)
		<-v.expiry() // at once: it is over
		if v.expiry() != nil {
			t.Error("it is redrawn for ever")
		}
	})
}

// TestABarIsRedrawnWhenItStopsShowingThatItMoved has nothing else happen.
func TestABarIsRedrawnWhenItStopsShowingThatItMoved(t *testing.T) {
	t.Parallel()
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	bob := &live.Customer{UserID: 2, Own: live.Part{Done: 1, Total: 2}}
	p := &live.Project{ID: 1, Customers: []*live.Customer{bob}}
	v := &view{
		follower: &live.Follower{}, block: terminal.NewBlock(null, false), dirty: make(chan struct{}, 1),
		gains: map[gainOf]gain{}, note: func(*live.Project, *live.Customer) string { return "" },
	}
	defer v.block.Close(nil)
	var shown atomic.Int64
	v.frame = func(*live.Board, int, int) []string {
		shown.Store(v.row(p, bob).Gained)
		return nil
	}
	v.remember([]live.Move{{Project: p, Customer: bob, After: p.Bar(bob)}})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		v.redraw(ctx)
	}()
	pgtest.Eventually(t, patience, func() bool { return shown.Load() == 1 }, "it does not show that the bar moved")
	pgtest.Eventually(t, patience, func() bool { return shown.Load() == 0 }, "it shows that for ever")
	cancel()
	<-ended
}

func TestWhatIsOfAnotherDayHasItsDate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(*testing.T) {
		now := time.Now()
		for at, want := range map[time.Time]string{
			now:                      now.Local().Format(time.TimeOnly),
			now.Add(-48 * time.Hour): now.Add(-48 * time.Hour).Local().Format("2 Jan"),
		} {
			if got := clock(at.UTC()); strings.TrimSpace(got) != want || len(got) != len(time.TimeOnly) {
				t.Errorf("%v is %q, want %q", at, got, want)
			}
		}
	})
}

// TestManyBarsAreCountedRatherThanPrinted has 25 customers' bars move at once.
func TestManyBarsAreCountedRatherThanPrinted(t *testing.T) {
	t.Parallel()
	p := &live.Project{ID: 1, Name: "Shop", Shared: live.Part{Done: 1, Total: 2}}
	var moves []live.Move
	for i := range 25 {
		p.Customers = append(p.Customers, &live.Customer{UserID: int64(i), Name: fmt.Sprintf("Customer %d", i+1)})
		moves = append(moves, live.Move{Project: p, Customer: p.Customers[i], Before: live.Part{Total: 2}, After: p.Shared})
	}
	moves = append(moves, live.Move{Project: p, Before: live.Part{Total: 50}, After: p.Sum()})
	var out strings.Builder
	v := &view{out: &out}
	v.plain(&live.Board{}, live.Event{Kind: live.Moved, Moves: moves})
	if text := missing(out.String(), "Shop  Customer 20  0% -> 50%  1/2\n", "Shop  all customers  0% -> 50%  25/50\n", "and 5 more bars moved\n"); text != "" || strings.Contains(out.String(), "Customer 21") {
		t.Errorf("%q is missing, or there is more:\n%s", text, &out)
	}
	out.Reset()
	v.plain(&live.Board{}, live.Event{Kind: live.Moved, Moves: moves[:20]})
	if strings.Contains(out.String(), "more") {
		t.Errorf("all are printed, and it says:\n%s", &out)
	}
	out.Reset()
	v.plainBoard(&live.Board{Projects: []*live.Project{p}})
	if text := missing(out.String(), "Shop  Customer 20  50%  1/2\n", "Shop  and 5 more\n", "Shop  all customers  50%  25/50\n"); text != "" || strings.Count(out.String(), "\n") != 22 {
		t.Errorf("%q is missing, or there is more:\n%s", text, &out)
	}
}
