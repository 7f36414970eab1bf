package smtp_test

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"headway/internal/smtptest"
	"headway/worker/smtp"
)

func TestAConnectionIsUsedAgain(t *testing.T) {
	t.Parallel()
	server := catch(t, smtptest.Options{})
	pool := newPool(t, server.URL(), 3)
	for range 3 {
		if err := pool.Send(t.Context(), from, to, mail); err != nil {
			t.Fatal(err)
		}
	}
	if got := server.Messages(); len(got) != 3 || got[0].Conn != got[1].Conn || got[1].Conn != got[2].Conn {
		t.Errorf("it got %+v", got)
	}
}

func TestThereAreNoMoreConnectionsThanAsked(t *testing.T) {
	t.Parallel()
	server := catch(t, smtptest.Options{})
	both := make(chan struct{})
	var mu sync.Mutex
	inHand, most := 0, 0
	server.Fail(func(step smtptest.Step) error {
		switch step.Name {
		case "MAIL":
			mu.Lock()
			inHand++
			if most = max(most, inHand); inHand == 2 && most == 2 {
				select {
				case <-both:
				default:
					close(both)
				}
			}
			mu.Unlock()
			<-both
		case "DATA":
			mu.Lock()
			inHand--
			mu.Unlock()
		}
		return nil
	})
	pool := newPool(t, server.URL(), 2)
	var senders sync.WaitGroup
	for range 20 {
		senders.Go(func() {
			if err := pool.Send(t.Context(), from, to, mail); err != nil {
				t.Error(err)
			}
		})
	}
	senders.Wait()
	if most != 2 || len(server.Messages()) != 20 {
		t.Errorf("%d at a time, %d mails", most, len(server.Messages()))
	}
}

// TestAConnectionThatHasHadEnoughIsReplaced has a server take one mail on each, as 421 and 452 say of it.
func TestAConnectionThatHasHadEnoughIsReplaced(t *testing.T) {
	t.Parallel()
	for _, enough := range []string{"421 4.7.0 too many messages in this connection", "452 4.5.3 too many messages in this connection"} {
		server, address := play(t, func(l *line, _ int) {
			mails := 0
			l.serve(func(verb string) string {
				if verb == "MAIL" {
					if mails++; mails > 1 {
						return enough
					}
				}
				return ""
			})
		})
		pool := newPool(t, address, 1)
		for range 3 {
			if err := pool.Send(t.Context(), from, to, mail); err != nil {
				t.Errorf("%s: %v", enough, err)
			}
		}
		if got := strings.Count(server.verbs(), "EHLO"); got != 3 {
			t.Errorf("%s: %d connections for three mails", enough, got)
		}
	}
}

// TestALoginThatIsRefusedBeginsAPause has a server count logins, and take the fourth.
func TestALoginThatIsRefusedBeginsAPause(t *testing.T) {
	t.Parallel()
	logins := make(chan time.Time, 4)
	_, address := play(t, func(l *line, before int) {
		l.serve(func(verb string) string {
			if verb != "AUTH" {
				return ""
			}
			logins <- time.Now()
			if before < 3 {
				return "535 5.7.8 bad"
			}
			return ""
		})
	})
	pool := newPool(t, strings.Replace(strings.Replace(address, "smtp://", "smtp://abe:secret@", 1), "tls=none", "tls=none&auth=insecure", 1), 1)
	pool.Pause = 20 * time.Millisecond
	for range 3 {
		_, err := pool.Acquire(t.Context())
		wantError(t, err, smtp.Retry, "AUTH")
	}
	conn, err := pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	conn.Release()
	last := <-logins
	for refused := range 3 { // by the server's clock: a pause begins after a refusal was sent
		next := <-logins
		if waited, pause := next.Sub(last), pool.Pause<<refused; waited < pause {
			t.Errorf("after %d refused logins the next one came after %v, want %v", refused+1, waited, pause)
		}
		last = next
	}
}

// TestAPauseDoublesUpToALimitAndStartsOver has a server refuse a login for so long that, without a limit, nobody could wait
// for the end of the pause, and once more after it has taken one.
func TestAPauseDoublesUpToALimitAndStartsOver(t *testing.T) {
	t.Parallel()
	server := catch(t, smtptest.Options{User: "abe", Password: "secret"})
	refuse := func(step smtptest.Step) error {
		if step.Name == "AUTH" {
			return smtptest.Reply(535, "5.7.8", "bad")
		}
		return nil
	}
	pool := newPool(t, server.URL(), 1)
	login := func(step string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		conn, err := pool.Acquire(ctx)
		if step != "" {
			wantError(t, err, smtp.Retry, step)
			return
		} else if err != nil {
			t.Fatal(err)
		}
		server.Fail(func(smtptest.Step) error { return smtptest.Reply(421, "4.3.2", "bye") }) // the next one logs in again
		pool.Pause = 0
		wantError(t, conn.Send(ctx, from, to, mail), smtp.Retry, "MAIL")
		conn.Release()
	}
	server.Fail(refuse)
	pool.Pause = time.Nanosecond
	for range 40 {
		login("AUTH")
	}
	server.Fail(nil)
	login("")
	server.Fail(refuse)
	pool.Pause = time.Second
	login("AUTH")
	server.Fail(nil)
	login("")
}

