package worker_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/mail"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"headway/internal/pgtest"
	"headway/internal/smtptest"
	"headway/worker"
	digest "headway/worker/mail"
	"headway/worker/smtp"
)

// logbook is a log that a test can read, and whose lines it can wait for.
type logbook struct {
	slog.Handler
	said func(message string) // nil: nothing happens

	mu       *sync.Mutex
	messages *[]string
}

func newLogbook(t *testing.T, said func(message string)) *logbook {
	t.Helper()
	return &logbook{Handler: slog.NewTextHandler(t.Output(), nil), said: said, mu: new(sync.Mutex), messages: new([]string)}
}

func (l *logbook) Handle(ctx context.Context, record slog.Record) error {
	l.mu.Lock()
	*l.messages = append(*l.messages, record.Message)
	l.mu.Unlock()
	err := l.Handler.Handle(ctx, record)
	if l.said != nil {
		l.said(record.Message)
	}
	return err
}

func (l *logbook) WithAttrs(attrs []slog.Attr) slog.Handler {
	with := *l
	with.Handler = l.Handler.WithAttrs(attrs)
	return &with
}

// has reports whether a message was logged.
func (l *logbook) has(message string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Contains(*l.messages, message)
}

// post is a database with people who have something unread, a mail server, and a mailer between them.
type post struct {
	*worker.Mailer
	t      *testing.T
	db     *pgtest.DB
	conn   *pgx.Conn
	server *smtptest.Server
	log    *logbook
}

// correspond makes that many people, with ids from 1 on, and digest n for person n.
func correspond(t *testing.T, people int, options smtptest.Options) *post {
	t.Helper()
	p := unread(t, people, options)
	pgtest.Execute(t, p.conn, fmt.Sprintf(`select headway.reserve_digest(n) from generate_series(1, %d) n`, people))
	return p
}

// unread makes that many people, with ids from 1 on, and a message that is due by now.
func unread(t *testing.T, people int, options smtptest.Options) *post {
	t.Helper()
	db := pgtest.New(t)
	p := &post{t: t, db: db, conn: db.Conn(t), log: newLogbook(t, nil)}
	pgtest.Execute(t, p.conn, fmt.Sprintf(`
		insert into headway.appuser (fullname, email) select 'Person ' || n, 'person' || n || '@example.com' from generate_series(1, %d) n;
		insert into headway.appuser (fullname) values ('Dora');
		select headway.set_setting('digest_after', '1 microsecond'), headway.set_setting('digest_min_gap', '0');
		select headway.post(%[1]d + 1, 'broadcast', 'The photographs are here.')`, people))
	var err error
	if p.server, err = smtptest.Start(options); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.server.Fail(nil)
		if err := p.server.Close(); err != nil {
			t.Error(err)
		}
	})
	p.Mailer = &worker.Mailer{
		Pool:        db.Pool(t),
		WorkerID:    uuid.NewString(),
		Composer:    &digest.Composer{From: digest.Address{Address: "headway@example.com"}},
		Log:         slog.New(p.log),
		Concurrency: 1,
	}
	p.connectTo(p.server.URL())
	return p
}

// connectTo has the mailer send to another server.
func (p *post) connectTo(url string) {
	p.t.Helper()
	server, err := smtp.ParseURL(url)
	if err != nil {
		p.t.Fatal(err)
	}
	p.Sender = smtp.NewPool(server, 4)
	p.t.Cleanup(p.Sender.Close)
}

// send sends, which must go without trouble, and take that many digests to their readers.
func (p *post) send(want int) {
	p.t.Helper()
	sent, err := p.Send(p.t.Context())
	if err != nil || sent != want {
		p.t.Errorf("%d were sent rather than %d: %v", sent, want, err)
	}
}

