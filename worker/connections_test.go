package worker_test

import (
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"headway/internal/smtptest"
)

// narrow listens in front of a server and takes so many connections at a time; to any more it says that it is busy, or
// nothing at all.
func narrow(t *testing.T, back string, width int, refusal string) (addr string) {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	t.Cleanup(func() {
		_ = listener.Close()
		serving.Wait()
	})
	places := make(chan struct{}, width)
	serving.Go(func() {
		for {
			front, err := listener.Accept()
			if err != nil {
				return
			}
			select {
			case places <- struct{}{}:
			default:
				_, _ = io.WriteString(front, refusal) // it may have gone
				_ = front.Close()
				continue
			}
			serving.Go(func() {
				defer func() { <-places }()
				defer front.Close()
				behind, err := (&net.Dialer{}).Dial("tcp", back)
				if err != nil {
					return
				}
				defer behind.Close()
				serving.Go(func() {
					_, _ = io.Copy(behind, front)
					_ = behind.Close()
				})
				_, _ = io.Copy(front, behind)
			})
		}
	})
	return listener.Addr().String()
}

func TestAServerThatTakesFewerConnectionsTakesEverything(t *testing.T) {
	t.Parallel()
	for name, refusal := range map[string]string{"421": "421 4.7.0 too many\r\n", "451": "451 4.7.0 too many\r\n", "nothing": ""} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := correspond(t, 20, smtptest.Options{})
			back := strings.TrimSuffix(strings.TrimPrefix(p.server.URL(), "smtp://"), "?tls=none")
			p.Concurrency = 4
			p.connectTo("smtp://" + narrow(t, back, 2, refusal) + "?tls=none")
			p.Sender.Pause = 10 * time.Millisecond
			p.send(20)
			if !p.log.has("could not open as many connections to the mail server as configured") {
				t.Error("nobody hears of it")
			}
		})
	}
}