// usable gets a connection within ten seconds, or fails the test.
func usable(t *testing.T, pool *smtp.Pool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	conn, err := pool.Acquire(ctx)
	if err != nil {
		t.Fatal(err)
	}
	conn.Release()
}

// TestConnectionsThatAreRefusedAtOnceBeginOnePause: that there are several makes the pause no longer.
func TestConnectionsThatAreRefusedAtOnceBeginOnePause(t *testing.T) {
	t.Parallel()
	const connections = 5
	server := catch(t, smtptest.Options{User: "abe", Password: "secret"})
	var all sync.WaitGroup
	all.Add(connections)
	server.Fail(func(smtptest.Step) error {
		all.Done()
		all.Wait()
		return smtptest.Reply(535, "5.7.8", "bad")
	})
	pool := newPool(t, server.URL(), connections)
	pool.Pause = time.Second
	var logins sync.WaitGroup
	for range connections {
		logins.Go(func() {
			if _, err := pool.Acquire(t.Context()); asError(err).Step != "AUTH" {
				t.Error(err)
			}
		})
	}
	logins.Wait()
	server.Fail(nil)
	usable(t, pool)
}

// TestALoginThatFailsForNowBeginsNoPause has a server in trouble: it has refused nobody.
func TestALoginThatFailsForNowBeginsNoPause(t *testing.T) {
	t.Parallel()
	server := catch(t, smtptest.Options{User: "abe", Password: "secret"})
	server.Fail(func(smtptest.Step) error { return smtptest.Reply(454, "4.7.0", "try again") })
	pool := newPool(t, server.URL(), 1)
	pool.Pause = time.Hour
	_, err := pool.Acquire(t.Context())
	if wantError(t, err, smtp.Retry, "AUTH"); pool.Paused() {
		t.Error("there is a pause")
	}
}

// TestBusyEndsNoLongerPause has a server be busy for one connection while another waits since its login was refused.
func TestBusyEndsNoLongerPause(t *testing.T) {
	t.Parallel()
	server := catch(t, smtptest.Options{User: "abe", Password: "secret"})
	pool := newPool(t, server.URL(), 2)
	conn, err := pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	server.Fail(func(step smtptest.Step) error {
		if step.Name == "AUTH" {
			return smtptest.Reply(535, "5.7.8", "bad")
		}
		return smtptest.Reply(421, "4.3.2", "busy")
	})
	pool.Pause = time.Hour
	_, err = pool.Acquire(t.Context())
	wantError(t, err, smtp.Retry, "AUTH")
	pool.Pause = time.Nanosecond
	wantError(t, conn.Send(t.Context(), from, to, mail), smtp.Retry, "MAIL")
	if !pool.Paused() {
		t.Error("the pause has ended")
	}
}

// TestAMailAfterARefusedOneGoesOverTheSameConnection, which has carried one before. Each is refused once.
func TestAMailAfterARefusedOneGoesOverTheSameConnection(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		verb, reply, heard string
		outcome            smtp.Outcome
	}{
		{"RCPT", "550 5.1.1 unknown", "MAIL RCPT", smtp.Refused},
		{"RCPT", "452 4.2.2 mailbox full", "MAIL RCPT", smtp.Retry},
		{"MAIL", "451 4.3.0 later", "MAIL", smtp.Retry},
	} {
		times := 0
		server, address := play(t, func(l *line, before int) {
			if before > 0 { // which would be heard as the same: the client says EHLO again after RSET
				t.Error("it has made another connection")
			}
			l.serve(func(verb string) string {
				if verb == test.verb {
					if times++; times == 2 {
						return test.reply
					}
				}
				return ""
			})
		})
		pool := newPool(t, address, 1)
		if err := pool.Send(t.Context(), from, to, mail); err != nil {
			t.Fatal(err)
		}
		wantError(t, pool.Send(t.Context(), from, to, mail), test.outcome, test.verb)
		if err := pool.Send(t.Context(), from, to, mail); err != nil {
			t.Fatal(err)
		}
		pool.Close()
		if got, want := server.verbs(), "EHLO MAIL RCPT DATA "+test.heard+" RSET EHLO MAIL RCPT DATA QUIT"; got != want {
			t.Errorf("%s: it heard %s, want %s", test.reply, got, want)
		}
	}
}

