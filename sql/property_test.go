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
	"time"

	"github.com/jackc/pgx/v5"
	"pgregory.net/rapid"

	"headway/internal/pgtest"
	"headway/internal/sqlstate"
)

// TestProgressIsExactAtAnyMoment has random transactions run on several connections at once while others fold, and
// compares headway.progress with a recount of its own, in the same snapshot, all the while and at the end.
//
// A history is drawn from the seed that is logged; -rapid.seed draws the same ones again. How its transactions meet is
// up to the server, so a failure may need a few runs to come back. For a long run: -rapid.checks=5000.
func TestProgressIsExactAtAnyMoment(t *testing.T) {
	t.Parallel()
	given := map[string]bool{}
	flag.Visit(func(f *flag.Flag) { given[f.Name] = true })
	for name, value := range map[string]string{
		"rapid.checks":     "40",
		"rapid.seed":       fmt.Sprint(time.Now().UnixNano()),
		"rapid.shrinktime": "20s",
		"rapid.nofailfile": "true",
	} {
		if !given[name] {
			if err := flag.Set(name, value); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Logf("-rapid.seed=%v", flag.Lookup("rapid.seed").Value)

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
				  (case when f.kind = 'task_added' and t.audience = 'everyone' then t.weight else 0 end)::bigint as total
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

// The small world of a history. Ids are drawn from so few that transactions meet, and may be used again after what had
// them was deleted.
const (
	projects = 3
	people   = 5
	tasks    = 12
	writers  = 4
)

// step is one statement, or a copy of rows into headway.completion.
type step struct {
	sql  string
	rows [][]any
	// also is an error code that is right for this statement, besides those that concurrency causes.
	also string
}

func (s step) String() string {
	if s.rows != nil {
		return fmt.Sprint("copy headway.completion (task_id, user_id): ", s.rows)
	}
	return s.sql
}

// transaction is what one connection does between begin and commit or rollback.
type transaction struct {
	isolation pgx.TxIsoLevel
	steps     []step
	// guarded goes on after a statement that was refused, as if there were a savepoint before each.
	guarded bool
	commit  bool
}

// history is what happens to one world: a list of transactions per writer, and how many facts the folds take at a time;
// below 1, for how many milliseconds they let facts gather.
type history struct {
	writers [][]transaction
	folds   []int
}

func (h history) String() string {
	var b strings.Builder
	for i, transactions := range h.writers {
		fmt.Fprintf(&b, "-- connection %d\n", i+1)
		for _, tx := range transactions {
			fmt.Fprintf(&b, "begin isolation level %s;%s\n", tx.isolation, map[bool]string{true: " -- a savepoint before each"}[tx.guarded])
			for _, s := range tx.steps {
				fmt.Fprintf(&b, "%s;\n", s)
			}
			b.WriteString(map[bool]string{true: "commit;\n", false: "rollback;\n"}[tx.commit])
		}
	}
	fmt.Fprintf(&b, "-- folds of %v", h.folds)
	return b.String()
}

func histories() *rapid.Generator[history] {
	return rapid.Custom(func(r *rapid.T) history {
		h := history{folds: rapid.SliceOfN(rapid.IntRange(-20, 12), 2, 6).Draw(r, "folds")}
		for range writers {
			h.writers = append(h.writers, rapid.SliceOfN(transactions(), 8, 16).Draw(r, "transactions"))
		}
		return h
	})
}

func transactions() *rapid.Generator[transaction] {
	isolations := []pgx.TxIsoLevel{pgx.ReadCommitted, pgx.ReadCommitted, pgx.ReadCommitted, pgx.RepeatableRead, pgx.Serializable}
	return rapid.Custom(func(r *rapid.T) transaction {
		tx := transaction{
			isolation: rapid.SampledFrom(isolations).Draw(r, "isolation"),
			guarded:   rapid.IntRange(0, 3).Draw(r, "guarded") > 0,
			commit:    rapid.IntRange(0, 9).Draw(r, "commit") > 0,
		}
		for range rapid.IntRange(1, 4).Draw(r, "steps") {
			if pause := rapid.IntRange(-4, 4).Draw(r, "pause"); pause > 0 {
				tx.steps = append(tx.steps, step{sql: fmt.Sprintf("select pg_sleep(0.00%d)", pause)})
			}
			s := steps(tx.isolation).Draw(r, "step")
			switch rapid.IntRange(0, 9).Draw(r, "savepoint") {
			case 0:
				tx.steps = append(tx.steps, step{sql: "savepoint here"}, s, step{sql: "rollback to here"})
			case 1:
				tx.steps = append(tx.steps, step{sql: "savepoint here"}, s, step{sql: "release here"})
			default:
				tx.steps = append(tx.steps, s)
			}
		}
		return tx
	})
}

// steps draws statements of every shape in which a row of headway's tables can come, change or go.
func steps(isolation pgx.TxIsoLevel) *rapid.Generator[step] {
	return rapid.Custom(func(r *rapid.T) step {
		number := func(name string, limit int) int { return rapid.IntRange(1, limit).Draw(r, name) }
		task, other := number("task", tasks), number("other task", tasks)
		user, project := number("user", people), number("project", projects)
		weight, remainder := number("weight", 9), number("remainder", 3)-1
		shared := rapid.Bool().Draw(r, "shared")
		audience := rapid.SampledFrom([]string{"everyone", "everyone", "assigned"}).Draw(r, "audience")
		role := rapid.SampledFrom([]string{"customer", "customer", "customer", "staff"}).Draw(r, "role")

		// A third of what may be completed, and of what has been.
		const open = "select t.id, m.user_id from headway.task t join headway.member m on m.project_id = t.project_id and m.role = 'customer' " +
			"where (t.audience = 'everyone' or exists (select from headway.assignment a where a.task_id = t.id and a.user_id = m.user_id)) " +
			"and not exists (select from headway.prerequisite q where q.task_id = t.id) and (t.id + m.user_id) %% 3 = %d"
		third := fmt.Sprintf("(task_id + user_id) %% 3 = %d", remainder)

		type choice struct {
			times int
			step  step
		}
		choices := []choice{
			{10, step{sql: fmt.Sprintf("insert into headway.completion (task_id, user_id) values (%d, %d) on conflict do nothing", task, user)}},
			{3, step{sql: fmt.Sprintf("insert into headway.completion (task_id, user_id) values (%d, %d)", task, user)}},
			{3, step{sql: fmt.Sprintf("select headway.complete_task(%d, %d)", task, user), also: "P0002"}},
			{3, step{sql: fmt.Sprintf("insert into headway.completion (task_id, user_id) values (%d, %d), (%d, %d) "+
				"on conflict (task_id, user_id) do update set completed_at = excluded.completed_at", task, user, other, user), also: "21000"}},
			{5, step{sql: "insert into headway.completion (task_id, user_id) " + fmt.Sprintf(open, remainder) + " on conflict do nothing"}},
			{2, step{rows: [][]any{{task, user}, {other, user}}}},
			{2, step{sql: fmt.Sprintf("merge into headway.completion c using (values (%d, %d), (%d, %d)) v (t, u) on c.task_id = v.t and c.user_id = v.u "+
				"when matched then delete when not matched then insert (task_id, user_id) values (v.t, v.u)", task, user, other, user%people+1), also: "21000"}},
			{5, step{sql: fmt.Sprintf("delete from headway.completion where task_id = %d and user_id = %d", task, user)}},
			{2, step{sql: "delete from headway.completion where " + third}},
			{3, step{sql: fmt.Sprintf("select headway.reopen_task(%d, %d, %d, 'again')", task, user, user%people+1), also: "P0002"}},
			{1, step{sql: "update headway.completion set completed_at = now(), completed_by = user_id where " + third}},

			{4, step{sql: fmt.Sprintf("insert into headway.task (id, project_id, title, weight, shared, audience) values (%d, %d, 'Task', %d, %t, '%s') "+
				"on conflict do nothing", task, project, weight, shared, audience)}},
			{2, step{sql: fmt.Sprintf("insert into headway.task (id, project_id, title, weight, shared, audience) values (%d, %d, 'Task', %d, %t, '%s'), "+
				"(%d, %d, 'Task', 1, true, 'everyone') on conflict (id) do update set weight = excluded.weight, shared = excluded.shared",
				task, project, weight, shared, audience, other, project), also: "21000"}},
			{1, step{sql: fmt.Sprintf("insert into headway.task (id, project_id, title, shared) select 100 * %d + n, %d, 'Bulk', n %% 2 = 0 "+
				"from generate_series(1, 101) n on conflict do nothing", project, project)}},
			{3, step{sql: "delete from headway.task where id > 100"}},
			{4, step{sql: fmt.Sprintf("update headway.task set weight = %d where id = %d", weight, task)}},
			{1, step{sql: fmt.Sprintf("update headway.task set weight = weight %% 5 + 1 where id %% 3 = %d", remainder)}},
			{3, step{sql: fmt.Sprintf("update headway.task set shared = %t, audience = '%s' where id = %d", shared, audience, task)}},
			{1, step{sql: fmt.Sprintf("update headway.task set title = 'Same', weight = weight where id %% 3 = %d", remainder)}},
			{2, step{sql: fmt.Sprintf("delete from headway.task where id = %d", task)}},
			{1, step{sql: fmt.Sprintf("delete from headway.task where project_id = %d and id %% 3 = %d", project, remainder)}},

			{4, step{sql: fmt.Sprintf("insert into headway.member (project_id, user_id, role) values (%d, %d, '%s') on conflict do nothing", project, user, role)}},
			{2, step{sql: fmt.Sprintf("insert into headway.member (project_id, user_id, role) select %d, id, '%s' from headway.appuser "+
				"on conflict (project_id, user_id) do update set role = excluded.role", project, role)}},
			{2, step{sql: fmt.Sprintf("update headway.member set role = '%s' where project_id = %d and user_id = %d", role, project, user)}},
			{1, step{sql: fmt.Sprintf("update headway.member set user_id = %d where project_id = %d and user_id = %d", user%people+1, project, user)}},
			{3, step{sql: fmt.Sprintf("delete from headway.member where project_id = %d and user_id = %d", project, user)}},

			{4, step{sql: fmt.Sprintf("insert into headway.assignment (task_id, user_id) values (%d, %d), (%d, %d) on conflict do nothing", task, user, other, user)}},
			{1, step{sql: fmt.Sprintf("update headway.assignment set user_id = %d where task_id = %d and user_id = %d", user%people+1, task, user)}},
			{1, step{sql: fmt.Sprintf("update headway.assignment set task_id = %d where task_id = %d and user_id = %d", other, task, user)}},
			{2, step{sql: "delete from headway.assignment where " + third}},

			{1, step{sql: fmt.Sprintf("insert into headway.prerequisite (task_id, requires_id) values (%d, %d) on conflict do nothing", task, other), also: "23514"}},
			{2, step{sql: fmt.Sprintf("delete from headway.prerequisite where task_id = %d", task)}},

			{1, step{sql: fmt.Sprintf("delete from headway.project where id = %d", project)}},
			{3, step{sql: fmt.Sprintf("insert into headway.project (id, name) select n, 'Project' from generate_series(1, %d) n on conflict do nothing", projects)}},
			{1, step{sql: fmt.Sprintf("update headway.project set archived_at = now() where id = %d", project)}},
			{2, step{sql: "update headway.project set archived_at = null"}},
			{3, step{sql: fmt.Sprintf("insert into headway.appuser (id, fullname) select n, 'Person' from generate_series(1, %d) n on conflict do nothing", people)}},
			{2, step{sql: fmt.Sprintf("select headway.post(user_id, channel, 'Hello') from headway.subscription where channel = 'project_%d_staff'", project)}},
		}
		if isolation == pgx.ReadCommitted {
			// In others these are refused.
			choices = append(choices, []choice{
				{6, step{sql: "truncate headway.completion"}},
				{1, step{sql: "truncate headway.assignment"}},
				{1, step{sql: "truncate headway.member"}},
				{1, step{sql: "truncate headway.prerequisite"}},
				{1, step{sql: "truncate headway.task cascade"}},
				{1, step{sql: fmt.Sprintf("delete from headway.appuser where id = %d", user)}},
			}...)
		}
		var all []step
		for _, choice := range choices {
			all = append(all, slices.Repeat([]step{choice.step}, choice.times)...)
		}
		return rapid.SampledFrom(all).Draw(r, "statement")
	})
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

// differenceError says where progress was not what a recount makes of the same snapshot.
type differenceError struct{ difference string }

func (e *differenceError) Error() string { return e.difference }

// customer is a customer of a project.
type customer struct{ Project, User int64 }

// bar is somebody's progress.
type bar struct{ Done, Total, Percent int64 }

// compare reads all bars, from the view and one by one, and the tables in one snapshot and returns a [*differenceError] where they differ. The recount
// is its own: it knows what design.md says of the tables, and nothing of how headway counts.
func compare(ctx context.Context, conn *pgx.Conn) error {
	return pgx.BeginTxFunc(ctx, conn, pgx.TxOptions{IsoLevel: pgx.RepeatableRead}, func(tx pgx.Tx) error {
		// TRUNCATE empties a table in older snapshots too. With the locks taken first, there is no older snapshot.
		if _, err := tx.Exec(ctx, `lock table headway.project, headway.member, headway.task, headway.assignment, headway.completion,
			headway.pending_fact, headway.shared_progress, headway.personal_progress in access share mode`); err != nil {
			return err
		}
		want, everyone, personal, err := recount(ctx, tx)
		if err != nil {
			return err
		}
		var differences []string
		for name, query := range map[string]string{
			"progress": "select project_id, user_id, done, total, percent from headway.progress",
			"current_bar": `select m.project_id, m.user_id, b.done, b.total, b.percent
				from headway.member m cross join lateral headway.current_bar(m.project_id, m.user_id) b`,
		} {
			got := map[customer]bar{}
			if err := each(ctx, tx, query, func(v []int64) {
				got[customer{v[0], v[1]}] = bar{v[2], v[3], v[4]}
			}); err != nil {
				return err
			}
			for c, w := range want {
				if g, ok := got[c]; !ok || g != w {
					differences = append(differences, fmt.Sprintf("project %d, person %d: %s has %v, the tables %v", c.Project, c.User, name, g, w))
				}
			}
			for c, g := range got {
				if _, ok := want[c]; !ok {
					differences = append(differences, fmt.Sprintf("project %d, person %d: %s has %v, they are no customer", c.Project, c.User, name, g))
				}
			}
		}

		// Where no fact waits, the tables below the view say the same.
		waiting := map[int64]bool{}
		if err := each(ctx, tx, "select distinct project_id from headway.pending_fact", func(v []int64) { waiting[v[0]] = true }); err != nil {
			return err
		}
		if err := each(ctx, tx, "select project_id, done, total from headway.shared_progress", func(v []int64) {
			if w := everyone[v[0]]; !waiting[v[0]] && (v[1] != w.Done || v[2] != w.Total) {
				differences = append(differences, fmt.Sprintf("project %d: shared_progress has %v, the tables %v", v[0], v[1:], w))
			}
		}); err != nil {
			return err
		}
		folded := map[customer]bool{}
		if err := each(ctx, tx, "select project_id, user_id, done, total from headway.personal_progress", func(v []int64) {
			c := customer{v[0], v[1]}
			folded[c] = true
			if w := personal[c]; !waiting[v[0]] && (v[2] != w.Done || v[3] != w.Total) {
				differences = append(differences, fmt.Sprintf("project %d, person %d: personal_progress has %v, the tables %v", v[0], v[1], v[2:], w))
			}
		}); err != nil {
			return err
		}
		for c, w := range personal {
			if !folded[c] && !waiting[c.Project] && w != (bar{}) {
				differences = append(differences, fmt.Sprintf("project %d, person %d: personal_progress has no row, the tables %v", c.Project, c.User, w))
			}
		}
		if len(differences) > 0 {
			slices.Sort(differences)
			return &differenceError{strings.Join(differences, "; ")}
		}
		return nil
	})
}

// recount counts every customer's bar, and its two parts: what is for everyone and done for all, and the rest.
func recount(ctx context.Context, tx pgx.Tx) (bars map[customer]bar, everyone map[int64]bar, personal map[customer]bar, err error) {
	type link struct{ task, user int64 }
	assigned, completed, completedByAny := map[link]bool{}, map[link]bool{}, map[int64]bool{}
	bars, everyone, personal = map[customer]bar{}, map[int64]bar{}, map[customer]bar{}

	err = errors.Join(
		each(ctx, tx, "select project_id, user_id from headway.member where role = 'customer'", func(v []int64) {
			bars[customer{v[0], v[1]}] = bar{}
		}),
		each(ctx, tx, "select task_id, user_id from headway.assignment", func(v []int64) { assigned[link{v[0], v[1]}] = true }),
		each(ctx, tx, "select task_id, user_id from headway.completion", func(v []int64) {
			completed[link{v[0], v[1]}], completedByAny[v[0]] = true, true
		}),
	)
	if err != nil {
		return nil, nil, nil, err
	}
	err = each(ctx, tx, "select id, project_id, weight, shared::int, (audience = 'everyone')::int from headway.task", func(v []int64) {
		task, project, weight, shared, forEveryone := v[0], v[1], v[2], v[3] == 1, v[4] == 1
		if forEveryone {
			e := everyone[project]
			e.Total += weight
			if shared && completedByAny[task] {
				e.Done += weight
			}
			everyone[project] = e
		}
		for c, b := range bars {
			if c.Project != project || !forEveryone && !assigned[link{task, c.User}] {
				continue
			}
			complete := completed[link{task, c.User}]
			if shared {
				complete = completedByAny[task]
			}
			p := personal[c]
			b.Total += weight
			if !forEveryone {
				p.Total += weight
			}
			if complete {
				b.Done += weight
				if !forEveryone || !shared {
					p.Done += weight
				}
			}
			bars[c], personal[c] = b, p
		}
	})
	for c, b := range bars {
		if b.Total > 0 {
			b.Percent = b.Done * 100 / b.Total
		}
		bars[c] = b
	}
	return bars, everyone, personal, err
}

// each calls yield with every row of numbers that a query returns.
func each(ctx context.Context, tx pgx.Tx, query string, yield func(row []int64)) error {
	rows, err := tx.Query(ctx, query)
	if err != nil {
		return err
	}
	defer rows.Close()
	row := make([]int64, len(rows.FieldDescriptions()))
	targets := make([]any, len(row))
	for i := range row {
		targets[i] = &row[i]
	}
	for rows.Next() {
		if err := rows.Scan(targets...); err != nil {
			return err
		}
		yield(row)
	}
	return rows.Err()
}
