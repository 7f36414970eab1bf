package worker_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/mail"
	"slices"
	"sync"
	"testing"

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
	said  func(message string) // nil: nothing happens
	attrs []slog.Attr

	mu       *sync.Mutex
	messages *[]string
}

func newLogbook(t *testing.T, said func(message string)) *logbook {
	t.Helper()
	return &logbook{Handler: slog.NewTextHandler(t.Output(), nil), said: said, mu: new(sync.Mutex), messages: new([]string)}
}

func (l *logbook) Handle(ctx context.Context, record slog.Record) error {
	l.mu.Lock()
	*l.messages = append(*l.messages, record.Message, fmt.Sprint(record.Message, l.attrs))
	l.mu.Unlock()
	err := l.Handler.Handle(ctx, record)
	if l.said != nil {
		l.said(record.Message)
	}
	return err
}

func (l *logbook) WithAttrs(attrs []slog.Attr) slog.Handler {
	with := *l
	with.Handler, with.attrs = l.Handler.WithAttrs(attrs), slices.Concat(l.attrs, attrs)
	return &with
}

// has reports whether a message was logged. It may say what its logger says with each, as in "message[name=value]".
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

// claimed counts the digests that somebody holds.
func (p *post) claimed() int {
	p.t.Helper()
	return value[int](p.t, p.conn, `select count(*) from headway.digest where claimed_by is not null`)
}
