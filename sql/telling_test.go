package sql_test

import (
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"

	"headway/internal/pgtest"
)

// told is where what is told is told of: Abe and Bob are customers, Dora and Eve their staff; task 1 is shared and for all.
const told = `
insert into headway.appuser (id, fullname) values (1, 'Abe'), (2, 'Bob'), (5, 'Dora'), (6, 'Eve');
insert into headway.project (id, name) values (1, 'Website'), (2, 'Shop');
insert into headway.member (project_id, user_id, role) values (1, 1, 'customer'), (1, 2, 'customer'), (1, 5, 'staff'), (1, 6, 'staff'), (2, 1, 'customer');
insert into headway.task (id, project_id, title, shared, audience) values
  (1, 1, 'Domain', true, 'everyone'), (3, 1, 'Logo', true, 'assigned'), (9, 2, 'Shelf', true, 'everyone');
select headway.fold();`

// TestWhatHappensAtOnceIsToldOnce has two transactions meet a fold in orders in which what one of them did is seen by the
// other's side only later.
func TestWhatHappensAtOnceIsToldOnce(t *testing.T) {
	t.Parallel()
	const (
		open, commit = "begin", "commit"
		older        = "begin isolation level repeatable read; select from headway.task limit 1"
		forSome      = "update headway.task set audience = 'assigned' where id = 1"
		assign       = "insert into headway.assignment (task_id, user_id) values (1, 2)"
		fold         = "select headway.fold()"
	)
	assigned := []string{`user_2: You were assigned "Domain"`}
	type step struct{ who, what string }
	for name, test := range map[string]struct {
		steps []step
		want  []string
	}{
		"assigned while a task becomes one for some": {
			[]step{{"a", open}, {"a", forSome}, {"b", assign}, {"b", fold}, {"a", commit}}, assigned,
		},
		"assigned before, folded while": {
			[]step{{"b", assign}, {"a", open}, {"a", forSome}, {"b", fold}, {"a", commit}}, assigned,
		},
		"assigned before and folded before": {
			[]step{{"b", assign}, {"b", fold}, {"a", forSome}}, assigned,
		},
		"assigned before, folded after": {
			[]step{{"b", assign}, {"a", forSome}}, assigned,
		},
		"assigned after an older snapshot": {
			[]step{{"a", older}, {"b", assign}, {"b", fold}, {"a", forSome}, {"a", commit}}, assigned,
		},
		"both in one statement": {
			[]step{{"a", "with n as (insert into headway.assignment (task_id, user_id) values (1, 2)) " + forSome}}, assigned,
		},
		"for some, for everyone and for some again": {
			[]step{{"b", assign}, {"a", forSome}, {"a", fold}, {"a", "update headway.task set audience = 'everyone' where id = 1"}, {"a", forSome}},
			[]string{assigned[0], assigned[0]},
		},
		"completed by two, folded between": {
			[]step{{"a", open}, {"a", "select headway.complete_task(1, 1)"}, {"b", "select headway.complete_task(1, 2)"}, {"b", fold}, {"a", commit}},
			[]string{`project_1_staff: Bob completed "Domain"`},
		},
		"completed by two, folded after": {
			[]step{{"a", open}, {"a", "select headway.complete_task(1, 1)"}, {"b", "select headway.complete_task(1, 2)"}, {"a", commit}},
			[]string{`project_1_staff: Abe completed "Domain"`},
		},
		"completed by two and reopened by one": {
			[]step{
				{"a", open}, {"a", "select headway.complete_task(1, 1)"}, {"b", "select headway.complete_task(1, 2)"}, {"b", fold},
				{"b", "delete from headway.completion where task_id = 1 and user_id = 2"}, {"a", commit},
			},
			[]string{`project_1_staff: Bob completed "Domain"`, `project_1_staff: Abe completed "Domain"`},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := pgtest.New(t)
			a, b := db.Conn(t), db.Conn(t)
			pgtest.Execute(t, a, told)
			for _, s := range test.steps {
				pgtest.Execute(t, map[string]*pgx.Conn{"a": a, "b": b}[s.who], s.what)
			}
			pgtest.Execute(t, b, fold)
			got := value[[]string](t, b, `
				select coalesce(array_agg(concat_ws(' ', m.channel || ':', u.fullname, m.content) order by m.channel, m.seq), '{}')
				from headway.message m left join headway.appuser u on u.id = m.sender`)
			if !slices.Equal(got, test.want) {
				t.Errorf("told %q, want %q", got, test.want)
			}
		})
	}
}

