package lab

import (
	"testing"
	"time"
)

func TestACommitIsSeenWhenAsManyAreDone(t *testing.T) {
	t.Parallel()
	began := time.Now()
	after := func(ms int) time.Time { return began.Add(time.Duration(ms) * time.Millisecond) }
	w := newWatch()

	w.expect(commit{project: 1, nth: 2, at: after(20)}) // its writer was overtaken
	w.expect(commit{project: 1, nth: 1, at: after(10)})
	w.expect(commit{project: 2, nth: 1, at: after(10)})
	w.expect(commit{project: 2, nth: 5, at: after(50)})
	w.saw(Progress{Project: 1, Done: 1}, after(13))
	w.saw(Progress{Project: 1, Done: 2}, after(27))
	w.saw(Progress{Project: 1, Done: 3}, after(30))
	w.expect(commit{project: 1, nth: 3, at: after(31)}) // the listener knew before the writer
	w.saw(Progress{Project: 2, Done: 4}, after(19))
	if w.done() {
		t.Error("the fifth of project 2 is not waited for")
	}
	if ids := w.projects(nil); len(ids) != 1 || ids[0] != 2 {
		t.Errorf("something is waited for in %v", ids)
	}

	got := w.take()
	want := Delays{P50: 7 * time.Millisecond, P99: Never, Watched: 5, Lost: 1} // 0, 3, 7, 9 ms, never
	if got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if !w.done() || w.take() != (Delays{}) {
		t.Error("what was taken is still there")
	}
}
