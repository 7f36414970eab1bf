package sql_test

import (
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"pgregory.net/rapid"
)

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
