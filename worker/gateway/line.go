package gateway

import "sync"

// line runs the functions added to it, in order and a limited number at a time. While none are waiting, it takes up
// only a few words of memory.
type line struct {
	most int

	mu      sync.Mutex
	waiting []func()
	running int
	working sync.WaitGroup
}

func (l *line) add(do func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting = append(l.waiting, do)
	if l.running < l.most {
		l.running++
		l.working.Go(l.work)
	}
}

func (l *line) work() {
	for {
		l.mu.Lock()
		if len(l.waiting) == 0 {
			l.running--
			l.waiting = nil
			l.mu.Unlock()
			return
		}
		do := l.waiting[0]
		l.waiting[0] = nil
		l.waiting = l.waiting[1:]
		l.mu.Unlock()
		do()
	}
}

// wait waits until nothing is running or waiting. Nothing may be added in the meantime.
func (l *line) wait() { l.working.Wait() }