// TestWhatComesAfterTheLookWaitsAlone has something to tell somebody whose channel is held come after a fold has looked whose
// channels are.
func TestWhatComesAfterTheLookWaitsAlone(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		before, waits, comes string
		kind                 string
		told                 int // Abe and Bob
	}{
		"assigned": {
			before: "select",
			waits:  "insert into headway.assignment (task_id, user_id) values (3, 1)",
			comes:  "insert into headway.assignment (task_id, user_id) values (3, 2)",
			kind:   "task_assigned", told: 2,
		},
		"reopened": {
			before: "insert into headway.completion (task_id, user_id) values (1, 2)",
			waits:  "insert into headway.completion (task_id, user_id) values (1, 1)",
			comes:  "delete from headway.completion where task_id = 1",
			kind:   "task_reopened", told: 2,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := pgtest.New(t)
			holder, folder, other := db.Conn(t), db.Conn(t), db.Conn(t)
			pgtest.Execute(t, other, told+test.before+"; select headway.fold()")
			redefine(t, other, "headway.consume(bigint[], bigint[])", `(?s)(AS \$function\$.*?begin\n)`, "${1}perform pg_advisory_xact_lock(42);\n")
			pgtest.Execute(t, other, test.waits+"; select headway.complete_task(9, 1)")
			pgtest.Execute(t, holder, "begin; select headway.post(2, 'user_2', 'A note to myself')")

			pgtest.Execute(t, other, "select pg_advisory_lock(42)")
			fold := start(t.Context(), folder, "set statement_timeout = '30s'; select headway.fold()")
			fold.waits(t, other, folder)
			pgtest.Execute(t, other, test.comes)
			pgtest.Execute(t, other, "select pg_advisory_unlock(42)") // only when that is committed
			if err := fold.wait(t); err != nil {
				t.Fatal(err)
			}
			if n := value[int](t, other, "select done from headway.shared_progress where project_id = 2"); n != 1 {
				t.Error("the other project is not folded")
			}
			exact(t, other, "while the channel is held")
			pgtest.Execute(t, holder, "select headway.post(5, 'project_1_staff', 'Done'); commit")
			pgtest.Execute(t, other, "select headway.fold()")
			exact(t, other, "in the end")
			if n := value[int](t, other, "select count(*) from headway.message where channel ~ '^user_' and kind = '"+test.kind+"'"); n != test.told {
				t.Errorf("%d were told", n)
			}
		})
	}
}

// TestWhoIsToldOfStays deletes somebody while a fold tells what they did, and has a fold tell it while they are being deleted.
func TestWhoIsToldOfStays(t *testing.T) {
	t.Parallel()
	const (
		remove = "delete from headway.appuser where id = 6"
		others = "insert into headway.appuser (id, fullname) values (60, 'Eve'); delete from headway.appuser where id = 60"
		fold   = "select headway.fold()"
	)
	for name, order := range map[string]struct{ deleted, folded []string }{
		"folded first":                          {deleted: []string{remove}, folded: []string{"begin", fold}},
		"deleted first":                         {deleted: []string{"begin", remove, "commit"}, folded: []string{fold}},
		"deleted first, and others after them":  {deleted: []string{"begin", remove, others, "savepoint s; " + others + "; rollback to s", "commit"}, folded: []string{fold}},
		"deleted first, by who deleted others":  {deleted: []string{others, "begin", remove, "commit"}, folded: []string{fold}},
		"deleted first, and all settings reset": {deleted: []string{"begin", remove, "reset all", "commit"}, folded: []string{fold}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := pgtest.New(t)
			a, b, other := db.Conn(t), db.Conn(t), db.Conn(t)
			pgtest.Execute(t, other, told+"select headway.complete_task(1, 1), headway.fold(); select headway.reopen_task(1, 1, 6);")
			last := len(order.deleted) - 1
			for _, statement := range order.deleted[:last] {
				pgtest.Execute(t, a, statement)
			}
			for _, statement := range order.folded {
				pgtest.Execute(t, b, "set statement_timeout = '30s'; "+statement)
			}
			deleted := start(t.Context(), a, order.deleted[last])
			if len(order.folded) > 1 {
				deleted.waits(t, other, a)
				pgtest.Execute(t, b, "commit")
			}
			if err := deleted.wait(t); code(err) != "23503" {
				t.Errorf("to delete them ends with %v", err)
			}
			senders := value[[]int64](t, other, "select array_agg(coalesce(m.sender, 0) order by m.seq) from headway.message m where m.channel = 'project_1_staff'")
			if !slices.Equal(senders, []int64{1, 6}) {
				t.Errorf("the senders are %d", senders)
			}
		})
	}
}

