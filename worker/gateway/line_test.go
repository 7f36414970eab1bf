package gateway

import (
	"slices"
	"testing"
)

func TestALineKeepsTheOrder(t *testing.T) {
	t.Parallel()
	l := line{most: 1}
	var ran, want []int
	for range 2 { // it begins again after it was empty
		for i := range 20 {
			l.add(func() { ran = append(ran, i) })
			want = append(want, i)
		}
		l.wait()
	}
	if !slices.Equal(ran, want) {
		t.Errorf("ran %v", ran)
	}
}

func TestALineRunsSoManyAtATime(t *testing.T) {
	t.Parallel()
	l := line{most: 2}
	begun, hold := make(chan int, 3), make(chan struct{})
	for i := range 3 {
		l.add(func() {
			begun <- i
			<-hold
		})
	}
	if first, second := <-begun, <-begun; first+second != 1 {
		t.Errorf("%d and %d began", first, second)
	}
	l.mu.Lock()
	if l.running != 2 || len(l.waiting) != 1 {
		t.Errorf("%d run and %d wait", l.running, len(l.waiting))
	}
	l.mu.Unlock()
	close(hold)
	if third := <-begun; third != 2 {
		t.Errorf("%d began last", third)
	}
	l.wait()
}