// ledger checks that a digest is as a condition says.
func (p *post) ledger(id int, condition string) {
	p.t.Helper()
	if !value[bool](p.t, p.conn, `select `+condition+` from headway.digest d join headway.appuser u on u.id = d.user_id where d.id = $1`, id) {
		row := value[string](p.t, p.conn, `
			select concat_ws(' ', d.state, d.attempts, 'error:', d.error, 'unknown:', d.unknown_at, 'suspended:', u.mail_suspended_reason)
			from headway.digest d join headway.appuser u on u.id = d.user_id where d.id = $1`, id)
		p.t.Errorf("digest %d is not so that %s: %s", id, condition, row)
	}
}

// again brings the next attempt on.
func (p *post) again() {
	p.t.Helper()
	pgtest.Execute(p.t, p.conn, `update headway.digest set next_attempt_at = now() where state = 'reserved'`)
}

// frozen is the mail of a digest as the ledger has it.
func (p *post) frozen(id int) []byte {
	p.t.Helper()
	return value[[]byte](p.t, p.conn, `select mail from headway.digest where id = $1`, id)
}

func messageID(t *testing.T, raw []byte) string {
	t.Helper()
	message, err := mail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	return message.Header.Get("Message-ID")
}

const notSuspended = " and u.mail_suspended_at is null"

func TestADigestIsSentOnceAndRecorded(t *testing.T) {
	t.Parallel()
	p := correspond(t, 3, smtptest.Options{})
	var outcomes []string
	p.Observe = func(id int64, outcome string, reason error) {
		outcomes = append(outcomes, fmt.Sprintf("%d %s %v", id, outcome, reason))
	}
	p.send(3)
	p.send(0)
	messages := p.server.Messages()
	if len(messages) != 3 {
		t.Fatalf("%d mails", len(messages))
	}
	for i, m := range messages {
		p.ledger(i+1, `d.state = 'sent' and d.attempts = 1 and d.error is null and d.unknown_at is null and d.claimed_by is null`+notSuspended)
		if m.To != fmt.Sprintf("person%d@example.com", i+1) || !bytes.Equal(m.Data, p.frozen(i+1)) {
			t.Errorf("mail %d is not as in the ledger: to %s\n%s", i+1, m.To, m.Data)
		}
	}
	if fmt.Sprint(outcomes) != "[1 sent <nil> 2 sent <nil> 3 sent <nil>]" {
		t.Errorf("%q", outcomes)
	}
}

func TestAMessageIDLeadsToItsDigest(t *testing.T) {
	t.Parallel()
	p := correspond(t, 2, smtptest.Options{})
	p.send(2)
	for i, m := range p.server.Messages() {
		id, domain, _ := strings.Cut(strings.Trim(messageID(t, m.Data), "<>"), "@")
		if digest := value[int](t, p.conn, `select max(id) from headway.digest where encode(sha256(token::text::bytea), 'hex') = $1`, id); digest != i+1 || domain != "example.com" {
			t.Errorf("%s@%s leads to %d", id, domain, digest)
		}
	}
}

func TestManyAreSentAtATimeAndEachOnce(t *testing.T) {
	t.Parallel()
	p := correspond(t, 100, smtptest.Options{})
	p.Concurrency = 4
	second := *p.Mailer
	second.WorkerID = uuid.NewString()
	second.Sender = smtp.NewPool(p.Sender.Server, 4)
	defer second.Sender.Close()

	var others int
	var group sync.WaitGroup
	group.Go(func() {
		var err error
		if others, err = second.Send(t.Context()); err != nil {
			t.Error(err)
		}
	})
	sent, err := p.Send(t.Context())
	group.Wait()
	if err != nil || sent+others != 100 {
		t.Errorf("%d and %d: %v", sent, others, err)
	}
	to := map[string]int{}
	for _, m := range p.server.Messages() {
		to[m.To]++
	}
	if n := value[int](t, p.conn, `select count(*) from headway.digest where state = 'sent' and attempts = 1`); n != 100 || len(to) != 100 || len(p.server.Messages()) != 100 {
		t.Errorf("%d are called sent, %d mails came for %d people", n, len(p.server.Messages()), len(to))
	}
}

