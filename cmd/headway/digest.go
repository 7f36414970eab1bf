package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"headway/internal/bar"
	"headway/internal/sqlstate"
	"headway/sql"
	"headway/worker"
	"headway/worker/mail"
)

// placeholderSender is used in a preview if no sender is configured.
const placeholderSender = "headway@example.com"

// runDigest shows digests or sends them by hand.
func runDigest(ctx context.Context, e env, args []string) error {
	actions := map[string]func(context.Context, env, []string) error{"preview": previewDigest, "run": runDigests}
	if len(args) > 0 && actions[args[0]] != nil {
		return actions[args[0]](ctx, e, args[1:])
	}
	flags := newFlags("headway digest preview USER [--html FILE] [--eml FILE]\n       headway digest run",
		"Sends digests by hand, or shows what one would say. `headway digest preview -help` and\n"+
			"`headway digest run -help` say more. Workers do all this by themselves, on schedule.")
	if helped, err := parse(e, flags, args); helped || err != nil {
		return err
	}
	flags.SetOutput(e.stderr)
	flags.Usage()
	fmt.Fprintln(e.stderr)
	return &usageError{errors.New("digest: want preview or run")}
}

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
		indent := len(line) - len(strings.TrimLeft(line, " "))
		fmt.Fprintln(e.stdout, strings.Repeat(" ", indent)+bar.Clean(line))
	}
	return nil
}

// parseOne parses the flags of a subcommand that takes one argument, which may come before or after them.
func parseOne(e env, flags *flag.FlagSet, args []string, name string) (argument string, helped bool, err error) {
	before := len(args) > 0 && !strings.HasPrefix(args[0], "-")
	if before {
		argument, args = args[0], args[1:]
	}
	flags.SetOutput(io.Discard)
	if !before && flags.Parse(args) == nil && flags.NArg() > 0 {
		argument, args = flags.Arg(0), append(args[:len(args)-flags.NArg():len(args)-flags.NArg()], flags.Args()[1:]...)
	}
	if helped, err := parse(e, flags, args); helped || err != nil {
		return "", helped, err
	}
	if argument == "" {
		return "", false, &usageError{fmt.Errorf("%s is missing", name)}
	}
	return argument, false, nil
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

// loadConfig reads the environment.
func loadConfig(e env) (worker.Config, error) {
	config, err := worker.LoadConfig(e.getenv)
	if err != nil {
		return config, fmt.Errorf("the configuration is invalid:\n%w", err)
	}
	return config, nil
}

// runDigests reserves digests for everyone due and sends what is reserved, once.
func runDigests(ctx context.Context, e env, args []string) error {
	flags := newFlags("headway digest run",
		"Does once what workers do on schedule: reserves a digest for everybody who is due now, and sends what is\n"+
			"waiting to be sent. It is safe to run beside running workers. HEADWAY_SMTP_URL, HEADWAY_MAIL_FROM,\n"+
			"HEADWAY_DIGEST_CONCURRENCY and HEADWAY_APP_URL apply as they do to a worker. It fails if a mail could not be sent.")
	if helped, err := parse(e, flags, args); helped || err != nil {
		return err
	}
	config, err := loadConfig(e)
	if err != nil {
		return err
	}
	if config.SMTP == nil {
		return errors.New("HEADWAY_SMTP_URL is not set, so there is no server to send mail to: smtp://user:password@host:587 or smtps://host:465")
	}
	pool, err := worker.Connect(ctx, config.DatabaseURL, "headway digest")
	if err != nil {
		return err
	}
	defer pool.Close()
	log := slog.New(slog.NewTextHandler(e.stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	mailer := worker.NewMailer(config, pool, uuid.NewString(), log)
	defer mailer.Sender.Close()
	var failures failures
	mailer.Observe = failures.note

	reserved, err := mailer.Reserve(ctx)
	if err != nil {
		return refused(err, pool.Config().ConnConfig.User, "send digests", "headway_worker")
	}
	sent, err := mailer.Send(ctx)
	fmt.Fprintf(e.stdout, "reserved %d, sent %d\n", reserved, sent)
	if told := failures.tell(ctx, pool, e.stdout); err == nil {
		err = told
	}
	return cmp.Or(err, ctx.Err())
}

// failures are the digests that could not be sent, and why.
type failures struct {
	mu      sync.Mutex
	reasons map[int64]error
}

func (f *failures) note(digestID int64, _ string, reason error) {
	if reason == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.reasons == nil {
		f.reasons = map[int64]error{}
	}
	f.reasons[digestID] = reason
}

const sqlFailures = `
	select d.id, d.state, coalesce(u.fullname, '') as fullname, coalesce(d.error, '') as error,
		case when d.state = 'reserved' then d.next_attempt_at end as again_at
	from headway.digest d
	join headway.appuser u on u.id = d.user_id
	where d.id = any ($1)
	order by d.id`

// tell prints what became of them, and returns an error if there are any.
func (f *failures) tell(ctx context.Context, pool *pgxpool.Pool, out io.Writer) error {
	if len(f.reasons) == 0 {
		return nil
	}
	ids := slices.Sorted(maps.Keys(f.reasons))
	failed := fmt.Errorf("%s could not be sent", plural(len(ids), "digest", "digests"))
	type failure struct {
		ID              int64
		State           string
		Fullname, Error string
		AgainAt         *time.Time
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	rows, _ := pool.Query(ctx, sqlFailures, ids) // CollectRows returns its error
	found, err := pgx.CollectRows(rows, pgx.RowToStructByName[failure])
	if sqlstate.Of(err) == sqlstate.InsufficientPrivilege { // a worker's login cannot see who gets what
		for _, id := range ids {
			fmt.Fprintf(out, "digest %d: %s\n", id, bar.Clean(f.reasons[id].Error()))
		}
		return failed
	}
	if err != nil {
		return fmt.Errorf("look up what failed: %w", err)
	}
	for _, d := range found {
		state := d.State
		if d.AgainAt != nil {
			state = "next attempt at " + d.AgainAt.Local().Format(time.DateTime)
		}
		fmt.Fprintf(out, "digest %d for %s, %s: %s\n", d.ID, bar.Clean(d.Fullname), state, bar.Clean(d.Error))
	}
	return failed
}
