package mail

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"headway/bench/lab"
	"headway/bench/process"
	"headway/internal/smtptest"
)

// patience bounds how long it may take until every digest was sent.
const patience = 2 * time.Minute

// worker has a worker send a digest to everybody, and looks whether it did so.
func worker(ctx context.Context, l *lab.Lab, program string, c conditions) (_ run, err error) {
	server, err := catch(c.delay)
	if err != nil {
		return run{}, err
	}
	defer func() { err = errors.Join(err, server.Close()) }()
	db, err := l.Copy(ctx, template)
	if err != nil {
		return run{}, err
	}
	conn, err := db.Connect(ctx)
	if err != nil {
		return run{}, err
	}
	defer conn.Close(context.WithoutCancel(ctx))

	w, err := process.Start(ctx, program, db.URL,
		"HEADWAY_SMTP_URL="+server.URL(), "HEADWAY_MAIL_FROM=Headway <headway@example.com>", "HEADWAY_APP_URL=https://app.example.com",
		"HEADWAY_DIGEST_SCHEDULE=@every 1s", fmt.Sprintf("HEADWAY_DIGEST_CONCURRENCY=%d", c.connections))
	if err != nil {
		return run{}, err
	}
	used, err := send(ctx, l, w, conn, c.digests)
	if err := errors.Join(err, w.Stop()); err != nil {
		return run{}, err
	}
	r := run{cpu: used / time.Duration(c.digests), mails: server.Messages()}
	if err := check(ctx, conn, r.mails, c.digests); err != nil {
		return run{}, err
	}
	r.perSecond, err = server.perSecond()
	return r, err
}

const (
	sqlLeft   = `select count(*) from headway.digest d where d.state in ('reserved', 'sending')`
	sqlLedger = `select d.recipient, d.mail from headway.digest d where d.state = 'sent' and d.attempts = 1 and d.unknown_at is null`
)

// send reserves the digests, waits until a worker has sent them, and returns the CPU that this took.
func send(ctx context.Context, l *lab.Lab, w *process.Worker, conn *pgx.Conn, digests int) (used time.Duration, err error) {
	var reserved int
	if err := conn.QueryRow(ctx, sqlReserve, digests).Scan(&reserved); err != nil {
		return 0, fmt.Errorf("reserve the digests: %w", err)
	}
	if reserved != digests {
		return 0, fmt.Errorf("%d digests were reserved rather than %d", reserved, digests)
	}
	before, err := cpu(ctx, l, w)
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	again := time.NewTicker(250 * time.Millisecond)
	defer again.Stop()
	for left := digests; left > 0; {
		select {
		case <-again.C:
		case <-ctx.Done():
			return 0, fmt.Errorf("wait for %d of %d digests: %w", left, digests, ctx.Err())
		}
		if err := conn.QueryRow(ctx, sqlLeft).Scan(&left); err != nil {
			return 0, fmt.Errorf("look at the ledger: %w", err)
		}
	}
	after, err := cpu(ctx, l, w)
	return after - before, err
}

// cpu returns what this process, in which the mail server is, the database and the worker have used.
func cpu(ctx context.Context, l *lab.Lab, w *process.Worker) (time.Duration, error) {
	used, err := l.CPU()
	if err != nil {
		return 0, err
	}
	m, err := w.Metrics(ctx)
	return used + m.CPU, err
}

// check looks whether everybody got exactly one mail, the one that is in the ledger as sent at the first attempt.
func check(ctx context.Context, conn *pgx.Conn, mails []smtptest.Message, digests int) error {
	rows, err := conn.Query(ctx, sqlLedger)
	if err != nil {
		return fmt.Errorf("read the ledger: %w", err)
	}
	type digest struct {
		Recipient string
		Mail      []byte
	}
	ledger, err := pgx.CollectRows(rows, pgx.RowToStructByName[digest])
	if err != nil {
		return fmt.Errorf("read the ledger: %w", err)
	}
	frozen := map[string][]byte{}
	for _, d := range ledger {
		frozen[d.Recipient] = d.Mail
	}
	came := map[string]bool{}
	for _, m := range mails {
		if came[m.To] {
			return fmt.Errorf("%s got more than one mail", m.To)
		}
		came[m.To] = true
		if !bytes.Equal(frozen[m.To], m.Data) {
			return fmt.Errorf("the mail to %s is not the one in the ledger", m.To)
		}
	}
	if len(came) != digests || len(frozen) != digests || len(ledger) != digests {
		return fmt.Errorf("%d people got a mail and %d digests are called sent, of %d", len(came), len(ledger), digests)
	}
	return nil
}