// TestMoreConnectionsAreUsedWhereMoreIsReserved has one digest wait at first, and three more while that one is sent.
func TestMoreConnectionsAreUsedWhereMoreIsReserved(t *testing.T) {
	t.Parallel()
	p := unread(t, 4, smtptest.Options{})
	pgtest.Execute(t, p.conn, `select headway.reserve_digest(1)`)
	p.Concurrency = 4
	var begun atomic.Int64
	atOnce := make(chan struct{})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	p.server.Fail(func(step smtptest.Step) error {
		switch {
		case step.Name == "DATA" && step.Message.To == "person1@example.com":
			if _, err := p.Pool.Exec(t.Context(), `select headway.reserve_digest(n) from generate_series(2, 4) n`); err != nil {
				t.Error(err)
			}
		case step.Name == "RCPT" && step.Message.To != "person1@example.com":
			if begun.Add(1) == 3 {
				close(atOnce)
			}
			select {
			case <-atOnce:
			case <-ctx.Done():
				t.Error("they are sent one after the other")
			}
		}
		return nil
	})
	p.send(4)
}

// TestNobodyWaitsForTheEndOfAPauseWhereNothingIsLeft has a server be busy, as `headway digest run` may find it.
func TestNobodyWaitsForTheEndOfAPauseWhereNothingIsLeft(t *testing.T) {
	t.Parallel()
	p := correspond(t, 1, smtptest.Options{})
	p.Sender.Pause = time.Hour
	p.server.Fail(func(smtptest.Step) error { return smtptest.Reply(421, "4.3.2", "busy") })
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if sent, err := p.Send(ctx); sent != 0 || err != nil || ctx.Err() != nil {
		t.Errorf("%d, %v, %v", sent, err, ctx.Err())
	}
	p.ledger(1, `d.state = 'reserved' and d.attempts = 1`+notSuspended)
}

func TestWhatAServerPutsOffIsSentAgainByteForByte(t *testing.T) {
	t.Parallel()
	for _, step := range []string{"RCPT", "DATA"} {
		t.Run(step, func(t *testing.T) {
			t.Parallel()
			p := correspond(t, 1, smtptest.Options{})
			var first []byte
			p.server.Fail(func(s smtptest.Step) error {
				if s.Name != step {
					return nil
				}
				first = s.Message.Data // none at RCPT
				return smtptest.Reply(450, "4.2.0", "greylisted")
			})
			p.send(0)
			p.ledger(1, `d.state = 'reserved' and d.attempts = 1 and d.error = '`+map[string]string{"RCPT": "RCPT", "DATA": "reply"}[step]+
				`: 450 4.2.0 greylisted' and d.unknown_at is null and d.claimed_by is null`+
				` and d.next_attempt_at between now() + interval '30 seconds' and now() + interval '90 seconds'`+notSuspended)
			frozen := p.frozen(1)

			p.server.Fail(nil)
			p.send(0) // it is not time yet
			p.again()
			pgtest.Execute(t, p.conn, `
				update headway.appuser set fullname = 'Renamed', time_zone = 'Asia/Tokyo' where id = 1;
				select headway.set_setting('digest_max_items', '1')`)
			p.Composer = &digest.Composer{From: p.Composer.From, AppURL: &url.URL{Scheme: "https", Host: "app.example.com"}}
			p.send(1)
			messages := p.server.Messages()
			if len(messages) != 1 || !bytes.Equal(messages[0].Data, frozen) || step == "DATA" && !bytes.Equal(first, frozen) {
				t.Errorf("%d mails; they are not the same", len(messages))
			}
			p.ledger(1, `d.state = 'sent' and d.attempts = 2 and d.error is null`)
		})
	}
}

