package sql_test

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"headway/internal/pgtest"
)

// An end user's rows are told twice: by the policies, and here in the words of design.md, each with an explicit where.
// $1 is whoever looks; null: nobody said who.
const lookers = `
create function public.joined(project_id bigint, looker bigint) returns boolean language sql stable as $$
  select exists (select from headway.member m where m.project_id = $1 and m.user_id = $2)
$$;
create function public.staffs(project_id bigint, looker bigint) returns boolean language sql stable as $$
  select exists (select from headway.member m where m.project_id = $1 and m.user_id = $2 and m.role = 'staff')
$$;
create function public.subscribed(channel text, looker bigint) returns boolean language sql stable as $$
  select exists (select from headway.subscription s where s.channel = $1 and s.user_id = $2)
$$`

// theirs returns a query, for every relation that an end user may read, of what they are to find in it.
func theirs() map[string]string {
	const (
		parts = `select * from headway.%s r
			where public.joined(r.project_id, $1) and (r.user_id is null or r.user_id = $1 or public.staffs(r.project_id, $1))`
		bars = "select * from headway.%s r where r.user_id = $1 or public.staffs(r.project_id, $1)"
		own  = "select * from headway.%s r where r.user_id = $1"
	)
	queries := map[string]string{
		"appuser": `select * from headway.appuser r
			where r.id = $1 or exists (select from headway.member m where m.user_id = r.id and public.joined(m.project_id, $1))`,
		"project": "select * from headway.project r where public.joined(r.id, $1)",
		"member": `select * from headway.member r
			where public.joined(r.project_id, $1) and (r.user_id = $1 or r.role = 'staff' or public.staffs(r.project_id, $1))`,
		"task": "select * from headway.task r where public.joined(r.project_id, $1)",
		"prerequisite": `select r.* from headway.prerequisite r
			join headway.task t on t.id = r.task_id and public.joined(t.project_id, $1)`,
		"assignment": `select r.* from headway.assignment r
			join headway.task t on t.id = r.task_id and public.joined(t.project_id, $1)
			where r.user_id = $1 or public.staffs(t.project_id, $1)`,
		"completion": `select r.* from headway.completion r
			join headway.task t on t.id = r.task_id and public.joined(t.project_id, $1)
			where r.user_id = $1 or t.shared or public.staffs(t.project_id, $1)`,
		"pending_fact": `select * from headway.pending_fact r
			where public.joined(r.project_id, $1) and (
				r.user_id is null or r.user_id = $1 or public.staffs(r.project_id, $1) or r.shared
			)`,
		"shared_progress":         "select * from headway.shared_progress r where public.joined(r.project_id, $1)",
		"current_shared_progress": "select * from headway.current_shared_progress r where public.joined(r.project_id, $1)",
		"personal_progress":       fmt.Sprintf(parts, "personal_progress"),

		"channel":     "select * from headway.channel r where public.subscribed(r.name, $1)",
		"message":     "select * from headway.message r where public.subscribed(r.channel, $1)",
		"digest_item": "select r.* from headway.digest_item r join headway.digest d on d.id = r.digest_id and d.user_id = $1",
		"setting":     "select * from headway.setting r where $1 is not null",

		// A customer's project is their own bar.
		"project_progress": `select * from headway.project_progress r where public.staffs(r.project_id, $1)
			union all
			select p.id, p.name, 1, r.done, r.total, r.percent
			from headway.progress r join headway.project p on p.id = r.project_id where r.user_id = $1`,
	}
	for _, table := range []string{"subscription", "seen", "digest", "unread", "unread_message"} {
		queries[table] = fmt.Sprintf(own, table)
	}
	for _, view := range []string{"progress", "outstanding_task"} {
		queries[view] = fmt.Sprintf(bars, view)
	}
	for _, view := range []string{"recount", "folded_progress", "current_progress", "current_personal_progress", "pending_effect", "pending_recompute"} {
		queries[view] = fmt.Sprintf(parts, view)
	}
	for relation, query := range queries {
		queries[relation] = strings.ReplaceAll(query, "$1", "$1::bigint")
	}
	return queries
}

// relation is a table or view that an end user may read.
type relation struct {
	name string
	row  string // what they may read of it, as one value of a row r
}

// readable returns the relations that an end user may read, or some columns of, all of which have to be in theirs().
func readable(ctx context.Context, conn *pgx.Conn) ([]relation, error) {
	rows, err := conn.Query(ctx, `
		select c.relname::text, format('row(%s)::text', string_agg('r.' || quote_ident(a.attname), ', ' order by a.attnum))
		from pg_class c
		join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
		where c.relnamespace = 'headway'::regnamespace and c.relkind in ('r', 'p', 'v', 'm', 'f')
		  and has_column_privilege('headway_user', c.oid, a.attnum, 'select')
		group by c.relname
		order by c.relname`)
	if err != nil {
		return nil, err
	}
	relations, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (r relation, err error) {
		return r, row.Scan(&r.name, &r.row)
	})
	if err != nil {
		return nil, err
	}
	var names []string
	for _, r := range relations {
		names = append(names, r.name)
	}
	if known := slices.Sorted(maps.Keys(theirs())); !slices.Equal(names, known) {
		return nil, fmt.Errorf("end users may read %q; what they are to find is told of %q", names, known)
	}
	return relations, nil
}

