package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"headway/internal/bar"
	"headway/internal/sqlstate"
	"headway/sql"
	"headway/worker"
	"headway/worker/mail"
)

// placeholderSender is used in a preview if no sender is configured.
const placeholderSender = "headway@example.com"

// previewDigest shows the mail that somebody would get now.
func previewDigest(ctx context.Context, e env, args []string) error {
	flags := newFlags("headway digest preview USER [--html FILE] [--eml FILE]",
		"Shows the mail that a person would get if everything unread and not yet mailed were mailed now,\n"+
			"and changes nothing.\n"+
			"USER is an id or a full name. HEADWAY_MAIL_FROM and HEADWAY_APP_URL apply as they do to a worker.")
	html := flags.String("html", "", "write the mail as an HTML page to this `FILE`")
	eml := flags.String("eml", "", "write the whole mail to this `FILE`, for a mail program to open")
	who, helped, err := parseOne(e, flags, args, "USER")
	if helped || err != nil {
		return err
	}
	config, err := loadConfig(e)
	if err != nil {
		return err
	}
	composer := &mail.Composer{From: config.MailFrom.Address, AppURL: config.AppURL}
	if composer.From.Address == "" {
		composer.From.Address = placeholderSender
		if *eml != "" { // nothing else shows the sender
			fmt.Fprintf(e.stderr, "HEADWAY_MAIL_FROM is not set: the sender in %s is %s\n", *eml, placeholderSender)
		}
	}

	conn, err := connect(ctx, e)
	if err != nil {
		return err
	}
	defer disconnect(ctx, conn)
	if err := sql.Check(ctx, conn); err != nil {
		return err
	}
	// Checked first: to a login without the role, the people do not exist.
	var may bool
	if err := ask(ctx, conn, sqlMayPreview, &may); err != nil {
		return fmt.Errorf("check what the login may do: %w", err)
	}
	if login := conn.Config().User; !may {
		return lacking(login, "see what a person would be mailed", "headway_admin")
	}
	id, err := findPerson(ctx, conn, who)
	if err != nil {
		return err
	}
	raw, err := worker.Preview(ctx, conn, composer, id)
	if sqlstate.Of(err) == sqlstate.ReadOnlySQLTransaction {
		return fmt.Errorf("a preview needs a primary and a session that can write, although it rolls back what it writes: %w", err)
	} else if err != nil {
		return withHint(err)
	}
	read, err := mail.Read(bytes.NewReader(raw))
	if err != nil {
		return err
	}
	for _, file := range []struct {
		path    string
		content []byte
	}{{*html, []byte(read.HTML)}, {*eml, raw}} {
		if file.path == "" {
			continue
		}
		if err := os.WriteFile(file.path, file.content, 0o644); err != nil {
			return err
		}
	}
	fmt.Fprintf(e.stdout, "Subject: %s\n\n", bar.Clean(read.Subject))
	for line := range strings.Lines(strings.TrimSpace(read.Text)) {
		fmt.Fprintln(e.stdout, cleanIndented(line))
	}
	return nil
}

// cleanIndented is [bar.Clean] for a line of a mail, which keeps its indentation.
func cleanIndented(line string) string {
	text := strings.TrimLeft(line, " ")
	return line[:len(line)-len(text)] + bar.Clean(text)
}

const sqlMayPreview = `select has_function_privilege('headway.reserve_digest(bigint)', 'execute')`

const sqlPeople = `
	select u.id
	from headway.appuser u
	where u.id = $1 or $1 is null and u.fullname = $2
	order by u.id`

// findPerson returns the id of the person identified by an id or a full name.
func findPerson(ctx context.Context, conn *pgx.Conn, who string) (int64, error) {
	var id *int64
	if number, err := strconv.ParseInt(who, 10, 64); err == nil {
		id = &number
	}
	rows, err := conn.Query(ctx, sqlPeople, id, who)
	if err != nil {
		return 0, fmt.Errorf("find %q: %w", who, err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	switch {
	case err != nil:
		return 0, fmt.Errorf("find %q: %w", who, err)
	case len(ids) == 0:
		return 0, fmt.Errorf("there is nobody with the id or full name %q: `select id, fullname from headway.appuser` lists everybody", who)
	case len(ids) > 1:
		return 0, fmt.Errorf("%d people are called %q: say which by id, such as %d or %d", len(ids), who, ids[0], ids[1])
	}
	return ids[0], nil
}

// withHint adds the database's hint to an error, if it has one.
func withHint(err error) error {
	if refused, is := errors.AsType[*pgconn.PgError](err); is && refused.Hint != "" {
		return fmt.Errorf("%s\nhint: %s", refused.Message, refused.Hint)
	}
	return err
}
