package sql_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"pgregory.net/rapid"

	"headway/internal/pgtest"
	"headway/internal/sqlstate"
)

// setRapidDefaults sets what rapid does unless the command line, which is read after this, says otherwise. It does not set the
// seed: each call of rapid.Check has another one, and names it if it fails.
func setRapidDefaults() error {
	return errors.Join(flag.Set("rapid.checks", "40"), flag.Set("rapid.shrinktime", "20s"), flag.Set("rapid.nofailfile", "true"))
}

// TestProgressIsExactAtAnyMoment has random transactions run on several connections at once while others fold, and
// compares headway.progress with a recount of its own, in the same snapshot, all the while and at the end.
//
// A failure names the seed that its history was drawn from. How its transactions meet is up to the server, so it may need
// a few runs to come back. For a long run: -rapid.checks=5000.
func TestProgressIsExactAtAnyMoment(t *testing.T) {
	t.Parallel()
	run := newRunner(t)
	rapid.Check(t, func(r *rapid.T) {
		h := histories().Draw(r, "history")
		if err := run.play(r.Context(), h); err != nil {
			r.Fatalf("%v\n%s", err, h)
		}
	})
	t.Logf("%d transactions committed, %d were refused, %d times compared while they ran, %d folds",
		run.committed.Load(), run.refused.Load(), run.compared.Load(), run.folds.Load())
	if run.compared.Load() == 0 || run.folds.Load() == 0 || run.committed.Load() <= run.refused.Load() {
		t.Error("that proves little")
	}
}

// TestPropertyCatchesBrokenVariants breaks what makes progress exact, one thing at a time, and expects the comparison
// to notice.
func TestPropertyCatchesBrokenVariants(t *testing.T) {
	t.Parallel()
	const rounds = 200
	for _, variant := range []struct {
		name   string
		change func(t *testing.T, conn *pgx.Conn)
	}{
		{"nothing is broken", nil},
		{"the fold counts in one snapshot and consumes in the next", func(t *testing.T, conn *pgx.Conn) {
			pgtest.Execute(t, conn, `
				create or replace function headway.fold(max_facts integer default 1000) returns integer
				language plpgsql
				as $$
				declare
				  v_facts integer;
				begin
				  perform pg_advisory_xact_lock(headway.lock_key('fold'));
				  if not exists (select from headway.pending_fact) then
				    return 0;
				  end if;
				  update headway.shared_progress s set done = r.done, total = r.total
				  from (
				    select p.id, coalesce(sum(r.done), 0) as done, coalesce(sum(r.total), 0) as total
				    from headway.project p left join headway.recount r on r.project_id = p.id and r.user_id is null group by p.id
				  ) r
				  where r.id = s.project_id;
				  insert into headway.personal_progress as p (project_id, user_id, done, total)
				  select r.project_id, r.user_id, sum(r.done), sum(r.total)
				  from (
				    select r.project_id, r.user_id, r.done, r.total from headway.recount r
				    union all
				    select p.project_id, p.user_id, 0, 0 from headway.personal_progress p
				  ) r
				  where r.user_id is not null and r.project_id in (select s.project_id from headway.shared_progress s)
				  group by r.project_id, r.user_id
				  on conflict on constraint personal_progress_pkey do update set done = excluded.done, total = excluded.total;
				  delete from headway.pending_fact;
				  get diagnostics v_facts = row_count;
				  return v_facts;
				end
				$$`)
		}},
		{"the fold takes some facts of a task and leaves others", func(t *testing.T, conn *pgx.Conn) {
			redefine(t, conn, "headway.consume(bigint[], bigint[])",
				`(?s)(select f\.ctid\s+from headway\.pending_fact f\s+where f\.task_id = any \(consume\.tasks\).*?)(\s+\)\))`,
				`$1 limit 3$2`)
		}},
		{"the recount sees later than what is consumed", func(t *testing.T, conn *pgx.Conn) {
			pgtest.Execute(t, conn, "alter function headway.recount_difference(bigint[]) volatile")
		}},
		{"a change of members queues no recount", func(t *testing.T, conn *pgx.Conn) {
			redefine(t, conn, "headway.member_after_write()", `join headway\.project p on p\.id = d\.project_id;`, `join headway.project p on false;`)
		}},
		{"facts are recorded before the row, which may then be dropped", func(t *testing.T, conn *pgx.Conn) {
			redefine(t, conn, "headway.completion_after_insert()", `return null`, `return new`)
			pgtest.Execute(t, conn, `
				drop trigger completion_after_insert on headway.completion;
				create trigger completion_before_insert before insert on headway.completion
				for each row execute function headway.completion_after_insert()`)
		}},
		{"a change of weight goes unnoticed", func(t *testing.T, conn *pgx.Conn) {
			pgtest.Execute(t, conn, "drop trigger task_after_update on headway.task")
		}},
		{"a truncate goes unnoticed", func(t *testing.T, conn *pgx.Conn) {
			pgtest.Execute(t, conn, "drop trigger completion_after_truncate on headway.completion")
		}},
		{"every completion of a shared task is worth its weight", func(t *testing.T, conn *pgx.Conn) {
			pgtest.Execute(t, conn, `
				create or replace view headway.pending_effect with (security_invoker) as
				select t.project_id, t.id as task_id, case when t.shared and t.audience = 'everyone' then null else f.user_id end as user_id,
				  (t.weight * case f.kind when 'completed' then 1 when 'reopened' then -1 else 0 end)::bigint as done,
				  (case when f.kind = 'task_added' and t.audience = 'everyone' then t.weight else 0 end)::bigint as total,
				  false as wavered
				from headway.pending_fact f
				join headway.task t on t.id = f.task_id
				where f.kind in ('completed', 'reopened', 'task_added')`)
		}},
	} {
		t.Run(variant.name, func(t *testing.T) {
			run := newRunner(t)
			if variant.change != nil {
				variant.change(t, run.conn)
			}
			for round := range rounds {
				h := histories().Example(round)
				err := run.play(t.Context(), h)
				var difference *differenceError
				switch {
				case err == nil:
					if variant.change == nil && round == 4 {
						return
					}
				case errors.As(err, &difference) && variant.change != nil:
					t.Logf("caught in history %d, after %d transactions: %v", round+1, run.committed.Load(), err)
					return
				default:
					t.Fatalf("history %d: %v\n%s", round+1, err, h)
				}
			}
			t.Errorf("not caught in %d histories, %d transactions", rounds, run.committed.Load())
		})
	}
}