// as does something in a transaction as an end user; id null: nobody said who.
func as(ctx context.Context, tx pgx.Tx, id *int64, do func() error) error {
	if _, err := tx.Exec(ctx, "select set_config('headway.user_id', coalesce($1::bigint::text, ''), true)", id); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, "set local role headway_user"); err != nil {
		return err
	}
	if err := do(); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, "set local role none"); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, "select set_config('headway.user_id', '', true)")
	return err
}

// texts returns what a query of one column of text returns, sorted.
func texts(ctx context.Context, tx pgx.Tx, query string, args ...any) ([]string, error) {
	rows, err := tx.Query(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	found, err := pgx.CollectRows(rows, pgx.RowTo[string])
	slices.Sort(found)
	return found, err
}

// pastPolicies is what functions tell past the policies, and where the policies show the same. $1: all messages there are.
var pastPolicies = map[string]struct{ told, shown string }{
	"my_progress": {
		`select (p.id, r.user_id, r.done, r.total, r.percent, r.version)::text
		from headway.project p cross join lateral headway.my_progress(p.id) r where $1::bigint[] is not null`,
		`select r::text from headway.progress r`,
	},
	"sender_name": {
		`select i::text from unnest($1::bigint[]) i where headway.sender_name(i) is not null`,
		`select m.id::text from headway.message m where m.sender is not null`,
	},
}

// look returns a [*differenceError] where an end user finds other rows than theirs, and how many they find.
func look(ctx context.Context, tx pgx.Tx, relations []relation, id *int64) (found int, err error) {
	queries, want := theirs(), map[string][]string{}
	for _, r := range relations {
		if want[r.name], err = texts(ctx, tx, fmt.Sprintf("select %s from (%s) r", r.row, queries[r.name]), id); err != nil {
			return 0, fmt.Errorf("%s: %w", r.name, err)
		}
	}
	var messages []int64
	if err := tx.QueryRow(ctx, "select array(select m.id from headway.message m)").Scan(&messages); err != nil {
		return 0, err
	}
	var differences []string
	err = as(ctx, tx, id, func() error {
		for _, r := range relations {
			got, err := texts(ctx, tx, fmt.Sprintf("select %s from headway.%s r", r.row, r.name))
			if err != nil {
				return fmt.Errorf("%s, as %s: %w", r.name, named(id), err)
			}
			if !slices.Equal(got, want[r.name]) {
				differences = append(differences, fmt.Sprintf("%s finds in %s %q, not %q",
					named(id), r.name, without(got, want[r.name]), without(want[r.name], got)))
			}
			found += len(got)
		}
		for function, past := range pastPolicies {
			shown, err := texts(ctx, tx, past.shown)
			if err != nil {
				return err
			}
			told, err := texts(ctx, tx, past.told, messages)
			if err != nil {
				return fmt.Errorf("%s, as %s: %w", function, named(id), err)
			}
			if !slices.Equal(told, shown) {
				differences = append(differences, fmt.Sprintf("%s tells %s %q, not %q", function, named(id), without(told, shown), without(shown, told)))
			}
		}
		return nil
	})
	if differences != nil {
		err = &differenceError{strings.Join(differences, "\n")}
	}
	return found, err
}

// without returns what is in one list and not in another.
func without(list, other []string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(s string) bool { return slices.Contains(other, s) })
}

func named(id *int64) string {
	if id == nil {
		return "nobody"
	}
	return fmt.Sprintf("person %d", *id)
}

// everybody returns all the people, somebody who is not there, and nobody.
func everybody(ctx context.Context, tx pgx.Tx) ([]*int64, error) {
	rows, err := tx.Query(ctx, "select u.id from headway.appuser u union all select 99 union all select null order by 1")
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[*int64])
}

// compareTheirs reads every relation as everybody, in one transaction, and returns a [*differenceError] where somebody finds
// other rows than theirs, or another progress than there is.
func compareTheirs(ctx context.Context, conn *pgx.Conn) error {
	relations, err := readable(ctx, conn)
	if err != nil {
		return err
	}
	return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		people, err := everybody(ctx, tx)
		if err != nil {
			return err
		}
		for _, id := range people {
			found, err := look(ctx, tx, relations, id)
			if err != nil {
				return err
			}
			if id == nil && found > 0 {
				return &differenceError{fmt.Sprintf("nobody finds %d rows", found)}
			}
		}
		return nil
	})
}