// The answer to a report may be lost, and the report made again when another sender of the same worker has the digest.
func TestAReportThatComesAgainLetsGoOfNothing(t *testing.T) {
	t.Parallel()
	p := correspond(t, 1, smtptest.Options{})
	claimant := func() string { return value[string](t, p.conn, `select claimed_by::text from headway.digest`) }
	var first string
	p.server.Fail(func(s smtptest.Step) error {
		if s.Name != "RCPT" {
			return nil
		}
		first = claimant()
		return smtptest.Reply(450, "4.2.0", "greylisted")
	})
	p.send(0)
	p.again()
	p.server.Fail(func(s smtptest.Step) error {
		if s.Name != "RCPT" {
			return nil
		}
		if now := claimant(); now == first || now[:24] != p.WorkerID[:24] {
			t.Errorf("worker %s claims as %s and then as %s", p.WorkerID, first, now)
		}
		if state := value[string](t, p.conn, `select headway.digest_failed(1, $1, 'retry', 'greylisted')`, first); state != "sending" {
			t.Errorf("what is being sent was let go of: %s", state)
		}
		return nil
	})
	p.send(1)
	p.ledger(1, `d.state = 'sent' and d.attempts = 2`)
}

func TestAnAddressThatIsRefusedIsSuspended(t *testing.T) {
	t.Parallel()
	p := correspond(t, 2, smtptest.Options{})
	p.server.Fail(func(s smtptest.Step) error {
		if s.Name == "RCPT" && s.Message.To == "person1@example.com" {
			return smtptest.Reply(550, "5.1.1", "no such user")
		}
		return nil
	})
	p.send(1)
	p.ledger(1, `d.state = 'failed' and d.attempts = 1 and u.mail_suspended_reason = 'RCPT: 550 5.1.1 no such user' and u.mail_suspended_at is not null`)
	p.ledger(2, `d.state = 'sent'`+notSuspended)
}

func TestAMailThatIsRefusedSuspendsNoAddress(t *testing.T) {
	t.Parallel()
	p := correspond(t, 2, smtptest.Options{})
	p.server.Fail(func(s smtptest.Step) error {
		if s.Name == "DATA" && s.Message.To == "person1@example.com" {
			return smtptest.Reply(554, "5.7.1", "this looks like spam")
		}
		return nil
	})
	p.send(1)
	p.ledger(1, `d.state = 'failed' and d.attempts = 1 and d.error = 'reply: 554 5.7.1 this looks like spam'`+notSuspended)
	p.ledger(2, `d.state = 'sent'`)
	p.again()
	p.send(0)
}

func TestARelayThatTakesNothingSuspendsNobody(t *testing.T) {
	t.Parallel()
	for _, reply := range []error{
		smtptest.Reply(550, "", "relay not permitted"),
		smtptest.Reply(550, "", "Sender verify failed"),
		smtptest.Reply(550, "5.1.0", "<headway@example.com>: Sender address rejected"),
		smtptest.Reply(554, "5.7.1", "<bob@example.com>: Relay access denied"),
		smtptest.Reply(550, "5.7.1", "Client was not authenticated"),
		smtptest.Reply(550, "5.7.60", "SMTP; Client does not have permissions to send as this sender"),
	} {
		t.Run(reply.Error(), func(t *testing.T) {
			t.Parallel()
			p := correspond(t, 2, smtptest.Options{})
			p.server.Fail(func(s smtptest.Step) error {
				if s.Name == "RCPT" {
					return reply
				}
				return nil
			})
			p.send(0)
			for id := 1; id <= 2; id++ {
				p.ledger(id, `d.state = 'reserved'`+notSuspended)
			}
			p.server.Fail(nil)
			p.again()
			p.send(2)
		})
	}
}

func TestWhatIsBeyondTodaysLimitWaits(t *testing.T) {
	t.Parallel()
	p := correspond(t, 2, smtptest.Options{})
	p.server.Fail(func(s smtptest.Step) error {
		if s.Name == "DATA" {
			return smtptest.Reply(550, "5.4.5", "Daily user sending limit exceeded")
		}
		return nil
	})
	p.send(0)
	p.server.Fail(nil)
	p.again()
	p.send(2)
}

