package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/mail"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"headway/internal/bar"
	"headway/internal/pause"
	"headway/internal/smtptest"
	digest "headway/worker/mail"
)

const (
	// demoMail is the name of the files that the mail is saved to, without their extensions.
	demoMail = "headway-demo"

	// mailTime is how long the digest may take: the schedule looks once a second.
	mailTime = 15 * time.Second
)

// withCatcher runs a mail server that keeps what it receives while do runs, unless HEADWAY_SMTP_URL names another one.
func (d *demo) withCatcher(ctx context.Context, do func(context.Context) error) (err error) {
	if d.smtpURL = d.getenv("HEADWAY_SMTP_URL"); d.smtpURL == "" {
		if d.catcher, err = smtptest.Start(smtptest.Options{}); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, d.catcher.Close()) }()
		d.smtpURL = d.catcher.URL()
	}
	return do(ctx)
}

// mail ends the story: Bob, who has been away, gets one mail with everything he has not read.
func (d *demo) mail(ctx context.Context) error {
	d.stage.setCaption(fmt.Sprintf("Bob was away. He has %d unread messages, so headway sends him a single mail with everything he missed.",
		d.stage.unread(d.bob)), true)
	if err := d.pause(ctx, readingTime); err != nil {
		return err
	}

	// Hours become a moment, for Bob alone.
	const sqlPatience = `update headway.appuser set digest_after = $2::interval where id = $1`
	if _, err := d.conn.Exec(ctx, sqlPatience, d.bob, "1 millisecond"); err != nil {
		return fmt.Errorf("bring Bob's mail forward: %w", err)
	}
	waiting, cancel := context.WithTimeout(ctx, mailTime)
	defer cancel()
	raw, err := d.delivered(waiting)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("no digest within %v: %w", mailTime, err)
	}
	if _, err := d.conn.Exec(ctx, sqlPatience, d.bob, nil); err != nil {
		return fmt.Errorf("put Bob's mail delay back: %w", err)
	}
	read, err := digest.Read(bytes.NewReader(raw))
	if err != nil {
		return err
	}
	shown, err := d.showMail(raw, read)
	if err != nil {
		return err
	}
	d.print(shown + keepMail(raw, read.HTML))
	return d.pause(ctx, readingTime+watchingTime)
}

// delivered returns the mail as the catcher received it or, if another server took it, as recorded in the ledger.
func (d *demo) delivered(ctx context.Context) ([]byte, error) {
	if d.catcher != nil {
		messages, err := d.catcher.Wait(ctx, 1)
		if err != nil {
			return nil, err
		}
		return messages[0].Data, nil
	}
	for {
		var state, trouble string
		var raw []byte
		err := d.conn.QueryRow(ctx, `select state, coalesce(error, ''), mail from headway.digest where user_id = $1`, d.bob).
			Scan(&state, &trouble, &raw)
		switch {
		case err != nil && !errors.Is(err, pgx.ErrNoRows):
			return nil, err
		case state == "sent":
			return raw, nil
		case trouble != "":
			return nil, errors.New(trouble)
		}
		if !pause.For(ctx, 50*time.Millisecond) {
			return nil, ctx.Err()
		}
	}
}

// showMail returns the mail as its reader sees it, as text.
func (d *demo) showMail(raw []byte, read digest.Mail) (string, error) {
	message, err := mail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		return "", fmt.Errorf("read a mail: %w", err)
	}
	p := d.view.palette
	var b strings.Builder
	fmt.Fprintln(&b)
	for _, header := range []string{"From", "To"} {
		address, err := mail.ParseAddress(message.Header.Get(header))
		if err != nil {
			return "", fmt.Errorf("read a mail: %s: %w", header, err)
		}
		fmt.Fprintf(&b, "  %s %s\n", p.Dim(header+":"), bar.Clean(strings.TrimSpace(address.Name+" <"+address.Address+">")))
	}
	fmt.Fprintf(&b, "  %s %s\n", p.Dim("Subject:"), p.Strong(bar.Clean(read.Subject)))
	for line := range strings.Lines("\n" + strings.TrimSpace(read.Text)) {
		fmt.Fprintln(&b, strings.TrimRight(p.Dim("  | ")+cleanIndented(line), " "))
	}
	fmt.Fprintln(&b)
	return b.String(), nil
}

// keepMail saves the mail to files in the current directory, and says so.
func keepMail(raw []byte, html string) string {
	if err := cmp.Or(os.WriteFile(demoMail+".eml", raw, 0o644), os.WriteFile(demoMail+".html", []byte(html), 0o644)); err != nil {
		return fmt.Sprintf("  It could not be saved to a file: %v\n\n", err)
	}
	return fmt.Sprintf("  The same mail is in %s.eml, and as a page in %[1]s.html.\n\n", demoMail)
}