func TestAConnectionThatIsNoGoodAfterAnErrorIsGivenUp(t *testing.T) {
	t.Parallel()
	for reply, want := range map[string]string{
		"450 4.2.0 later":        "EHLO MAIL RCPT RSET EHLO MAIL RCPT DATA",
		"503 5.5.1 bad sequence": "EHLO MAIL RCPT EHLO MAIL RCPT DATA", // nobody knows where the two sides are
	} {
		server, address := play(t, func(l *line, before int) {
			l.serve(func(verb string) string {
				switch {
				case verb == "RCPT" && before == 0:
					return reply
				case verb == "RSET":
					return cut
				}
				return ""
			})
		})
		pool := newPool(t, address, 1)
		wantError(t, pool.Send(t.Context(), from, to, mail), smtp.Retry, "RCPT")
		if err := pool.Send(t.Context(), from, to, mail); err != nil {
			t.Fatal(err)
		}
		if got := server.verbs(); got != want {
			t.Errorf("after %s it heard %s, want %s", reply, got, want)
		}
	}
}

func TestBusyBeginsAPause(t *testing.T) {
	t.Parallel()
	server := catch(t, smtptest.Options{})
	server.Fail(func(smtptest.Step) error { return smtptest.Reply(421, "4.3.2", "busy") })
	pool := newPool(t, server.URL()+"&rate=1", 1) // whoever waits for the end of a pause takes nobody's turn
	pool.Pause = time.Hour
	wantError(t, pool.Send(t.Context(), from, to, mail), smtp.Retry, "MAIL")

	server.Fail(nil)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err := pool.Acquire(ctx)
	if wantError(t, err, smtp.Retry, "wait"); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}

	server.Fail(func(smtptest.Step) error { return smtptest.Reply(421, "4.3.2", "busy") })
	pool = newPool(t, server.URL(), 1)
	pool.Pause = 30 * time.Millisecond
	began := time.Now() // before the pause does
	wantError(t, pool.Send(t.Context(), from, to, mail), smtp.Retry, "MAIL")
	server.Fail(nil)
	if err := pool.Send(t.Context(), from, to, mail); err != nil || time.Since(began) < pool.Pause/2 {
		t.Errorf("%v after %v", err, time.Since(began))
	}
}

// TestWhoWaitsForTheRateWaitsForAPause has a pause begin while another mail waits for its turn.
func TestWhoWaitsForTheRateWaitsForAPause(t *testing.T) {
	t.Parallel()
	server := catch(t, smtptest.Options{})
	server.Fail(func(smtptest.Step) error { return smtptest.Reply(421, "4.3.2", "busy") })
	pool := newPool(t, server.URL()+"&rate=1", 2)
	pool.Pause = time.Hour
	conn, err := pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second) // its turn comes after one
	defer cancel()
	waited := make(chan error, 1)
	go func() {
		next, err := pool.Acquire(ctx)
		if err == nil {
			next.Release()
		}
		waited <- err
	}()
	for pool.InUse() < 2 {
		runtime.Gosched()
	}
	wantError(t, conn.Send(t.Context(), from, to, mail), smtp.Retry, "MAIL")
	if err := <-waited; err == nil {
		t.Error("a connection is lent during the pause")
	}
}

func TestAConnectionThatTheServerHasClosedIsReplaced(t *testing.T) {
	t.Parallel()
	for _, farewell := range []string{"", "421 4.4.2 idle for too long"} {
		closed := make(chan struct{})
		_, address := play(t, func(l *line, before int) {
			mails := 0
			l.serve(func(verb string) string {
				if verb == "body" && before == 0 {
					mails++
					l.say("250 taken")
					if farewell != "" {
						l.say(farewell)
					}
					l.conn.Close()
					close(closed)
					return cut
				}
				return ""
			})
		})
		pool := newPool(t, address, 1)
		for range 2 {
			if err := pool.Send(t.Context(), from, to, mail); err != nil {
				t.Errorf("%q: %v", farewell, err)
			}
			<-closed
		}
	}
}

func TestAMailForAServerThatHasGoneIsNotSent(t *testing.T) {
	t.Parallel()
	gone := make(chan struct{})
	_, address := play(t, func(l *line, _ int) {
		l.serve(func(verb string) string {
			if verb != "body" {
				return ""
			}
			l.script.listener.Close()
			l.say("250 taken")
			l.conn.Close()
			close(gone)
			return cut
		})
	})
	pool := newPool(t, address, 1)
	if err := pool.Send(t.Context(), from, to, mail); err != nil {
		t.Fatal(err)
	}
	<-gone
	wantError(t, pool.Send(t.Context(), from, to, mail), smtp.Retry, "connect")
}

