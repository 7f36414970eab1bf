package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"headway/internal/bar"
	"headway/internal/listen"
	"headway/internal/terminal"
	"headway/sql"
	"headway/worker"
	"headway/worker/smtp"
)

// runDoctor examines everything that headway depends on and says what to do.
func runDoctor(ctx context.Context, e env, args []string) error {
	flags := newFlags("headway doctor",
		"Checks the configuration, the database, LISTEN, the worker, the mail server and the numbers, and says what to do.\n"+
			"It reads the same environment variables as the worker, changes nothing, and fails if something is broken.")
	if helped, err := parse(e, flags, args); helped || err != nil {
		return err
	}
	d := &doctor{env: e, palette: terminal.Palette(terminal.Of(e.stdout, e.getenv), e.getenv), columns: 100}
	if tty := terminal.Of(e.stdout, e.getenv); tty != nil {
		columns, _ := terminal.Size(tty)
		d.columns = min(columns-1, d.columns)
	}
	defer d.close(ctx)
	for _, c := range d.checks() {
		d.report(c.name, c.examine(ctx))
		if ctx.Err() != nil {
			return errors.New("interrupted")
		}
	}
	switch {
	case d.failed == 1:
		return errors.New("one check failed")
	case d.failed > 1:
		return fmt.Errorf("%d checks failed", d.failed)
	}
	return nil
}

// doctor is one examination.
type doctor struct {
	env
	palette bar.Palette
	columns int

	number, failed int

	config   worker.Config
	conn     *pgx.Conn // nil: there is none
	listener *pgx.Conn // nil: there is none
	schema   bool      // the schema is this binary's, and can be examined
	barred   bool      // the login may not even read the schema's version
	workers  int
}

// check is one thing to examine.
type check struct {
	name    string
	examine func(context.Context) finding
}

func (d *doctor) checks() []check {
	return []check{
		{"configuration", d.configuration},
		{"connection", d.connection},
		{"server", d.server},
		{"clock", d.clock},
		{"schema", d.checkSchema},
		{"listen", d.listen},
		{"rights", d.rights},
		{"worker", d.worker},
		{"queue", d.queue},
		{"notifications", d.notifications},
		{"mail", d.mail},
		{"numbers", d.numbers},
	}
}

// finding is the result of an examination.
type finding struct {
	grade grade
	lines []string
}

type grade int

const (
	ok grade = iota
	warning
	failed
	skipped // it needs something that failed earlier
)

func found(g grade, format string, args ...any) finding {
	return finding{g, []string{fmt.Sprintf(format, args...)}}
}

// report prints a finding, with its text in a column of its own.
func (d *doctor) report(name string, f finding) {
	d.number++
	marks := []string{d.palette.Good("ok"), d.palette.Warn("warning"), d.palette.Bad("failed"), d.palette.Dim("skipped")}
	if f.grade == failed {
		d.failed++
	}
	head := fmt.Sprintf("%2d  ", d.number) + bar.Pad(marks[f.grade], 9) + bar.Pad(name, 15)
	indent := strings.Repeat(" ", bar.Width(head))
	if d.columns-len(indent) < 30 { // narrow: the text goes below
		fmt.Fprintln(d.stdout, strings.TrimRight(head, " "))
		head, indent = "    ", "    "
	}
	for _, line := range f.lines {
		for _, part := range bar.Wrap(line, max(d.columns-len(indent), 20)) {
			fmt.Fprintln(d.stdout, head+part)
			head = indent
		}
	}
}

func (d *doctor) close(ctx context.Context) {
	if d.conn != nil {
		disconnect(ctx, d.conn)
	}
	if d.listener != nil {
		disconnect(ctx, d.listener)
	}
}

// configuration reads the environment as the worker does.
func (d *doctor) configuration(context.Context) finding {
	config, err := worker.LoadConfig(d.getenv)
	var unknown []string
	for _, name := range worker.Unknown(d.environ) {
		unknown = append(unknown, name+": unknown variable; `headway worker -help` lists the known ones")
	}
	if err != nil {
		return finding{failed, append(strings.Split(err.Error(), "\n"), unknown...)}
	}
	d.config = config
	if unknown != nil {
		return finding{warning, unknown}
	}
	return found(ok, "the worker would accept it")
}