func TestWhenNobodyKnowsTheSettingDecides(t *testing.T) {
	t.Parallel()
	for _, setting := range []string{"resend", "hold"} {
		t.Run(setting, func(t *testing.T) {
			t.Parallel()
			p := correspond(t, 1, smtptest.Options{})
			if _, err := p.conn.Exec(t.Context(), `select headway.set_setting('digest_when_unknown', $1)`, setting); err != nil {
				t.Fatal(err)
			}
			p.server.Fail(func(s smtptest.Step) error {
				if s.Name == "DATA" {
					return smtptest.ErrTakeAndHangUp
				}
				return nil
			})
			p.send(0)
			p.server.Fail(nil)
			state, copies := "reserved", 2
			if setting == "hold" {
				state, copies = "held", 1
			}
			p.ledger(1, `d.state = '`+state+`' and d.unknown_at is not null and d.attempts = 1`+notSuspended)
			p.again()
			p.send(copies - 1)
			messages := p.server.Messages()
			if len(messages) != copies {
				t.Fatalf("%d mails came", len(messages))
			}
			for _, m := range messages {
				if !bytes.Equal(m.Data, p.frozen(1)) || messageID(t, m.Data) != messageID(t, messages[0].Data) {
					t.Errorf("this is another mail:\n%s", m.Data)
				}
			}
			if setting == "resend" {
				p.ledger(1, `d.state = 'sent' and d.unknown_at is not null and d.attempts = 2`)
			}
		})
	}
}

func TestADigestThatCannotBeComposedDelaysNoOther(t *testing.T) {
	t.Parallel()
	p := correspond(t, 2, smtptest.Options{})
	// No date of Go's is as long ago as this; it takes somebody with all rights to get it past the triggers.
	pgtest.Execute(t, p.conn, `
		set session_replication_role = replica;
		update headway.message set sent_at = '-infinity';
		reset session_replication_role;
		select headway.post(3, 'broadcast', 'A second one.');
		select headway.mark_read(2, 'broadcast', 1);
		update headway.digest_item set through_seq = 2`)
	p.send(1)
	p.ledger(1, `d.state = 'failed' and d.error like 'compose: %' and d.mail is null and d.attempts = 0`+notSuspended)
	p.ledger(2, `d.state = 'sent'`)
	p.again()
	p.send(0)
	if len(p.server.Messages()) != 1 {
		t.Errorf("%d mails", len(p.server.Messages()))
	}
}

func TestAPanicOfTheComposerEndsTheDigest(t *testing.T) {
	t.Parallel()
	p := correspond(t, 3, smtptest.Options{})
	composer := p.Composer
	p.Composer = nil // it panics
	p.send(0)
	for id := range 3 {
		p.ledger(id+1, `d.state = 'failed' and d.error like 'compose: panic: %' and d.error not like '%goroutine%' and d.attempts = 0`+notSuspended)
	}
	if !p.log.has("composing a digest panicked") {
		t.Error("nobody hears of it")
	}
	p.Composer = composer
	pgtest.Execute(t, p.conn, `select headway.retry_digest(2)`)
	p.send(1)
	p.ledger(2, `d.state = 'sent'`)
}

func TestAPanicWhileSendingIsAnError(t *testing.T) {
	t.Parallel()
	p := correspond(t, 2, smtptest.Options{})
	p.Observe = func(int64, string, error) { panic("a defect") }
	if _, err := p.Send(t.Context()); err == nil || !strings.Contains(err.Error(), "panic: a defect") {
		t.Errorf("%v", err)
	}
	p.Observe = nil
	p.send(1)
	p.ledger(1, `d.state = 'sending' and d.lease_until > now()`) // nobody knows, until the lease ends
	p.ledger(2, `d.state = 'sent'`)
}