// TestAFoldWaitsForNoChannelOfAPerson holds Abe's own channel while each of the ways in which something is told there waits
// to be folded, and nothing else does that would keep the project back.
func TestAFoldWaitsForNoChannelOfAPerson(t *testing.T) {
	t.Parallel()
	for name, what := range map[string]string{
		"assigned":                    "insert into headway.assignment (task_id, user_id) values (3, 1)",
		"reopened":                    "delete from headway.completion where task_id = 1",
		"reopened and counted anew":   "delete from headway.completion where task_id = 1; update headway.task set weight = 2 where id = 1",
		"counted anew and reopened":   "update headway.task set weight = 2 where id = 1; delete from headway.completion where task_id = 1",
		"counted anew and assigned":   "update headway.task set weight = 2 where id = 1; insert into headway.assignment (task_id, user_id) values (3, 1)",
		"a task that is now for some": "update headway.task set audience = 'assigned' where id = 1",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := pgtest.New(t)
			holder, other := db.Conn(t), db.Conn(t)
			pgtest.Execute(t, other, told+`
				insert into headway.completion (task_id, user_id) values (1, 1);
				insert into headway.assignment (task_id, user_id) values (1, 1);
				select headway.fold();
				select set_config('headway.actor', '5', false)`)
			pgtest.Execute(t, other, what+"; select headway.complete_task(9, 1)")
			pgtest.Execute(t, holder, "begin; select headway.post(1, 'user_1', 'A note to myself')")

			pgtest.Execute(t, other, "set statement_timeout = '15s'")
			for value[int](t, other, "select headway.fold(1)") > 0 {
				exact(t, other, "folding")
			}
			if n := value[int](t, other, "select done from headway.shared_progress where project_id = 2"); n != 1 {
				t.Error("the other project is not folded")
			}
			pgtest.Execute(t, holder, "commit")
			for value[int](t, other, "select headway.fold(1)") > 0 {
				exact(t, other, "folding afterwards")
			}
			if n := value[int](t, other, "select count(*) from headway.message where channel = 'user_1' and kind <> 'chat'"); n != 1 {
				t.Errorf("Abe was told %d times", n)
			}
		})
	}
}

// TestAFoldGivesUpWhereItWouldWaitTooLong has somebody lock the bars for longer than the fold may wait.
func TestAFoldGivesUpWhereItWouldWaitTooLong(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	holder, other := db.Conn(t), db.Conn(t)
	pgtest.Execute(t, other, told+"select headway.complete_task(1, 1)")
	pgtest.Execute(t, holder, "begin; lock table headway.personal_progress in share mode")
	pgtest.Execute(t, other, "set lock_timeout = '10ms'; set statement_timeout = '15s'")
	if _, err := other.Exec(t.Context(), "select headway.fold()"); code(err) != "55P03" {
		t.Errorf("%q, not 55P03", code(err))
	}
}

// TestWhoeverJoinsAfterTheLookIsCountedWithAllThatWaits has a person of the project wait to be counted anew only after a
// fold has looked what is to be.
func TestWhoeverJoinsAfterTheLookIsCountedWithAllThatWaits(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	folder, other := db.Conn(t), db.Conn(t)
	pgtest.Execute(t, other, told+"insert into headway.appuser (id, fullname) values (7, 'Charlie')")
	redefine(t, other, "headway.consume(bigint[], bigint[])", `(?s)(AS \$function\$.*?begin\n)`, "${1}perform pg_advisory_xact_lock(42);\n")
	pgtest.Execute(t, other, "select headway.complete_task(1, 1); select pg_advisory_lock(42)")
	fold := start(t.Context(), folder, "set statement_timeout = '10s'; select headway.fold()")
	fold.waits(t, other, folder)
	pgtest.Execute(t, other, "insert into headway.member (project_id, user_id, role) values (1, 7, 'customer')")
	pgtest.Execute(t, other, "select pg_advisory_unlock(42)") // only when that is committed
	if err := fold.wait(t); err != nil {
		t.Fatal(err)
	}
	exact(t, other, "after the fold")
	pgtest.Execute(t, other, "select headway.fold()")
	exact(t, other, "in the end")
}

// TestWhatComesAfterTheCountIsNoReasonToTellNothing has somebody complete a shared task after a fold has counted what it tells,
// and before it tells it.
func TestWhatComesAfterTheCountIsNoReasonToTellNothing(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		before, what string
		want         []string
	}{
		"of what was completed": {
			"select", "select headway.complete_task(1, 2)", []string{`Bob completed "Domain"`},
		},
		"of what was reopened": {
			"select headway.complete_task(1, 2)", "select headway.reopen_task(1, 2)",
			[]string{`Bob completed "Domain"`, `Bob reopened "Domain"`, `Abe completed "Domain"`},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := pgtest.New(t)
			folder, other := db.Conn(t), db.Conn(t)
			pgtest.Execute(t, other, told+test.before+"; select headway.fold()")
			redefine(t, other, "headway.post_activity(headway.pending_fact[])", `(?s)(AS \$function\$.*?begin\n)`, "${1}perform pg_advisory_xact_lock(42);\n")
			pgtest.Execute(t, other, test.what+"; select pg_advisory_lock(42)")
			fold := start(t.Context(), folder, "select headway.fold()")
			fold.waits(t, other, folder)
			pgtest.Execute(t, other, "insert into headway.completion (task_id, user_id) values (1, 1)")
			pgtest.Execute(t, other, "select pg_advisory_unlock(42)") // only when that is committed
			if err := fold.wait(t); err != nil {
				t.Fatal(err)
			}
			pgtest.Execute(t, other, "select headway.fold()")
			got := value[[]string](t, other, `
				select array_agg(u.fullname || ' ' || m.content order by m.seq)
				from headway.message m join headway.appuser u on u.id = m.sender
				where m.channel = 'project_1_staff'`)
			if !slices.Equal(got, test.want) {
				t.Errorf("told %q, want %q", got, test.want)
			}
		})
	}
}