func (d *doctor) connection(ctx context.Context) finding {
	conn, err := connect(ctx, d.env)
	if err != nil {
		return found(failed, "%s", bar.Clean(err.Error()))
	}
	d.conn = conn
	config := conn.Config()
	through := ""
	if d.pooled(ctx, conn) {
		through = ", through a pooler"
	}
	return found(ok, "database %s at %s:%d as %s%s", config.Database, config.Host, config.Port, config.User, through)
}

// ask runs a query that returns one row. Doctors are often superusers: see [sql.InCatalog].
func ask(ctx context.Context, conn *pgx.Conn, query string, into ...any) error {
	return sql.InCatalog(ctx, conn, func(tx pgx.Tx) error { return tx.QueryRow(ctx, query).Scan(into...) })
}

// pooled reports whether something stands between us and the server: the process that answers is not the one announced
// when connecting.
func (d *doctor) pooled(ctx context.Context, conn *pgx.Conn) bool {
	var pid uint32
	err := conn.QueryRow(ctx, `select pg_backend_pid()`).Scan(&pid)
	return err == nil && pid != conn.PgConn().PID()
}

// fixedIn maps each major release to the minor release since which the planner no longer exposes statistics of rows
// that row-level security hides (CVE-2025-8713).
var fixedIn = map[int]int{15: 14, 16: 10, 17: 6}

func (d *doctor) server(ctx context.Context) finding {
	if d.conn == nil {
		return found(skipped, "there is no connection")
	}
	major, minor, err := sql.CheckServer(ctx, d.conn)
	var standby, readOnly bool
	var encoding string
	if err == nil {
		err = ask(ctx, d.conn, `select pg_is_in_recovery(), current_setting('default_transaction_read_only')::boolean, current_setting('server_encoding')`,
			&standby, &readOnly, &encoding)
	}
	switch {
	case err != nil:
		return found(failed, "%s", bar.Clean(err.Error()))
	case standby:
		return found(failed, "PostgreSQL %d.%d, a standby, which is read-only: point DATABASE_URL at the primary, for example with ?target_session_attrs=read-write", major, minor)
	case readOnly:
		return found(failed, "PostgreSQL %d.%d, where transactions are read-only (default_transaction_read_only): nothing can be folded, posted or mailed until that is turned off", major, minor)
	case minor < fixedIn[major]:
		return found(warning, "PostgreSQL %d.%d has a known vulnerability in row-level security (CVE-2025-8713): update it to %d.%d or newer",
			major, minor, major, fixedIn[major])
	case encoding != "UTF8":
		return found(warning, "PostgreSQL %d.%d; the database's encoding is %s, so it rejects any other characters: a database in UTF8 accepts them all", major, minor, encoding)
	case major > sql.NewestServer:
		return found(ok, "PostgreSQL %d.%d, newer than the versions that this headway was tested with, %d to %d",
			major, minor, sql.OldestServer, sql.NewestServer)
	}
	return found(ok, "PostgreSQL %d.%d", major, minor)
}

// maxClockDifference is more than network delay can explain.
const maxClockDifference = 2 * time.Second

func (d *doctor) clock(ctx context.Context) finding {
	if d.conn == nil {
		return found(skipped, "there is no connection")
	}
	var there time.Time
	before := time.Now()
	if err := ask(ctx, d.conn, `select clock_timestamp()`, &there); err != nil {
		return found(failed, "%s", bar.Clean(err.Error()))
	}
	after := time.Now()
	took := after.Sub(before)
	difference := there.Sub(before.Add(took / 2)).Round(time.Millisecond)
	if difference.Abs() > maxClockDifference+took {
		which := "ahead of"
		if difference < 0 {
			which = "behind"
		}
		return found(warning, "the server's clock is %v %s this machine's: synchronize both with NTP, or times and tokens will not agree", difference.Abs(), which)
	}
	return found(ok, "the server's clock differs from this machine's by less than %v", max(difference.Abs(), took).Round(time.Millisecond)+time.Millisecond)
}

// sqlPolicies counts the policies of row-level security. Every version of the schema has some.
const sqlPolicies = `select count(*) from pg_policies where schemaname = 'headway'`

func (d *doctor) checkSchema(ctx context.Context) finding {
	if d.conn == nil {
		return found(skipped, "there is no connection")
	}
	if err := sql.Check(ctx, d.conn); err != nil {
		var access *sql.AccessError
		d.barred = errors.As(err, &access) && access.Granted
		return found(failed, "%s", bar.Clean(err.Error()))
	}
	d.schema = true
	var policies int
	if err := ask(ctx, d.conn, sqlPolicies, &policies); err != nil {
		return d.hidden(err)
	}
	if policies == 0 {
		return found(failed, "it has no policies, as after a restore to a server without its roles: restore the roles first, then the dump again "+
			"(docs/backup.md)")
	}
	return found(ok, "version %d, the one this headway needs", sql.Latest())
}