func TestWhatIsSentIsRecordedOnceTheDatabaseIsBack(t *testing.T) {
	t.Parallel()
	p := correspond(t, 1, smtptest.Options{})
	name := pgx.Identifier{p.db.Name}.Sanitize()
	ctx := context.WithoutCancel(t.Context())
	elsewhere, err := pgx.Connect(ctx, pgtest.Cluster(t).URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer elsewhere.Close(ctx)
	p.server.Fail(func(s smtptest.Step) error {
		if s.Name != "DATA" {
			return nil
		}
		// The mail is out. Now the database goes, and comes back only when it was missed.
		_, err := elsewhere.Exec(ctx, `alter database `+name+` with allow_connections false`)
		if err == nil {
			_, err = p.conn.Exec(ctx, `select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()`)
		}
		if err != nil {
			t.Error(err)
		}
		return nil
	})
	returned := make(chan struct{})
	go func() {
		defer close(returned)
		p.send(1)
	}()
	pgtest.Eventually(t, soon, func() bool { return p.log.has("the outcome of a digest could not be recorded, retrying") }, "the database is not missed")
	select {
	case <-returned:
		t.Error("it gave up")
	default:
	}
	pgtest.Execute(t, elsewhere, `alter database `+name+` with allow_connections true`)
	await(t, "the record", returned)
	p.ledger(1, `d.state = 'sent' and d.attempts = 1 and d.unknown_at is null`)
	p.server.Fail(nil)
	p.again()
	p.send(0)
	if len(p.server.Messages()) != 1 {
		t.Errorf("%d mails", len(p.server.Messages()))
	}
}

func TestWhereTheServerCannotBeUsedNothingIsClaimed(t *testing.T) {
	t.Parallel()
	expired, _, err := smtptest.TLS(time.Now().Add(-time.Hour), "localhost")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		options smtptest.Options
		url     func(string) string
		want    string
	}{
		"a wrong password": {
			smtptest.Options{User: "abe", Password: "secret", InsecureAuth: true},
			func(url string) string { return strings.Replace(url, "secret", "wrong", 1) }, "AUTH: 535",
		},
		"no STARTTLS": {
			smtptest.Options{}, func(url string) string { return strings.TrimSuffix(url, "?tls=none") }, "STARTTLS",
		},
		"an expired certificate": {
			smtptest.Options{TLS: expired}, func(url string) string { return url }, "certificate",
		},
		"nobody listens": {
			smtptest.Options{}, func(string) string { return "smtp://127.0.0.1:1?tls=none" }, "connect: ",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := correspond(t, 3, c.options)
			p.Concurrency = 2
			p.connectTo(c.url(p.server.URL()))
			sent, err := p.Send(t.Context())
			if failure := new(smtp.Error); sent != 0 || !errors.As(err, &failure) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%d were sent: %v", sent, err)
			}
			for id := range 3 {
				p.ledger(id+1, `d.state = 'reserved' and d.attempts = 0 and d.claimed_by is null and d.error is null and d.next_attempt_at <= now()`+notSuspended)
			}
			p.connectTo(p.server.URL())
			if name != "an expired certificate" {
				p.send(3)
			}
		})
	}
}

// claimed counts the digests that somebody holds.
func (p *post) claimed() int {
	p.t.Helper()
	return value[int](p.t, p.conn, `select count(*) from headway.digest where claimed_by is not null`)
}

func TestTheNextIsPreparedMeanwhileAndGivenBackIfItCannotBeSent(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(p *post, stop func()){
		"the worker stops":              func(_ *post, stop func()) { stop() },
		"there is no connection for it": func(p *post, _ func()) { p.Sender.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := correspond(t, 3, smtptest.Options{})
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			p.server.Fail(func(s smtptest.Step) error {
				if s.Name == "DATA" {
					pgtest.Eventually(t, soon, func() bool { return p.claimed() == 2 }, "nothing is prepared")
					end(p, stop)
				}
				return nil
			})
			sent, err := p.Send(ctx)
			if sent != 1 || (err == nil) != (name == "the worker stops") {
				t.Errorf("%d were sent: %v", sent, err)
			}
			p.ledger(1, `d.state = 'sent' and d.attempts = 1`)
			for id := 2; id <= 3; id++ {
				p.ledger(id, `d.state = 'reserved' and d.attempts = 0 and d.claimed_by is null and d.error is null and d.next_attempt_at <= now()`)
			}
		})
	}
}