// runner plays histories in one database, one after the other.
type runner struct {
	conn    *pgx.Conn   // arranges, and compares at the end
	writers []*pgx.Conn // one per list of transactions
	folders []*pgx.Conn
	checker *pgx.Conn

	committed, refused, compared, folds atomic.Int64
}

func newRunner(t *testing.T) *runner {
	t.Helper()
	db := pgtest.New(t)
	run := &runner{conn: db.Conn(t), checker: db.Conn(t)}
	for range writers {
		run.writers = append(run.writers, db.Conn(t))
	}
	for range 2 {
		run.folders = append(run.folders, db.Conn(t))
	}
	for _, conn := range slices.Concat(run.writers, run.folders, []*pgx.Conn{run.checker}) {
		// Whatever waits for longer than that waits for itself.
		pgtest.Execute(t, conn, "set deadlock_timeout = '20ms'; set statement_timeout = '20s'")
	}
	return run
}

// arrange makes the world as every history finds it.
const arrange = `
begin;
-- Without triggers: nothing of the history before shall be left.
set local session_replication_role = replica;
truncate headway.appuser, headway.project, headway.message, headway.pending_fact cascade;
insert into headway.channel (name) values ('broadcast') on conflict do nothing;
set local session_replication_role = origin;
insert into headway.appuser (id, fullname) select n, 'Person' from generate_series(1, 5) n;
insert into headway.project (id, name) select n, 'Project' from generate_series(1, 3) n;
insert into headway.member (project_id, user_id, role)
select p, u, case when u = 5 then 'staff' else 'customer' end from generate_series(1, 3) p, generate_series(1, 5) u where p + u <> 4;
insert into headway.task (id, project_id, title, weight, shared, audience)
select n, 1 + n % 3, 'Task', 1 + n % 4, n % 3 > 0 or n > 8, case when n % 4 = 0 then 'assigned' else 'everyone' end from generate_series(1, 10) n;
insert into headway.assignment (task_id, user_id) select t, u from generate_series(4, 8, 4) t, generate_series(1, 3) u;
insert into headway.prerequisite (task_id, requires_id) values (6, 3);
commit`

// play plays a history and returns a [*differenceError] if at some moment progress was not what a recount makes of the
// same snapshot, or another error if something failed that should not.
func (run *runner) play(ctx context.Context, h history) error {
	if _, err := run.conn.Exec(ctx, arrange); err != nil {
		return fmt.Errorf("arrange: %w", err)
	}
	// The first failure stops all, between statements: a connection that is interrupted is lost for what comes next.
	var failure error
	var once sync.Once
	failed, done := make(chan struct{}), make(chan struct{})
	fail := func(err error) {
		if err != nil {
			once.Do(func() { failure = err; close(failed) })
		}
	}
	stopped := func() bool {
		select {
		case <-failed:
			return true
		case <-done:
			return true
		default:
			return false
		}
	}

	var writing, watching sync.WaitGroup
	for i, transactions := range h.writers {
		writing.Go(func() {
			for _, tx := range transactions {
				if stopped() {
					return
				}
				if err := run.write(ctx, run.writers[i], tx); err != nil {
					fail(fmt.Errorf("connection %d: %w", i+1, err))
				}
			}
		})
	}
	for i, conn := range run.folders {
		watching.Go(func() {
			for round := i; !stopped(); round++ {
				_, err := run.fold(ctx, conn, h.folds[round%len(h.folds)])
				fail(err)
			}
		})
	}
	watching.Go(func() {
		for !stopped() {
			switch err := compare(ctx, run.checker); {
			case err == nil:
				run.compared.Add(1)
			case !expected(err, ""):
				fail(fmt.Errorf("while they write: %w", err))
			}
		}
	})
	writing.Wait()
	close(done)
	watching.Wait()
	if failure != nil {
		return failure
	}
	return run.settle(ctx)
}