// withoutSchema is the finding of checks that need the schema when it cannot be examined.
func (d *doctor) withoutSchema() finding {
	switch {
	case d.conn == nil:
		return found(skipped, "there is no connection")
	case d.barred:
		return found(skipped, "the login may not read the schema: see schema and rights")
	}
	return found(skipped, "there is no schema of this version")
}

// hidden is the finding if the login lacks the rights, or sees none of the rows that exist, or if there was another
// failure.
func (d *doctor) hidden(err error) finding {
	var pgErr *pgconn.PgError
	if errors.Is(err, pgx.ErrNoRows) || errors.As(err, &pgErr) && pgErr.Code == "42501" { // insufficient_privilege
		return found(skipped, "%s may not read it: members of headway_worker and headway_monitor may", d.conn.Config().User)
	}
	return found(failed, "%s", bar.Clean(err.Error()))
}

func (d *doctor) listen(ctx context.Context) finding {
	if d.conn == nil {
		return found(skipped, "there is no connection")
	}
	variable := "DATABASE_URL"
	if d.getenv("HEADWAY_LISTEN_URL") != "" {
		variable = "HEADWAY_LISTEN_URL"
	}
	listener, err := connectListen(ctx, d.env)
	if err != nil {
		return found(failed, "%s", bar.Clean(err.Error()))
	}
	d.listener = listener

	if err := worker.CheckSame(ctx, d.conn, listener); err != nil {
		return found(failed, "%s", bar.Clean(err.Error()))
	}

	pooled := d.pooled(ctx, listener)
	began := time.Now()
	var pgErr *pgconn.PgError
	switch err := listen.Hears(ctx, listener, d.conn, 3*time.Second); {
	case errors.As(err, &pgErr) && pgErr.Code == "25006": // read_only_sql_transaction
		return found(failed, "LISTEN does not work on a standby")
	case errors.Is(err, listen.ErrDeaf) && pooled:
		return found(failed, "%s goes through a pooler that does not deliver notifications, most likely one in transaction mode: "+
			"set HEADWAY_LISTEN_URL to a direct connection to the same database; until then the worker polls", variable)
	case errors.Is(err, listen.ErrDeaf):
		return found(failed, "a test notification did not come back within 3s: "+
			"set HEADWAY_LISTEN_URL to a direct connection to the same database; until then the worker polls")
	case err != nil:
		return found(failed, "%s", bar.Clean(err.Error()))
	case pooled && variable == "DATABASE_URL":
		return found(ok, "a notification came back in %v, through a pooler in session mode", time.Since(began).Round(100*time.Microsecond))
	}
	return found(ok, "a notification came back through %s in %v", variable, time.Since(began).Round(100*time.Microsecond))
}

// rights examines the login that the worker would use.
func (d *doctor) rights(ctx context.Context) finding {
	if !d.schema && !d.barred {
		return d.withoutSchema()
	}
	conns := []*pgx.Conn{d.conn}
	if d.listener != nil && d.listener.Config().User != d.conn.Config().User {
		conns = append(conns, d.listener)
	}
	all := finding{grade: ok}
	for _, conn := range conns {
		rights, err := worker.CheckRights(ctx, conn)
		if err != nil {
			return found(failed, "%s", bar.Clean(err.Error()))
		}
		f := d.rightsOf(rights)
		all = finding{max(all.grade, f.grade), append(all.lines, f.lines...)}
	}
	if d.config.HasGateway() {
		if err := worker.CheckGateway(ctx, d.conn); err != nil {
			all = finding{failed, append(all.lines, bar.Clean(err.Error()))}
		}
	}
	return all
}

func (d *doctor) rightsOf(rights worker.Rights) finding {
	refusal := rights.Check(false)
	switch {
	case refusal == nil:
		return found(ok, "%s has the rights that a worker needs, and no more", rights.Login)
	case len(rights.Missing) > 0:
		return finding{failed, strings.Split(refusal.Error(), "\n")}
	case d.config.AllowMoreRights:
		return found(ok, "%s has more rights than a worker should, which HEADWAY_ALLOW_MORE_RIGHTS allows", rights.Login)
	}
	return finding{warning, append(strings.Split(refusal.Error(), "\n"), "until then no worker will start as "+rights.Login)}
}

