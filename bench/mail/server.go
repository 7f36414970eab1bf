package mail

import (
	"fmt"
	"sync"
	"time"

	"headway/internal/smtptest"
)

// catcher is a mail server that takes its time, and notes when it took what.
type catcher struct {
	*smtptest.Server
	delay time.Duration

	mu    sync.Mutex
	taken []time.Time
}

// catch starts a server. The caller closes it.
func catch(delay time.Duration) (*catcher, error) {
	server, err := smtptest.Start(smtptest.Options{})
	if err != nil {
		return nil, err
	}
	c := &catcher{Server: server, delay: delay}
	server.Fail(c.step)
	return c, nil
}

// step waits before a mail is taken. It is never anything but taken.
func (c *catcher) step(step smtptest.Step) error {
	if step.Name != "DATA" {
		return nil
	}
	if c.delay > 0 {
		<-time.After(c.delay)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.taken = append(c.taken, time.Now())
	return nil
}

// perSecond returns how many mails were taken in a second, without the first tenth, at which everybody warms up.
func (c *catcher) perSecond() (float64, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	first, last := len(c.taken)/10, len(c.taken)-1
	if last <= first {
		return 0, fmt.Errorf("%d mails are too few to tell how many a second there are", len(c.taken))
	}
	return float64(last-first) / c.taken[last].Sub(c.taken[first]).Seconds(), nil
}
