package main

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"headway/internal/sqlstate"
	"headway/worker"
)

// rights examines the login that the worker would use.
func (d *doctor) rights(ctx context.Context) finding {
	if !d.schema && !d.barred {
		return found(skipped, noSchema)
	}
	conns := []*pgx.Conn{d.conn}
	if d.listener != nil && d.listener.Config().User != d.conn.Config().User {
		conns = append(conns, d.listener)
	}
	all := finding{grade: ok}
	for _, conn := range conns {
		rights, err := worker.CheckRights(ctx, conn)
		if err != nil {
			return found(failed, "%v", err)
		}
		f := d.rightsOf(rights)
		all = finding{max(all.grade, f.grade), append(all.lines, f.lines...)}
	}
	if d.config.HasGateway() {
		if err := worker.CheckGateway(ctx, d.conn); err != nil {
			if all.grade == ok {
				all.lines = nil // what a worker needs without a gateway is not enough
			}
			all = finding{failed, append(all.lines, err.Error())}
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
select count(*),
  coalesce((
    array_agg(format('%s pid %s, last seen %s s ago', w.host, w.pid, extract(epoch from now() - w.last_seen_at)::integer) order by w.last_seen_at desc)
    filter (where w.leader)
  )[1], ''),
  coalesce(string_agg(distinct w.version, ', '), '')
from headway.worker w
where w.last_seen_at > now() - interval '1 minute'`

func (d *doctor) worker(ctx context.Context) finding {
	var leader, versions string
	if err := ask(ctx, d.conn, sqlWorkers, &d.workers, &leader, &versions); err != nil {
		return d.hidden(err)
	}
	follows, err := worker.Follows(ctx, d.conn)
	switch {
	case err != nil:
		return found(failed, "%v", err)
	case follows: // the rows may be those of the other one's workers
		if holders, _ := findHolders(ctx, d.conn, 0, false, "leader"); len(holders) > 0 {
			return finding{failed, append([]string{"a worker runs here, though this database follows another one by logical replication: " +
				"it mails what the other one's workers mail, and its rows stop the replication; stop it (docs/backup.md)"}, holders...)}
		}
		return found(warning, "no worker is running here, and none should while this database follows another one by logical replication: "+
			"to take over from it, drop the subscription, then start `headway worker` (docs/backup.md)")
	case d.workers == 0:
		return d.withHolders(ctx, found(warning, "no worker is running: what is read stays correct, but no progress is pushed and no mail is sent; start `headway worker`"))
	case leader == "":
		return d.withHolders(ctx, found(warning, "%s, but none is the leader: see the workers' logs", plural(d.workers, "worker running", "workers running")))
	case strings.Contains(versions, ","):
		return found(warning, "%d workers run different versions (%s): upgrade the older ones", d.workers, versions)
	}
	// Nothing is late where nothing was reserved, so nothing else would tell.
	if holders, _ := findHolders(ctx, d.conn, 0, true, "reserve"); len(holders) > 0 {
		return finding{warning, append([]string{"somebody keeps digests from being reserved, so no mail is sent"}, holders...)}
	}
	return found(ok, "%s, the leader is %s", plural(d.workers, "worker running", "workers running"), leader)
}

// withHolders adds who holds the workers' locks. Anybody who may connect could: PostgreSQL has no privilege for that.
func (d *doctor) withHolders(ctx context.Context, f finding) finding {
	holders, err := findHolders(ctx, d.conn, 0, false, "fold", "leader", "reserve")
	if err != nil {
		f.lines = append(f.lines, "look up who holds the workers' locks: "+err.Error())
	}
	f.lines = append(f.lines, holders...)
	return f
}

const sqlQueue = `select count(*), coalesce(extract(epoch from clock_timestamp() - min(at)), 0)::float8 from headway.pending_fact`

// staleAfter is how long a fact may wait: the worker's safety poll, plus a margin.
const staleAfter = 15 * time.Second

func (d *doctor) queue(ctx context.Context) finding {
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

// verifyTimeout is how long a full recount may take.
const verifyTimeout = time.Minute

const sqlDifferences = `
select count(*), count(distinct project_id), (select count(*) from headway.channel_to_repair)
from headway.verify()`

// sqlTaken asks whether the next ids are those of rows that exist. Only headway gives these two; people, projects and tasks
// may bring ids of their own. A login that may not see a sequence is told nothing of it, nor is anybody as long as logical
// replication brings the rows.
const sqlTaken = `
select exists (
  select from pg_sequences q
  join (
    select 'message_id_seq', max(m.id) from headway.message m
    union all
    select 'digest_id_seq', max(d.id) from headway.digest d
  ) n (sequence, newest) on n.sequence = q.sequencename
  where q.schemaname = 'headway' and n.newest > coalesce(q.last_value, 0)
    and has_sequence_privilege('headway.' || n.sequence, 'select, usage')
    and not exists (select from pg_subscription_rel r where r.srrelid = 'headway.message'::regclass)
)`

func (d *doctor) numbers(ctx context.Context) finding {
	ctx, cancel := context.WithTimeout(ctx, verifyTimeout)
	defer cancel()
	var differences, projects, channels int
	var taken bool
	err := ask(ctx, d.conn, sqlDifferences, &differences, &projects, &channels)
	if err == nil {
		err = ask(ctx, d.conn, sqlTaken, &taken)
	}
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return found(warning, "a full recount takes longer than %v here: run `select * from headway.verify()` when there is time", verifyTimeout)
	case sqlstate.Of(err) == sqlstate.InsufficientPrivilege:
		return found(skipped, "%s may not call headway.verify(): members of headway_admin may", d.conn.Config().User)
	case err != nil:
		return found(failed, "%v", err)
	case taken:
		return found(failed, "the next id of a message or digest is already taken, as after a move by logical replication, which leaves sequences behind, "+
			"so not everything is posted, folded or mailed: bring them from the old server (docs/backup.md)")
	case channels > 0:
		return found(failed, "%s missing or behind the messages in it, as after a restore of some tables, so not everything is posted or folded: "+
			"`select headway.repair()`", plural(channels, "channel is", "channels are"))
	case differences > 0:
		return found(failed, "%s in %s differ from a recount: `select headway.repair()` fixes them, `select * from headway.verify()` shows them",
			plural(differences, "number", "numbers"), plural(projects, "project", "projects"))
	}
	return found(ok, "headway.verify() finds no difference from a recount")
}