// TestAMailThatMayHaveArrivedIsNotSentAgain has a server cut a connection that was used before, wherever more than MAIL was
// said on it.
func TestAMailThatMayHaveArrivedIsNotSentAgain(t *testing.T) {
	t.Parallel()
	for verb, want := range map[string]struct {
		step, heard string
		outcome     smtp.Outcome
	}{
		"RCPT": {"RCPT", "EHLO MAIL RCPT DATA MAIL RCPT", smtp.Retry},
		"body": {"reply", "EHLO MAIL RCPT DATA MAIL RCPT DATA", smtp.Unknown},
	} {
		server, address := play(t, func(l *line, _ int) {
			times := 0
			l.serve(func(heard string) string {
				if heard == verb {
					if times++; times == 2 {
						return cut
					}
				}
				return ""
			})
		})
		pool := newPool(t, address, 1)
		if err := pool.Send(t.Context(), from, to, mail); err != nil {
			t.Fatal(err)
		}
		wantError(t, pool.Send(t.Context(), from, to, mail), want.outcome, want.step)
		if got := server.verbs(); got != want.heard {
			t.Errorf("it heard %s, want %s", got, want.heard)
		}
	}
}

func TestAnIdleConnectionIsClosedPolitely(t *testing.T) {
	t.Parallel()
	quit := make(chan struct{})
	_, address := play(t, func(l *line, _ int) {
		l.serve(func(verb string) string {
			if verb == "QUIT" {
				close(quit)
			}
			return ""
		})
	})
	pool := newPool(t, address, 1)
	pool.IdleTimeout = time.Millisecond
	if err := pool.Send(t.Context(), from, to, mail); err != nil {
		t.Fatal(err)
	}
	<-quit
}

func TestAClosedPoolSendsNothing(t *testing.T) {
	t.Parallel()
	server := catch(t, smtptest.Options{})
	pool := newPool(t, server.URL(), 1)
	conn, err := pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	pool.Close()
	if err := conn.Send(t.Context(), from, to, mail); err != nil {
		t.Error("a mail in hand was dropped:", err)
	}
	conn.Release()
	conn.Release()
	wantError(t, pool.Send(t.Context(), from, to, mail), smtp.Retry, "wait")
}

func TestAConnectionInHandIsClosedPolitelyAfterThePool(t *testing.T) {
	t.Parallel()
	server, address := play(t, func(l *line, _ int) { l.serve(func(string) string { return "" }) })
	pool := newPool(t, address, 1)
	conn, err := pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	pool.Close()
	conn.Release()
	if got := server.verbs(); got != "EHLO QUIT" {
		t.Errorf("it heard %s", got)
	}
}

func TestTheRateIsKept(t *testing.T) {
	t.Parallel()
	server := catch(t, smtptest.Options{})
	pool := newPool(t, server.URL()+"&rate=50", 4)
	began := time.Now()
	var senders sync.WaitGroup
	for range 4 {
		senders.Go(func() {
			if err := pool.Send(t.Context(), from, to, mail); err != nil {
				t.Error(err)
			}
		})
	}
	senders.Wait()
	if took := time.Since(began); took < 50*time.Millisecond {
		t.Errorf("4 mails at 50 a second took %v", took)
	}
}

func TestWhoNoLongerWaitsKeepsNoConnection(t *testing.T) {
	t.Parallel()
	pool := newPool(t, catch(t, smtptest.Options{}).URL(), 1)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for range 50 { // some get as far as the end of the pause, and some not even that far
		_, err := pool.Acquire(ended)
		wantError(t, err, smtp.Retry, "wait")
	}
	usable(t, pool)
}

func TestAcquireFailsWhereNothingCouldBeSent(t *testing.T) {
	t.Parallel()
	server := catch(t, smtptest.Options{User: "headway", Password: "right"})
	pool := newPool(t, strings.Replace(server.URL(), "right", "wrong", 1), 1)
	_, err := pool.Acquire(t.Context())
	if wantError(t, err, smtp.Retry, "AUTH"); asError(err).Code != 535 {
		t.Error(err)
	}
	_, err = newPool(t, says(t, "greeting", "554 not you"), 1).Acquire(t.Context())
	wantError(t, err, smtp.Retry, "greeting")
	_, err = newPool(t, "smtp://localhost:1?tls=none", 1).Acquire(t.Context())
	if wantError(t, err, smtp.Retry, "connect"); strings.Contains(err.Error(), "%!") {
		t.Error(err)
	}
}
