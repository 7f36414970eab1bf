package worker_test

import (
	"bytes"
	"context"
	"fmt"
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
	"headway/worker/smtp"
)

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
	if !p.log.has("a digest was sent[digest=3]") {
		t.Error("the log does not say which")
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

// TestWhereManyAreDueTheyAreSoughtFewTimes, as after an announcement to everybody: each search goes through all of them.
func TestWhereManyAreDueTheyAreSoughtFewTimes(t *testing.T) {
	t.Parallel()
	p := unread(t, 7000, smtptest.Options{})
	pgtest.Execute(t, p.conn, `
		create schema moved;
		alter function headway.reserve_digests set schema moved;
		create sequence headway.searches;
		create function headway.reserve_digests(max_digests integer) returns integer language sql as $$
			select nextval('headway.searches');
			select moved.reserve_digests(max_digests);
		$$`)
	if reserved, err := p.Reserve(t.Context()); err != nil || reserved != 7000 {
		t.Errorf("%d are reserved: %v", reserved, err)
	}
	if n := value[int](t, p.conn, "select last_value from headway.searches"); n != 4 { // 1,000, 2,000, 4,000, none
		t.Errorf("they were sought %d times", n)
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
	var outcomes []string
	p.Observe = func(id int64, outcome string, _ error) { outcomes = append(outcomes, fmt.Sprint(id, " ", outcome)) }
	p.send(1)
	if want := []string{"1 rejected", "2 sent"}; !slices.Equal(outcomes, want) {
		t.Errorf("it tells of %q, want %q", outcomes, want)
	}
	p.ledger(1, `d.state = 'failed' and d.error like 'compose: %' and d.mail is null and d.attempts = 0`+notSuspended)
	p.ledger(2, `d.state = 'sent'`)
	p.again()
	p.send(0)
	if len(p.server.Messages()) != 1 {
		t.Errorf("%d mails", len(p.server.Messages()))
	}
}

// TestAClaimEndsBeforeItsLease: the server gives up first, and postpones what takes too long, rather than go on for nobody.
func TestAClaimEndsBeforeItsLease(t *testing.T) {
	t.Parallel()
	p := correspond(t, 1, smtptest.Options{})
	pgtest.Execute(t, p.conn, `
		create or replace function headway.digest_content(digest_id bigint) returns json language plpgsql as $$
		begin
		  raise '%', current_setting('statement_timeout');
		end
		$$`)
	p.send(0)
	p.ledger(1, `d.state = 'failed' and d.error::interval between '1 minute' and '4 minutes'`) // of the lease's five
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

// TestAnAttemptThatIsForgottenHoldsUpNoMail has the database go back, as in a failover to a standby that lags behind, to
// before the attempt whose mail a server is just taking.
func TestAnAttemptThatIsForgottenHoldsUpNoMail(t *testing.T) {
	t.Parallel()
	p := correspond(t, 2, smtptest.Options{})
	forget := sync.OnceFunc(func() {
		pgtest.Execute(t, p.conn, `
			update headway.digest set state = 'reserved', attempts = 0, recipient = null, mail = null, claimed_by = null, lease_until = null
			where id = 1`)
	})
	p.server.Fail(func(s smtptest.Step) error {
		if s.Name == "DATA" {
			forget()
		}
		return nil
	})
	done := make(chan struct{})
	go func() { defer close(done); p.send(3) }()
	await(t, "the end", done)
	for id := range 2 {
		p.ledger(id+1, `d.state = 'sent' and d.attempts = 1`)
	}
}