const sqlWorkers = `
select count(*), coalesce(max(w.host || ' pid ' || w.pid) filter (where w.leader), ''), coalesce(string_agg(distinct w.version, ', '), '')
from headway.worker w
where w.last_seen_at > now() - interval '1 minute'`

func (d *doctor) worker(ctx context.Context) finding {
	if !d.schema {
		return d.withoutSchema()
	}
	var leader, versions string
	if err := ask(ctx, d.conn, sqlWorkers, &d.workers, &leader, &versions); err != nil {
		return d.hidden(err)
	}
	switch {
	case d.workers == 0:
		return d.withHolders(ctx, found(warning, "no worker is running: what is read stays correct, but nothing is pushed and no mail is sent; start `headway worker`"))
	case leader == "":
		return d.withHolders(ctx, found(warning, "%s, but none is the leader: see the workers' logs", plural(d.workers, "worker running", "workers running")))
	case strings.Contains(versions, ","):
		return found(warning, "%d workers run different versions (%s): upgrade the older ones", d.workers, versions)
	}
	return found(ok, "%s, the leader is %s", plural(d.workers, "worker running", "workers running"), leader)
}

// sqlHolders finds the holders of the locks that workers take: the keys are those of headway.lock_key(), which not
// every login may call. A prepared transaction has no process.
const sqlHolders = `
select format('the lock %s is held by %s, user %s, application %s', k.purpose, coalesce('pid ' || l.pid::text, 'a prepared transaction'),
    coalesce(a.usename, '?'), coalesce(nullif(a.application_name, ''), '?'))
  || coalesce(format(': if that is not a worker, run ` + "`select pg_terminate_backend(%s)`" + `', l.pid), '')
from (values ('fold', 2), ('leader', 3), ('reserve', 5)) k (purpose, key)
join pg_locks l on l.locktype = 'advisory' and l.granted and l.objsubid = 1
  and l.classid = x'68656164'::bigint::oid and l.objid = (x'77617900'::bigint + k.key)::oid
  and l.database = (select d.oid from pg_database d where d.datname = current_database())
left join pg_stat_activity a on a.pid = l.pid
order by k.purpose, l.pid`

// withHolders adds who holds the workers' locks. Anybody who may connect could: PostgreSQL has no privilege for that.
func (d *doctor) withHolders(ctx context.Context, f finding) finding {
	err := sql.InCatalog(ctx, d.conn, func(tx pgx.Tx) error {
		rows, _ := tx.Query(ctx, sqlHolders) // CollectRows returns its error
		holders, err := pgx.CollectRows(rows, pgx.RowTo[string])
		for _, holder := range holders {
			f.lines = append(f.lines, bar.Clean(holder))
		}
		return err
	})
	if err != nil {
		f.lines = append(f.lines, "look up who holds the workers' locks: "+bar.Clean(err.Error()))
	}
	return f
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return bar.Count(int64(n)) + " " + many
}

const sqlQueue = `select count(*), coalesce(extract(epoch from clock_timestamp() - min(at)), 0)::float8 from headway.pending_fact`

// staleAfter is how long a fact may wait: the worker's safety poll, plus a margin.
const staleAfter = 15 * time.Second

func (d *doctor) queue(ctx context.Context) finding {
	if !d.schema {
		return d.withoutSchema()
	}
	var facts int
	var seconds float64
	if err := ask(ctx, d.conn, sqlQueue, &facts, &seconds); err != nil {
		return d.hidden(err)
	}
	age := time.Duration(seconds * float64(time.Second)).Round(time.Second)
	waiting := plural(facts, "fact waiting", "facts waiting")
	switch {
	case facts == 0:
		return found(ok, "nothing is waiting to be folded")
	case age <= staleAfter:
		return found(ok, "%s to be folded, none longer than %v", waiting, age+time.Second)
	case d.workers == 0:
		return found(warning, "%s to be folded, the oldest for %v: start `headway worker`, or `select headway.fold()`", waiting, age)
	}
	return d.withHolders(ctx,
		found(failed, "%s to be folded, the oldest for %v, though a worker is running: its log says why, or try `select headway.fold()`", waiting, age))
}