func TestARetryThatIsGivenBackStaysOne(t *testing.T) {
	t.Parallel()
	p := correspond(t, 2, smtptest.Options{})
	p.server.Fail(func(smtptest.Step) error { return smtptest.Reply(450, "4.2.0", "greylisted") })
	p.send(0)
	p.again()
	frozen := p.frozen(2)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	p.server.Fail(func(s smtptest.Step) error {
		if s.Name == "DATA" {
			pgtest.Eventually(t, soon, func() bool { return p.claimed() == 2 }, "nothing is prepared")
			stop()
		}
		return nil
	})
	if sent, err := p.Send(ctx); sent != 1 || err != nil {
		t.Errorf("%d were sent: %v", sent, err)
	}
	p.ledger(2, `d.state = 'reserved' and d.attempts = 1 and d.claimed_by is null and d.unknown_at is null`)
	p.server.Fail(nil)
	p.send(1)
	p.ledger(2, `d.state = 'sent' and d.attempts = 2`)
	if mails := p.server.Messages(); len(mails) != 2 || !bytes.Equal(mails[1].Data, frozen) {
		t.Errorf("%d mails; the second is not what was frozen", len(mails))
	}
}

func TestNothingGrowsOldWhereTheRateIsLimited(t *testing.T) {
	t.Parallel()
	p := correspond(t, 20, smtptest.Options{})
	p.connectTo(p.server.URL() + "&rate=1000")
	most := 0
	p.server.Fail(func(smtptest.Step) error { most = max(most, p.claimed()); return nil })
	p.send(20)
	if most != 1 {
		t.Errorf("%d were claimed for one connection", most)
	}
}

func TestTheMailInHandIsFinished(t *testing.T) {
	t.Parallel()
	p := correspond(t, 2, smtptest.Options{})
	reached, released := make(chan struct{}), make(chan struct{})
	p.server.Fail(func(s smtptest.Step) error {
		if s.Name == "DATA" {
			close(reached)
			<-released
		}
		return nil
	})
	release := sync.OnceFunc(func() { close(released) })
	defer release()

	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	var sent int
	var err error
	go func() { defer close(done); sent, err = p.Send(ctx) }()
	await(t, "a mail to be out", reached)
	stop()
	release()
	await(t, "the end", done)
	if sent != 1 || err != nil {
		t.Errorf("%d were sent: %v", sent, err)
	}
	p.ledger(1, `d.state = 'sent' and d.attempts = 1 and d.unknown_at is null`)
	p.ledger(2, `d.state = 'reserved' and d.attempts = 0 and d.claimed_by is null`)
	if sent, err := p.Send(ctx); sent != 0 || !errors.Is(err, context.Canceled) && err != nil {
		t.Errorf("stopped, %d were sent: %v", sent, err)
	}
	p.ledger(2, `d.state = 'reserved' and d.attempts = 0 and d.claimed_by is null`)
}

// TestToBeToldToStopIsNoTrouble stops a mailer that could use more connections, for a reason, with a mail in hand.
func TestToBeToldToStopIsNoTrouble(t *testing.T) {
	t.Parallel()
	p := correspond(t, 1, smtptest.Options{})
	p.Concurrency = 4
	ctx, stop := context.WithCancelCause(t.Context())
	p.server.Fail(func(s smtptest.Step) error {
		if s.Name == "DATA" {
			stop(errors.New("terminated"))
		}
		return nil
	})
	if sent, err := p.Send(ctx); sent != 1 || err != nil {
		t.Errorf("%d were sent: %v", sent, err)
	}
}

func TestNobodyWaitsUntilOneMoreMayBeSentWhereThereIsNone(t *testing.T) {
	t.Parallel()
	p := correspond(t, 1, smtptest.Options{})
	p.connectTo(p.server.URL() + "&rate=1/h")
	done := make(chan struct{})
	go func() { defer close(done); p.send(1) }()
	await(t, "the end", done)
}