// neighbours is a database with testdata/neighbours.sql in it.
func neighbours(t *testing.T) *pgtest.DB {
	t.Helper()
	db := pgtest.New(t)
	conn := db.Conn(t)
	script, err := os.ReadFile("testdata/neighbours.sql")
	if err != nil {
		t.Fatal(err)
	}
	pgtest.Execute(t, conn, string(script))
	pgtest.Execute(t, conn, lookers)
	return db
}

// TestEndUsersFindWhatIsTheirs has everybody of two projects read everything.
func TestEndUsersFindWhatIsTheirs(t *testing.T) {
	t.Parallel()
	conn := neighbours(t).Conn(t)
	relations, err := readable(t.Context(), conn)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range relations {
		// Unless there is something to hide, nothing proves that it is hidden.
		const hidden = "select count(*) from headway.%s r where (r::text) ~* '77000000|hidden'"
		if n := value[int](t, conn, fmt.Sprintf(hidden, r.name)); n == 0 && r.name != "setting" {
			t.Errorf("%s has nothing of the hidden project", r.name)
		}
	}
	if err := compareTheirs(t.Context(), conn); err != nil {
		t.Error(err)
	}
}

// TestProgressIsExactForWhoeverLooks is TestProgressIsExactAtAnyMoment for end users: while facts wait, and after some of
// them were folded, each finds what there is, less what is not theirs.
func TestProgressIsExactForWhoeverLooks(t *testing.T) {
	t.Parallel()
	run := newRunner(t)
	pgtest.Execute(t, run.conn, lookers)
	var waiting int
	for round := range 8 {
		h := histories().Example(round)
		pgtest.Execute(t, run.conn, arrange)
		for i, transactions := range h.writers {
			for _, tx := range transactions {
				if err := run.write(t.Context(), run.conn, tx); err != nil {
					t.Fatalf("history %d, connection %d: %v\n%s", round, i+1, err, h)
				}
			}
			waiting += value[int](t, run.conn, "select count(*) from headway.pending_fact")
			if err := compareTheirs(t.Context(), run.conn); err != nil {
				t.Fatalf("history %d, after connection %d: %v\n%s", round, i+1, err, h)
			}
			if _, err := run.fold(t.Context(), run.conn, 5); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Logf("%d transactions committed, %d were refused, %d facts waited", run.committed.Load(), run.refused.Load(), waiting)
	if waiting == 0 || run.committed.Load() <= run.refused.Load() {
		t.Error("that proves little")
	}
}

// TestWhatBecomesSharedMeanwhileIsSeen completes or reopens a task that is turned from everybody's own into a shared one
// in another transaction, in every order of commits: once all else has been folded, the others see it.
func TestWhatBecomesSharedMeanwhileIsSeen(t *testing.T) {
	t.Parallel()
	const (
		complete = "begin; insert into headway.completion (task_id, user_id) values (9, 1)"
		share    = "begin; update headway.task set shared = true where id = 9"
		reopen   = "begin; delete from headway.completion where task_id = 9 and user_id = 1"
	)
	for _, order := range []struct{ name, first, second string }{
		{"completed first", complete, share},
		{"shared first", share, complete},
		{"reopened first", reopen, share},
		{"shared before it is reopened", share, reopen},
	} {
		t.Run(order.name, func(t *testing.T) {
			t.Parallel()
			db := neighbours(t)
			a, b, other := db.Conn(t), db.Conn(t), db.Conn(t)
			pgtest.Execute(t, other, "insert into headway.task (id, project_id, title, shared) values (9, 1, 'Roof', false)")
			reopens := reopen == order.first || reopen == order.second
			if reopens {
				pgtest.Execute(t, other, "insert into headway.completion (task_id, user_id) values (9, 1)")
			}
			pgtest.Execute(t, other, "select headway.fold() from generate_series(1, 3)")
			pgtest.Execute(t, a, order.first)
			second := start(t.Context(), b, order.second)
			second.settles(t, other, b)
			pgtest.Execute(t, a, "commit")
			pgtest.Execute(t, other, "select headway.fold()")
			if err := second.wait(t); err != nil {
				t.Fatal(err)
			}
			pgtest.Execute(t, b, "commit")
			if n := value[int](t, other, "select count(*) from headway.pending_fact"); n == 0 {
				t.Error("nothing waits to be folded")
			}
			if err := compareTheirs(t.Context(), other); err != nil {
				t.Error(err)
			}
			if done := value[bool](t, other, "select headway.is_complete(9, shared, 2) from headway.task where id = 9"); done == reopens {
				t.Errorf("complete for Bob: %t", done)
			}
		})
	}
}