func (d *doctor) notifications(ctx context.Context) finding {
	if d.conn == nil {
		return found(skipped, "there is no connection")
	}
	var usage float64
	if err := ask(ctx, d.conn, `select pg_notification_queue_usage()`, &usage); err != nil {
		return found(failed, "%s", bar.Clean(err.Error()))
	}
	const advice = "a listening session is stuck in a transaction: end the one that `select pid, xact_start, query from pg_stat_activity order by xact_start` shows first"
	switch {
	case usage >= 0.5:
		return found(failed, "the server's queue is %.0f%% full, so headway sends no notifications; %s", 100*usage, advice)
	case usage >= 0.05:
		return found(warning, "the server's queue is %.0f%% full; %s", 100*usage, advice)
	}
	if d.schema {
		var mode string
		if err := ask(ctx, d.conn, `select s.value from headway.setting s where s.name = 'notify_payload'`, &mode); err != nil {
			return d.hidden(err)
		}
		if mode == "off" {
			return found(warning, "the setting notify_payload is off, so nothing is pushed and clients must poll: `select headway.set_setting('notify_payload', 'row')`")
		}
	}
	return found(ok, "the server's queue is practically empty")
}

const (
	// probeTimeout bounds the conversation with the mail server.
	probeTimeout = 30 * time.Second

	// renewBefore is how long before its expiry a certificate should have been renewed.
	renewBefore = 14 * 24 * time.Hour
)

// mail talks to the mail server, up to the point where a mail would begin.
func (d *doctor) mail(ctx context.Context) finding {
	url := d.getenv("HEADWAY_SMTP_URL")
	if url == "" {
		return found(warning, "HEADWAY_SMTP_URL is not set, so no digest is sent: smtp://user:password@host:587 or smtps://host:465")
	}
	server, err := smtp.ParseURL(url)
	if err != nil {
		return found(skipped, "HEADWAY_SMTP_URL is invalid: see configuration")
	}
	pool := smtp.NewPool(server, 1)
	defer pool.Close()
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	report, err := pool.Probe(ctx)
	said := fmt.Sprintf("%s says %q", server.Addr(), report.Greeting)
	switch {
	case err != nil && report.Greeting == "":
		return found(failed, "%s: %s", server.Addr(), bar.Clean(err.Error()))
	case err != nil:
		return found(failed, "%s, and then: %s", said, bar.Clean(err.Error()))
	case report.TLS == "" && !isLoopback(server.Host):
		return found(warning, "%s, without TLS: every mail can be read in transit; leave out ?tls=none", said)
	case report.TLS != "" && time.Until(report.ExpiresAt) < renewBefore:
		return found(warning, "%s; its certificate expires on %s: renew it", said, report.ExpiresAt.Format(time.DateOnly))
	}
	if report.TLS != "" {
		said += fmt.Sprintf("; %s, certificate for %s until %s", report.TLS, report.Certificate, report.ExpiresAt.Format(time.DateOnly))
	}
	if report.LoggedIn {
		said += "; logged in as " + server.User
	}
	return found(ok, "%s", said)
}

func isLoopback(host string) bool {
	return host == "localhost" || net.ParseIP(host).IsLoopback()
}

// verifyTimeout is how long a full recount may take.
const verifyTimeout = time.Minute

func (d *doctor) numbers(ctx context.Context) finding {
	if !d.schema {
		return d.withoutSchema()
	}
	ctx, cancel := context.WithTimeout(ctx, verifyTimeout)
	defer cancel()
	var differences, projects int
	err := sql.InCatalog(ctx, d.conn, func(tx pgx.Tx) error {
		// Compiling it takes longer than running it, unless there is a great deal of data.
		if _, err := tx.Exec(ctx, `set local jit = off`); err != nil {
			return err
		}
		return tx.QueryRow(ctx, `select count(*), count(distinct project_id) from headway.verify()`).
			Scan(&differences, &projects)
	})
	var pgErr *pgconn.PgError
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return found(warning, "a full recount takes longer than %v here: run `select * from headway.verify()` when there is time", verifyTimeout)
	case errors.As(err, &pgErr) && pgErr.Code == "42501": // insufficient_privilege
		return found(skipped, "%s may not call headway.verify(): members of headway_admin may", d.conn.Config().User)
	case errors.As(err, &pgErr):
		return found(failed, "%s", bar.Clean(cmp.Or(pgErr.Message, err.Error())))
	case err != nil:
		return found(failed, "%s", bar.Clean(err.Error()))
	case differences > 0:
		return found(failed, "%s in %s differ from a recount: `select headway.repair()` fixes them, `select * from headway.verify()` shows them",
			plural(differences, "number", "numbers"), plural(projects, "project", "projects"))
	}
	return found(ok, "headway.verify() finds no difference from a recount")
}
