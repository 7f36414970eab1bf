package gateway

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"headway/bench/lab/labtest"
	"headway/internal/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// TestEverythingIsMeasured does a pass at sizes that say nothing, without socket.io, which needs a registry. That each
// message comes to each receiver once and in order is checked by the clients.
func TestEverythingIsMeasured(t *testing.T) {
	t.Parallel()
	l := labtest.Open(t)
	p := plan{
		idle: 30, settling: 10 * time.Millisecond, receivers: []int{20, 50},
		rate: 50, paced: 200 * time.Millisecond, full: 200 * time.Millisecond, rounds: 1,
	}
	r, err := measure(t.Context(), l, p, t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range r.Standings {
		if s.Idle.Connections != 30 || s.Idle.All <= 0 || s.Delays.P50 <= 0 || s.Delays.P99 < s.Delays.P50 {
			t.Errorf("%s: %+v", s.name, s)
		}
		for i, speed := range s.Speeds {
			if speed.Receivers != p.receivers[i] || speed.PerSecond <= 0 {
				t.Errorf("%s: %+v", s.name, speed)
			}
		}
	}
	if goals := r.Goals(); len(goals) != 4 {
		t.Errorf("there are %d goals: %+v", len(goals), goals)
	}
	page := r.Document("go run ./bench gateway", nil).Markdown()
	for _, want := range []string{"| bare hub |", "| **headway** |", "30 of them", "(gateway-load.svg)"} {
		if !strings.Contains(page, want) {
			t.Errorf("%q is not in\n%s", want, page)
		}
	}
}

func TestGoalsAreMetAndMissed(t *testing.T) {
	t.Parallel()
	standing := func(name string, resident, perSecond float64, p50 time.Duration) Standing {
		return Standing{party: party{name: name}, Idle: Idle{Resident: resident}, Delays: Delays{P50: p50}, Speeds: []Speed{{PerSecond: perSecond}}}
	}
	for _, c := range []struct {
		us  Standing
		met int
	}{
		{standing(ours, 17_999, 170_001, 12*time.Millisecond), 4},
		{standing(ours, 18_001, 149_999, 13*time.Millisecond), 0},
		{standing(ours, 18_001, 169_999, 12*time.Millisecond), 2},
	} {
		r := Result{Standings: []Standing{c.us, standing("hub", 0, 0, 10*time.Millisecond), standing("socket.io", 0, 50_000, 0)}}
		met := 0
		for _, g := range r.Goals() {
			if g.Met {
				met++
			}
		}
		if met != c.met {
			t.Errorf("%d goals are met, want %d: %+v", met, c.met, r.Goals())
		}
	}
}

// TestFramesComeInPieces cuts what a server sends at every byte.
func TestFramesComeInPieces(t *testing.T) {
	t.Parallel()
	for _, length := range []int{0, 125, 126, 1 << 16} {
		payload := bytes.Repeat([]byte("x"), length)
		sent := ws.MustCompileFrame(ws.NewTextFrame(payload))
		for cut := range min(len(sent), 200) {
			if _, _, rest, whole := parse(sent[:cut]); whole || len(rest) != cut {
				t.Fatalf("%d of %d bytes are a frame", cut, len(sent))
			}
		}
		opcode, found, rest, whole := parse(append(sent, 0x89))
		if !whole || opcode != ws.OpText || !bytes.Equal(found, payload) || len(rest) != 1 {
			t.Errorf("%d bytes: type %d, %d bytes, %d left", length, opcode, len(found), len(rest))
		}
	}
}

func TestEachMessageHasToComeOnceAndInOrder(t *testing.T) {
	t.Parallel()
	f := &fleet{receivers: make([]receiver, 2), next: 4, changed: make(chan struct{}, 1)}
	tally := f.newTally(2, true)
	now := time.Now()
	for i := range f.receivers {
		f.receivers[i].last = 3
		if err := f.hear(&f.receivers[i], []byte(`{"content":"`+textOf(4)+`"}`), now); err != nil {
			t.Fatal(err)
		}
	}
	if tally.all.Load() != 4 || len(tally.arrivals[0]) != 2 || f.delivered.Load() != 2 {
		t.Errorf("%d by %v", tally.all.Load(), tally.arrivals)
	}
	for _, number := range []int64{4, 6} {
		if err := f.hear(&f.receivers[0], []byte(textOf(number)), now); err == nil {
			t.Errorf("message %d came after 4", number)
		}
	}
}