// write runs one transaction. What is refused is rolled back.
func (run *runner) write(ctx context.Context, conn *pgx.Conn, transaction transaction) error {
	err := pgx.BeginTxFunc(ctx, conn, pgx.TxOptions{IsoLevel: transaction.isolation}, func(tx pgx.Tx) error {
		for _, s := range transaction.steps {
			do := func(tx pgx.Tx) (err error) {
				if s.rows != nil {
					_, err = tx.CopyFrom(ctx, pgx.Identifier{"headway", "completion"}, []string{"task_id", "user_id"}, pgx.CopyFromRows(s.rows))
				} else {
					_, err = tx.Exec(ctx, s.sql)
				}
				return err
			}
			err := error(nil)
			if transaction.guarded && !strings.Contains(s.sql, " here") {
				err = pgx.BeginFunc(ctx, tx, do)
			} else {
				err = do(tx)
			}
			switch {
			case err == nil:
			case !expected(err, s.also):
				return fmt.Errorf("%s: %w", s, err)
			case !transaction.guarded, expected(err, "", "40001", "40P01"):
				return errRefused
			}
		}
		if !transaction.commit {
			return errRefused
		}
		return nil
	})
	switch {
	case err == nil:
		run.committed.Add(1)
	case errors.Is(err, errRefused), expected(err, ""):
		run.refused.Add(1)
	default:
		return err
	}
	return nil
}

var errRefused = errors.New("rolled back")

// refusals are the codes of errors that concurrency causes, and of what others made impossible meanwhile.
var refusals = []string{"40001", "40P01", "23505", "23503", "42501", "55000"}

// expected tells the refusals, or those of them that are given, and one more code, from errors that nothing excuses.
func expected(err error, also string, codes ...string) bool {
	if codes == nil {
		codes = refusals
	}
	code := sqlstate.Of(err)
	return code != "" && (code == also || slices.Contains(codes, code))
}

// fold folds once. A truncate may meet it the other way round; the worker would try again, too.
func (run *runner) fold(ctx context.Context, conn *pgx.Conn, most int) (facts int, err error) {
	if most < 1 {
		_, err = conn.Exec(ctx, "select pg_sleep($1)", float64(-most)/1000)
		return 0, err
	}
	err = conn.QueryRow(ctx, "select headway.fold($1)", most).Scan(&facts)
	switch {
	case expected(err, ""):
		return 0, nil
	case err != nil:
		return 0, fmt.Errorf("fold: %w", err)
	}
	run.folds.Add(1)
	return facts, nil
}

// settle folds what is left, and compares the views, the tables below them and the numbering of messages.
func (run *runner) settle(ctx context.Context) error {
	for {
		facts, err := run.fold(ctx, run.conn, 7)
		if err != nil {
			return err
		}
		if err := compare(ctx, run.conn); err != nil {
			return fmt.Errorf("in the end: %w", err)
		}
		if facts == 0 {
			break
		}
	}
	for what, query := range map[string]string{
		"facts are left":           "select f::text from headway.pending_fact f",
		"verify finds":             "select v::text from headway.verify() v",
		"numbers are not dense in": "select c::text from headway.channel c where c.last_seq <> (select count(*) from headway.message m where m.channel = c.name) or c.last_seq <> (select coalesce(max(m.seq), 0) from headway.message m where m.channel = c.name)",
		"subscribed without being a member": `select s::text from headway.subscription s join headway.channel c on c.name = s.channel
			where c.project_id is not null and not exists (select from headway.member m where m.project_id = c.project_id and m.user_id = s.user_id
			and (m.role = 'staff' or c.name !~ '_staff$'))`,
		"a member without subscription": `select m::text from headway.member m
			where not exists (select from headway.subscription s where s.channel = 'project_' || m.project_id and s.user_id = m.user_id)`,
	} {
		rows, err := run.conn.Query(ctx, query)
		if err != nil {
			return err
		}
		found, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return err
		}
		if len(found) > 0 {
			return &differenceError{fmt.Sprintf("%s %q", what, found)}
		}
	}
	return nil
}
