package main

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"headway/internal/listen"
	"headway/internal/sqlstate"
	"headway/sql"
	"headway/worker"
)

func (d *doctor) connection(ctx context.Context) finding {
	conn, err := connect(ctx, d.env)
	if err != nil {
		return found(failed, "%v", err)
	}
	d.conn = conn
	config := conn.Config()
	through := ""
	if pooled(ctx, conn) {
		through = ", through a pooler"
	}
	return found(ok, "database %s at %s:%d as %s%s", config.Database, config.Host, config.Port, config.User, through)
}

// pooled reports whether something stands between us and the server: the process that answers is not the one announced
// when connecting.
func pooled(ctx context.Context, conn *pgx.Conn) bool {
	var pid uint32
	err := conn.QueryRow(ctx, `select pg_backend_pid()`).Scan(&pid)
	return err == nil && pid != conn.PgConn().PID()
}

// fixedIn maps each major release to the minor release since which the planner no longer exposes statistics of rows
// that row-level security hides (CVE-2025-8713).
var fixedIn = map[int]int{15: 14, 16: 10, 17: 6}

func (d *doctor) server(ctx context.Context) finding {
	major, minor, err := sql.CheckServer(ctx, d.conn)
	var standby, readOnly, silent bool
	var encoding string
	if err == nil {
		err = ask(ctx, d.conn, `
			select pg_is_in_recovery(), current_setting('default_transaction_read_only')::boolean,
				current_setting('session_replication_role') = 'replica', current_setting('server_encoding')`,
			&standby, &readOnly, &silent, &encoding)
	}
	switch {
	case err != nil:
		return found(failed, "%v", err)
	case standby:
		return found(failed, "PostgreSQL %d.%d, a standby, which is read-only: point DATABASE_URL at the primary, for example with ?target_session_attrs=read-write", major, minor)
	case readOnly:
		return found(failed, "PostgreSQL %d.%d, where transactions are read-only (default_transaction_read_only): nothing can be folded, posted or mailed until that is turned off", major, minor)
	case silent:
		return found(failed, "PostgreSQL %d.%d, where triggers do not fire (session_replication_role is replica, for this login or the database): "+
			"nothing is checked, counted, numbered or notified until that is reset; then `select headway.repair()`", major, minor)
	case minor < fixedIn[major]:
		return found(warning, "PostgreSQL %d.%d has a known vulnerability in row-level security (CVE-2025-8713): update it to %d.%d or newer",
			major, minor, major, fixedIn[major])
	case encoding == "SQL_ASCII":
		return found(warning, "PostgreSQL %d.%d; the database's encoding is SQL_ASCII, so it accepts bytes that are no characters, and a digest with such bytes fails: "+
			"move to a database in UTF8", major, minor)
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
	var there time.Time
	before := time.Now()
	if err := ask(ctx, d.conn, `select clock_timestamp()`, &there); err != nil {
		return found(failed, "%v", err)
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

// sqlDisabled returns what enables the triggers that are disabled, table by table. Those of foreign keys only a superuser
// may enable, and disable.
const sqlDisabled = `
select array_agg(format('alter table %s enable trigger %s', t.tgrelid::regclass, t.which) order by t.tgrelid::regclass::text)
from (
  select t.tgrelid, case when bool_or(t.tgisinternal) then 'all' else 'user' end as which
  from pg_class c
  join pg_trigger t on t.tgrelid = c.oid and t.tgenabled in ('D', 'R')
  where c.relnamespace = 'headway'::regnamespace
  group by t.tgrelid
) t`

func (d *doctor) checkSchema(ctx context.Context) finding {
	if err := sql.Check(ctx, d.conn); err != nil {
		access, is := errors.AsType[*sql.AccessError](err)
		d.barred = is && access.Granted
		return found(failed, "%v", err)
	}
	d.schema = true
	lost, err := sql.Lost(ctx, d.conn)
	if err != nil {
		return found(failed, "%v", err)
	}
	if lost != nil {
		return found(failed, "%s, as after a restore without roles or privileges, or DROP OWNED: restore the roles first, then the dump again "+
			"(docs/backup.md)", strings.Join(lost, ", "))
	}
	var enable []string
	if err := ask(ctx, d.conn, sqlDisabled, &enable); err != nil {
		return found(failed, "%v", err)
	}
	if enable != nil {
		return found(failed, "some triggers are disabled, as after a restore with --disable-triggers that was interrupted, so not everything is "+
			"checked, counted or notified: `%s; select headway.repair()`", strings.Join(enable, "; "))
	}
	return found(ok, "version %d, the one this headway needs", sql.Latest())
}

func (d *doctor) listen(ctx context.Context) finding {
	variable := "DATABASE_URL"
	if d.getenv("HEADWAY_LISTEN_URL") != "" {
		variable = "HEADWAY_LISTEN_URL"
	}
	listener, err := connectListen(ctx, d.env)
	if err != nil {
		return found(failed, "%v", err)
	}
	d.listener = listener

	if err := worker.CheckSame(ctx, d.conn, listener); err != nil {
		return found(failed, "%v", err)
	}

	pooled := pooled(ctx, listener)
	began := time.Now()
	switch err := listen.Hears(ctx, listener, d.conn, 3*time.Second); {
	case sqlstate.Of(err) == sqlstate.ReadOnlySQLTransaction:
		return found(failed, "LISTEN does not work on a standby")
	case sqlstate.Of(err) == sqlstate.LockNotAvailable:
		return found(failed, "nobody can notify, because a commit that does takes long, as where a synchronous standby does not answer: "+
			"`select pid, wait_event, query from pg_stat_activity where wait_event = 'SyncRep'` lists who waits for it (docs/operations.md)")
	case errors.Is(err, listen.ErrDeaf) && pooled:
		return found(failed, "%s goes through a pooler that does not deliver notifications, most likely one in transaction mode: "+
			"set HEADWAY_LISTEN_URL to a direct connection to the same database; until then the worker polls", variable)
	case errors.Is(err, listen.ErrDeaf):
		return found(failed, "a test notification did not come back within 3s: "+
			"set HEADWAY_LISTEN_URL to a direct connection to the same database; until then the worker polls")
	case err != nil:
		return found(failed, "%v", err)
	case pooled && variable == "DATABASE_URL":
		return found(ok, "a notification came back in %v, through a pooler in session mode", time.Since(began).Round(100*time.Microsecond))
	}
	return found(ok, "a notification came back through %s in %v", variable, time.Since(began).Round(100*time.Microsecond))
}

// sqlNotifyPayload returns no row if the login may see none, and null if there is none.
const sqlNotifyPayload = `
select (select s.value from headway.setting s where s.name = 'notify_payload')
where exists (select from headway.setting) or not row_security_active('headway.setting') or pg_has_role('headway_worker', 'usage')`

func (d *doctor) notifications(ctx context.Context) finding {
	var usage float64
	if err := ask(ctx, d.conn, `select pg_notification_queue_usage()`, &usage); err != nil {
		return found(failed, "%v", err)
	}
	const advice = "a listening session is stuck in a transaction: end the one that `select pid, xact_start, query from pg_stat_activity order by xact_start` shows first"
	switch {
	case usage >= 0.5:
		return found(failed, "the server's queue is %.0f%% full, so headway sends no notifications; %s", 100*usage, advice)
	case usage >= 0.05:
		return found(warning, "the server's queue is %.0f%% full; %s", 100*usage, advice)
	}
	if d.schema {
		var mode *string
		switch err := ask(ctx, d.conn, sqlNotifyPayload, &mode); {
		case err != nil:
			return d.hidden(err)
		case mode == nil:
			return found(failed, "there are no settings, as in a copy without rows, and without them no worker works: docs/backup.md brings them")
		}
		if *mode == "off" {
			return found(warning, "the setting notify_payload is off, so nothing is pushed and clients must poll: `select headway.set_setting('notify_payload', 'row')`")
		}
	}
	return found(ok, "the server's queue is practically empty")
}
