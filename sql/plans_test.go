package sql_test

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"headway/internal/pgtest"
)

// TestAPlanForAnEmptyQueueIsGoodForALongOne reads bars by plans that were made while nothing waited, as connections of a
// pool keep them, when much does. What is read may grow as the queue does, and not with its square.
func TestAPlanForAnEmptyQueueIsGoodForALongOne(t *testing.T) {
	t.Parallel()
	db := unattended(t)
	conn, other := db.Conn(t), db.Conn(t)
	pgtest.Execute(t, other, `
		insert into headway.appuser (fullname) select 'Bob' from generate_series(1, 50);
		insert into headway.project (name) values ('Website');
		insert into headway.member (project_id, user_id, role) select 1, id, 'customer' from headway.appuser;
		insert into headway.task (project_id, title) select 1, 'Task' from generate_series(1, 5000);
		insert into headway.completion (task_id, user_id) select id, 1 from headway.task where id <= 1000;
		select headway.fold(10000) from generate_series(1, 3)`)
	pgtest.Execute(t, other, "vacuum analyze")
	for name, query := range map[string]string{
		"a bar":                   "select p.percent from headway.progress p where p.project_id = $1 and p.user_id = 7",
		"all bars":                "select p.user_id, p.percent from headway.progress p where p.project_id = $1",
		"the part that all share": "select p.done from headway.current_progress p where p.project_id = $1 and p.user_id is null",
		"a project":               "select p.percent from headway.project_progress p where p.project_id = $1",
	} {
		pgtest.Execute(t, conn, "set plan_cache_mode = force_generic_plan; prepare reading (bigint) as "+query+"; explain analyze execute reading (1)")
		read := func() float64 { return pages(t, conn, "execute reading (1)") }
		pgtest.Execute(t, other, "insert into headway.completion (task_id, user_id) select id, 1 from headway.task where id between 1001 and 1300")
		short := read()
		pgtest.Execute(t, other, "insert into headway.completion (task_id, user_id) select id, 1 from headway.task where id between 2001 and 5000")
		long := read()
		t.Logf("%s: %.0f pages with 300 facts waiting, %.0f with 3,300", name, short, long)
		if long > 2*11*short {
			t.Errorf("%s: %.0f pages with 300 facts waiting, %.0f with 3,300", name, short, long)
		}
		pgtest.Execute(t, other, `
			delete from headway.completion where task_id > 1000;
			select headway.fold(10000) from generate_series(1, 10)`)
		pgtest.Execute(t, other, "vacuum headway.pending_fact")
		pgtest.Execute(t, conn, "deallocate reading")
	}
}

// TestAPlanForSmallProjectsIsGoodForALargeOne reads the bars of a project, as its staff may who go by the policies, by a
// plan that was made for as many customers as projects have on average.
func TestAPlanForSmallProjectsIsGoodForALargeOne(t *testing.T) {
	t.Parallel()
	conn := unattended(t).Conn(t)
	pgtest.Execute(t, conn, `
		insert into headway.appuser (fullname) select 'Bob' from generate_series(1, 2000);
		insert into headway.project (name) select 'Website' from generate_series(1, 200);
		insert into headway.member (project_id, user_id, role) select id, 1, 'staff' from headway.project where id <= 10;
		insert into headway.member (project_id, user_id, role)
		select p.id, u.id, 'customer' from headway.project p join headway.appuser u on u.id > 1 and (p.id = 1 or u.id <= 21);
		insert into headway.task (project_id, title, shared) select id, 'Task', false from headway.project;
		insert into headway.completion (task_id, user_id)
		select t.id, m.user_id from headway.task t join headway.member m on m.project_id = t.project_id and m.role = 'customer';
		select headway.fold(100000)`)
	pgtest.Execute(t, conn, "vacuum analyze")
	pgtest.Execute(t, conn, `
		set role headway_user; set headway.user_id = 1; set plan_cache_mode = force_generic_plan;
		prepare reading (bigint) as select p.user_id, p.percent from headway.progress p where p.project_id = $1`)
	small, large := pages(t, conn, "execute reading (2)"), pages(t, conn, "execute reading (1)")
	t.Logf("%.0f pages for 20 customers, %.0f for 1,999", small, large)
	if large > 100*small {
		t.Errorf("%.0f pages for 20 customers, %.0f for 1,999", small, large)
	}
}

// TestABarIsReadByItselfWhileItsProjectIsToBeCounted has a project counted anew, as when a task gets another weight, and
// reads what belongs to one of its customers, or to all, before that is done.
func TestABarIsReadByItselfWhileItsProjectIsToBeCounted(t *testing.T) {
	t.Parallel()
	conn := unattended(t).Conn(t)
	pgtest.Execute(t, conn, `
		insert into headway.appuser (fullname) select 'Bob' from generate_series(1, 2000);
		insert into headway.project (name) values ('Website');
		insert into headway.task (project_id, title, shared) select 1, 'Task', false from generate_series(1, 5);
		select set_config('headway.user_id', '7', false)`)
	queries := []string{
		"select * from headway.my_progress(1)",
		"select * from headway.bar_since(1, 7, 'customer', now())",
		"select * from headway.current_shared_progress",
	}
	read := func(customers int) (read []float64) {
		pgtest.Execute(t, conn, fmt.Sprintf(`
			insert into headway.member (project_id, user_id, role) select 1, id, 'customer' from headway.appuser where id <= %d on conflict do nothing;
			insert into headway.completion (task_id, user_id) select t.id, m.user_id from headway.task t, headway.member m on conflict do nothing;
			do $$ begin while headway.fold(100000) > 0 loop end loop; end $$`, customers))
		pgtest.Execute(t, conn, "vacuum analyze")
		pgtest.Execute(t, conn, "update headway.task set weight = weight + 1 where id = 1")
		for _, query := range queries {
			pages(t, conn, query) // so that everything is planned
			read = append(read, pages(t, conn, query))
		}
		return read
	}
	few, many := read(20), read(2000)
	for i, query := range queries {
		t.Logf("%s: %.0f pages for 20 customers, %.0f for 2,000", query, few[i], many[i])
		if many[i] > 4*few[i] { // indexes that are one level deeper
			t.Errorf("%s: %.0f pages for 20 customers, %.0f for 2,000", query, few[i], many[i])
		}
	}
}

// TestABarOfAQuietProjectIsReadPastALongQueue has a busy project beside it, by which every fact seems to be of any project.
func TestABarOfAQuietProjectIsReadPastALongQueue(t *testing.T) {
	t.Parallel()
	conn := unattended(t).Conn(t)
	pgtest.Execute(t, conn, `
		insert into headway.appuser (fullname) values ('Abe');
		insert into headway.project (name) values ('Website'), ('Shop');
		insert into headway.member (project_id, user_id, role) select id, 1, 'customer' from headway.project;
		insert into headway.task (project_id, title) select id, 'Task' from headway.project;
		select headway.fold();
		insert into headway.pending_fact (kind, project_id, task_id) select 'task_added', 2, 2 from generate_series(1, 20000);
		set plan_cache_mode = force_generic_plan`)
	pgtest.Execute(t, conn, "vacuum analyze")
	const query = "select * from headway.current_bar(1, 1)"
	pages(t, conn, query) // so that everything is planned
	queue := value[float64](t, conn, "select pg_relation_size('headway.pending_fact') / 8192")
	if read := pages(t, conn, query); read > queue/4 {
		t.Errorf("%.0f pages, the queue has %.0f", read, queue)
	}
}

// TestAnAssignmentReadsNothingOfOtherProjects makes many at once while much waits elsewhere, as in an import without a
// worker, by a plan that was made while nothing did.
func TestAnAssignmentReadsNothingOfOtherProjects(t *testing.T) {
	t.Parallel()
	conn := unattended(t).Conn(t)
	pgtest.Execute(t, conn, `
		insert into headway.appuser (fullname) values ('Abe');
		insert into headway.project (name) values ('Website'), ('Shop');
		insert into headway.member (project_id, user_id, role) select id, 1, 'customer' from headway.project;
		insert into headway.task (project_id, title, audience) select 1, 'Task', 'assigned' from generate_series(1, 1000);
		select headway.fold();
		create function public.assign(first integer) returns void language plpgsql as $$ begin
			insert into headway.assignment (task_id, user_id) select n, 1 from generate_series(first, first + 100) n;
		end $$`)
	assign := func(first int) float64 { return pages(t, conn, fmt.Sprintf("select public.assign(%d)", first)) }
	assign(1) // so that everything is planned
	pgtest.Execute(t, conn, "select headway.fold()")
	alone := assign(201)
	pgtest.Execute(t, conn, `
		select headway.fold();
		insert into headway.pending_fact (kind, project_id, task_id, user_id) select 'assigned', 2, n, n from generate_series(1, 100000) n`)
	beside := assign(401)
	t.Logf("%.0f pages to assign a hundred tasks, %.0f while 100,000 assignments wait in another project", alone, beside)
	if beside > 1.5*alone {
		t.Errorf("%.0f pages to assign a hundred tasks, %.0f while 100,000 assignments wait in another project", alone, beside)
	}
}

// TestTheStatusReadsTheQueueOnce does so where, by the statistics, all of the queue has been vacuumed, and all that is there
// came later.
func TestTheStatusReadsTheQueueOnce(t *testing.T) {
	t.Parallel()
	conn := unattended(t).Conn(t)
	const fill = "insert into headway.pending_fact (kind, project_id, task_id) select 'task_added', n, n from generate_series(1, 30000) n"
	pgtest.Execute(t, conn, "alter table headway.pending_fact set (autovacuum_enabled = off); "+fill)
	pgtest.Execute(t, conn, "vacuum analyze headway.pending_fact")
	pgtest.Execute(t, conn, "update headway.pending_fact set project_id = project_id")
	queue := value[float64](t, conn, "select pg_relation_size('headway.pending_fact') / 8192")
	if read := pages(t, conn, "select * from headway.status"); read > 2*queue {
		t.Errorf("%.0f pages, the queue has %.0f", read, queue)
	}
}

// TestOnesOwnBarsRecountNoOtherProject is of somebody in a quiet project, while much waits in another one, which has to be
// recounted.
func TestOnesOwnBarsRecountNoOtherProject(t *testing.T) {
	t.Parallel()
	conn := unattended(t).Conn(t)
	pgtest.Execute(t, conn, `
		insert into headway.appuser (fullname) values ('Abe'), ('Bob');
		insert into headway.project (name) values ('Website'), ('Shop');
		insert into headway.member (project_id, user_id, role) values (1, 2, 'customer');
		insert into headway.task (project_id, title) select 2, 'Task' from generate_series(1, 20000);
		do $$ begin while headway.fold(100000) > 0 loop end loop; end $$`)
	pgtest.Execute(t, conn, "vacuum analyze")
	queries := []string{
		"select headway.snapshot(2)",
		value[string](t, conn, `select substring(obj_description('headway.progress'::regclass) from 'without that: (select .*)\.$')`),
	}
	quiet := map[string]float64{}
	for _, query := range queries {
		pages(t, conn, query) // so that everything is planned
		quiet[query] = pages(t, conn, query)
	}
	pgtest.Execute(t, conn, `
		insert into headway.pending_fact (kind, project_id, task_id) select 'task_added', 2, id from headway.task;
		insert into headway.pending_fact (kind, project_id) values ('recompute', 2)`)
	for _, query := range queries {
		beside := pages(t, conn, query)
		t.Logf("%s: %.0f pages, %.0f while another project has much waiting", query, quiet[query], beside)
		if beside > 20_000/4 { // a recount asks for the completions of each task
			t.Errorf("%s: %.0f pages, %.0f while another project has much waiting", query, quiet[query], beside)
		}
	}
}

// TestARecountReadsItsProjectAlone counts a project anew right after much has been loaded into all of them, of which
// nothing is in the statistics yet.
func TestARecountReadsItsProjectAlone(t *testing.T) {
	t.Parallel()
	conn := unattended(t).Conn(t)
	pgtest.Execute(t, conn, `
		insert into headway.appuser (fullname) values ('Bob');
		insert into headway.project (name) select 'Project' from generate_series(1, 100);
		insert into headway.member (project_id, user_id, role) select id, 1, 'customer' from headway.project;
		insert into headway.task (project_id, title) select p.id, 'Task' from headway.project p, generate_series(1, 200);
		insert into headway.completion (task_id, user_id) select id, 1 from headway.task;
		analyze headway.task`)
	plan := strings.Join(column(t, conn, "explain select * from headway.recount r where r.project_id = 1"), "\n")
	if strings.Contains(plan, "Seq Scan on completion") {
		t.Errorf("all completions there are, read for one project:\n%s", plan)
	}
}

// TestARecountReadsNoCompletionItself counts a project in which much was completed: that it was is in the index.
func TestARecountReadsNoCompletionItself(t *testing.T) {
	t.Parallel()
	conn := unattended(t).Conn(t)
	pgtest.Execute(t, conn, `
		insert into headway.appuser (fullname) select 'Bob' from generate_series(1, 50);
		insert into headway.project (name) select 'Project' from generate_series(1, 20);
		insert into headway.member (project_id, user_id, role) select p.id, u.id, 'customer' from headway.project p, headway.appuser u;
		insert into headway.task (project_id, title, shared, audience)
		select p.id, 'Task', n % 2 = 0, case when n % 4 < 2 then 'everyone' else 'assigned' end
		from headway.project p, generate_series(1, 40) n;
		insert into headway.assignment (task_id, user_id) select t.id, u.id from headway.task t, headway.appuser u where t.audience = 'assigned';
		insert into headway.completion (task_id, user_id) select t.id, u.id from headway.task t, headway.appuser u`)
	pgtest.Execute(t, conn, "vacuum analyze")
	plan := strings.Join(column(t, conn, "explain select * from headway.recount r where r.project_id = 1"), "\n")
	scans := regexp.MustCompile(`-> +([\w ]+?)(?: using \w+)? on completion`).FindAllStringSubmatch(plan, -1)
	for _, scan := range scans {
		if scan[1] != "Index Only Scan" {
			t.Errorf("%s:\n%s", scan[0], plan)
		}
	}
	if len(scans) != 4 { // of shared tasks and of individual ones, for everyone and for those assigned
		t.Errorf("%d scans:\n%s", len(scans), plan)
	}
}

// TestARecountOfAPersonStartsNoParallelWorkers plans it with the settings of headway.recount_person, for tasks that seem worth
// workers. Since PostgreSQL 17, the planner sees by itself that none are read.
func TestARecountOfAPersonStartsNoParallelWorkers(t *testing.T) {
	t.Parallel()
	conn := unattended(t).Conn(t)
	pgtest.Execute(t, conn, `
		insert into headway.project (name) values ('Website');
		insert into headway.task (project_id, title) select 1, 'Page' from generate_series(1, 10000)`)
	pgtest.Execute(t, conn, "analyze")
	pgtest.Execute(t, conn, `
		set parallel_setup_cost = 0; set parallel_tuple_cost = 0; set min_parallel_table_scan_size = 0;
		select set_config(split_part(s, '=', 1), split_part(s, '=', 2), false)
		from pg_proc p, unnest(p.proconfig) s where p.oid = 'headway.recount_person(bigint, bigint)'::regprocedure;
		prepare person (bigint, bigint) as select sum(r.done), sum(r.total) from headway.recount r where r.project_id = $1 and r.user_id = $2`)
	if plan := strings.Join(column(t, conn, "explain execute person (1, 2)"), "\n"); strings.Contains(plan, "Gather") {
		t.Errorf("it starts workers:\n%s", plan)
	}
}

// TestAFoldOfManyPeoplePlansForThemAll has many join where a connection made its plans when nobody was assigned to anything: by
// these, it would read all assignments for each of them.
func TestAFoldOfManyPeoplePlansForThemAll(t *testing.T) {
	t.Parallel()
	db := unattended(t)
	conn, other := db.Conn(t), db.Conn(t)
	pgtest.Execute(t, other, `
		insert into headway.appuser (fullname) select 'Bob' from generate_series(1, 300);
		insert into headway.project (name) select 'Website' from generate_series(1, 50);
		insert into headway.task (project_id, title, audience) select p.id, 'Page', 'assigned' from headway.project p, generate_series(1, 100);
		select headway.fold(10000)`)
	pgtest.Execute(t, other, "vacuum analyze")
	pgtest.Execute(t, other, "insert into headway.member (project_id, user_id, role) values (1, 1, 'customer')")
	pgtest.Execute(t, conn, "select headway.fold()")
	pgtest.Execute(t, other, `
		set session_replication_role = replica; -- thousands of other people, of whom nothing but this is needed
		insert into headway.assignment (task_id, user_id) select t, u from generate_series(1, 400) t, generate_series(1001, 1500) u;
		set session_replication_role = origin;
		insert into headway.member (project_id, user_id, role) select 1 + id % 50, id, 'customer' from headway.appuser where id > 1`)
	fold := func(conn *pgx.Conn) float64 {
		pgtest.Execute(t, conn, "begin")
		defer pgtest.Execute(t, conn, "rollback")
		return pages(t, conn, "select headway.fold()")
	}
	then, now := fold(conn), fold(db.Conn(t))
	if then > 1.1*now {
		t.Errorf("%.0f pages, by a new connection %.0f", then, now)
	}
}

// TestAnOpenTaskIsAskedForByItself asks whether a shared task is complete in a database of few tasks, each of which many
// have completed: the planner expects to find a completion of any task soon, wherever it begins to read.
func TestAnOpenTaskIsAskedForByItself(t *testing.T) {
	t.Parallel()
	conn := unattended(t).Conn(t)
	pgtest.Execute(t, conn, `
		insert into headway.appuser (fullname) values ('Abe'), ('Bob'), ('Charlie');
		insert into headway.project (name) values ('Training'), ('Website');
		insert into headway.member (project_id, user_id, role) select 2, id, 'customer' from headway.appuser;
		insert into headway.task (project_id, title, shared) select 1, 'Lesson', false from generate_series(1, 4);
		insert into headway.task (project_id, title, audience) values (2, 'Domain', 'everyone'), (2, 'Logo', 'assigned'), (2, 'Roof', 'everyone');
		insert into headway.prerequisite (task_id, requires_id) values (7, 5);
		insert into headway.assignment (task_id, user_id) values (6, 1), (6, 2), (6, 3);
		set session_replication_role = replica; -- thousands of people, of whom nothing but this is needed
		insert into headway.completion (task_id, user_id) select t, u from generate_series(1, 4) t, generate_series(4, 20000) u;
		set session_replication_role = origin;
		do $$ begin while headway.fold(100000) > 0 loop end loop; end $$;
		set plan_cache_mode = force_generic_plan`)
	pgtest.Execute(t, conn, "vacuum analyze")
	completions := value[float64](t, conn, "select pg_relation_size('headway.completion') / 8192")
	for _, query := range []string{
		"select headway.is_complete(5, true, 1)",
		"select * from headway.outstanding_task o where o.project_id = 2 and o.user_id = 1",
		"select * from headway.recount_shared(2)",
		"select * from headway.recount_person(2, 1)",
		"select * from headway.recount_project(2)",
		"select headway.complete_task(5, 1)",
		"select headway.fold()",
		"select headway.reopen_task(5, 1)",
		"update headway.task set weight = 2 where project_id = 2",
		"select headway.fold()",
	} {
		pgtest.Execute(t, conn, "begin; "+query+"; rollback") // so that everything is planned
		read := pages(t, conn, query)
		t.Logf("%s: %.0f pages, all completions have %.0f", query, read, completions)
		if read >= completions {
			t.Errorf("%s: %.0f pages, all completions have %.0f", query, read, completions)
		}
	}
}

// TestARecountOfWhoeverIsAssignedAsksForTheirOwnCompletions assigns a task to everybody in a project, beside one that comes
// to have many more completions.
func TestARecountOfWhoeverIsAssignedAsksForTheirOwnCompletions(t *testing.T) {
	t.Parallel()
	conn := unattended(t).Conn(t)
	pgtest.Execute(t, conn, `
		insert into headway.appuser (fullname) select 'Bob' from generate_series(1, 3000);
		insert into headway.project (name) values ('Website'), ('Shop');
		insert into headway.task (project_id, title, shared) select p, 'Task', false from generate_series(1, 2) p, generate_series(1, 4);
		insert into headway.task (project_id, title, shared, audience) values (1, 'Portrait', false, 'assigned')`)
	count := func(project, people int) float64 {
		pgtest.Execute(t, conn, fmt.Sprintf(`
			insert into headway.member (project_id, user_id, role)
			select %[1]d, id, 'customer' from headway.appuser where id <= %[2]d;
			insert into headway.completion (task_id, user_id)
			select t.id, m.user_id from headway.task t join headway.member m using (project_id) where project_id = %[1]d and audience = 'everyone';
			delete from headway.assignment;
			do $$ begin while headway.fold(100000) > 0 loop end loop; end $$;
			insert into headway.assignment (task_id, user_id) select 9, id from headway.appuser where id <= 100`, project, people))
		pgtest.Execute(t, conn, "analyze")
		return pages(t, conn, "select headway.recount_difference('{1}')")
	}
	few, many := count(1, 100), count(2, 3000)
	t.Logf("%.0f pages with 400 completions, %.0f with 12,400", few, many)
	if many > 4*few { // an index that is one level deeper, and more pages of it
		t.Errorf("%.0f pages with 400 completions, %.0f with 12,400", few, many)
	}
}

// TestAReopeningReadsItsCompletionAlone reopens a task for one person where few people have completed it, and then many.
func TestAReopeningReadsItsCompletionAlone(t *testing.T) {
	t.Parallel()
	conn := unattended(t).Conn(t)
	pgtest.Execute(t, conn, `
		insert into headway.appuser (fullname) select 'Bob' from generate_series(1, 5000);
		insert into headway.project (name) values ('Website');
		insert into headway.member (project_id, user_id, role) select 1, id, 'customer' from headway.appuser;
		insert into headway.task (project_id, title, shared) values (1, 'Task', false);
		set plan_cache_mode = force_generic_plan`)
	reopen := func(person int) float64 {
		pgtest.Execute(t, conn, "select headway.fold(100000); analyze")
		pgtest.Execute(t, conn, fmt.Sprintf("select headway.reopen_task(1, %d)", person)) // so that everything is planned
		return pages(t, conn, fmt.Sprintf("select headway.reopen_task(1, %d)", person+1))
	}
	pgtest.Execute(t, conn, "insert into headway.completion (task_id, user_id) select 1, id from headway.appuser where id <= 10")
	few := reopen(1)
	pgtest.Execute(t, conn, "insert into headway.completion (task_id, user_id) select 1, id from headway.appuser on conflict do nothing")
	many := reopen(4000)
	t.Logf("%.0f pages with 10 completions, %.0f with 5,000", few, many)
	if many > 1.5*few {
		t.Errorf("%.0f pages with 10 completions, %.0f with 5,000", few, many)
	}
}

// TestAReservationReadsEachSubscriptionByItself is for somebody with thousands of channels among people with a few, by whom
// the plan goes.
func TestAReservationReadsEachSubscriptionByItself(t *testing.T) {
	t.Parallel()
	conn := unattended(t).Conn(t)
	pgtest.Execute(t, conn, `
		insert into headway.appuser (fullname, email) select 'Bob', 'bob' || i || '@example.com' from generate_series(1, 4000) i;
		insert into headway.project (name) select 'Website' from generate_series(1, 400);
		insert into headway.member (project_id, user_id, role) select 1 + id / 10, id, 'customer' from headway.appuser where id between 2 and 3999;
		insert into headway.member (project_id, user_id, role) select id, 1, 'staff' from headway.project;
		insert into headway.channel (name, project_id) select 'room_' || i, 1 + i / 5 from generate_series(0, 1999) i;
		insert into headway.subscription (channel, user_id) select 'room_' || i, u from generate_series(0, 1999) i, unnest(array[1, 2]) u;
		insert into headway.message (sender, channel, content) select 2, 'room_' || i, 'Hello' from generate_series(0, 1999) i`)
	pgtest.Execute(t, conn, "vacuum analyze")
	pgtest.Execute(t, conn, "begin; select headway.reserve_digest(1)")
	if n := value[int](t, conn, "select idx_tup_fetch from pg_stat_xact_user_tables where relid = 'headway.subscription'::regclass"); n > 100_000 {
		t.Errorf("%d subscriptions were read for a digest of 2,000 channels", n)
	}
	pgtest.Execute(t, conn, "rollback")
}

// TestADigestReadsEachOfItsRangesOnce has few digests and few people, as in a small database, where it looks cheap to join
// the subscriptions last.
func TestADigestReadsEachOfItsRangesOnce(t *testing.T) {
	t.Parallel()
	conn := unattended(t).Conn(t)
	pgtest.Execute(t, conn, `
		insert into headway.appuser (fullname, email) values ('Abe', null), ('Bob', 'bob@example.com');
		insert into headway.project (name) select 'Project' from generate_series(1, 6);
		insert into headway.member (project_id, user_id, role) select p.id, u.id, 'customer' from headway.project p, headway.appuser u;
		insert into headway.message (sender, channel, content) select 1, 'project_' || p, 'Hello' from generate_series(1, 2) p, generate_series(1, 2000);
		select headway.reserve_digest(2)`)
	pgtest.Execute(t, conn, "vacuum analyze")
	plan := strings.Join(column(t, conn, "explain (analyze, timing off) select * from headway.digest_message m where m.digest_id = 1"), "\n")
	if scans := regexp.MustCompile(`on message .* loops=2\)`).FindAllString(plan, -1); len(scans) != 1 || strings.Contains(plan, "Join Filter: (i.channel = s.channel)") {
		t.Errorf("two ranges are read more than once, or may be:\n%s", plan)
	}
}

// TestADigestReadsNoChannelsButItsOwn has digests of many channels each, and not so many channels that the planner would
// see for itself that reading all of them takes longer than to look up these.
func TestADigestReadsNoChannelsButItsOwn(t *testing.T) {
	t.Parallel()
	conn := unattended(t).Conn(t)
	pgtest.Execute(t, conn, `
		insert into headway.appuser (fullname, email) select 'Bob', 'bob' || i || '@example.com' from generate_series(1, 500) i;
		insert into headway.project (name) select 'Project' from generate_series(1, 50);
		insert into headway.member (project_id, user_id, role) select p, u, 'customer' from generate_series(1, 50) p, generate_series(1, 10) u;
		insert into headway.message (sender, channel, content) select 1, 'project_' || p, 'Hello' from generate_series(1, 50) p;
		select headway.reserve(array(select i from generate_series(2, 10) i))`)
	pgtest.Execute(t, conn, "vacuum analyze")
	plan := strings.Join(column(t, conn, "explain select * from headway.digest_message m where m.digest_id = 1"), "\n")
	if !strings.Contains(plan, "Index Cond: (name = i.channel)") {
		t.Errorf("all channels are read for those of a digest:\n%s", plan)
	}
}

// TestADigestCountsTheBarsThatItShows is for somebody who looks after more projects than fit into a mail.
func TestADigestCountsTheBarsThatItShows(t *testing.T) {
	t.Parallel()
	conn := unattended(t).Conn(t)
	pgtest.Execute(t, conn, `
		insert into headway.appuser (fullname, email) values ('Abe', null), ('Bob', 'bob@example.com');
		insert into headway.project (name) select 'Project' from generate_series(1, 20);
		insert into headway.member (project_id, user_id, role) select p.id, u.id, 'staff' from headway.project p, headway.appuser u;
		insert into headway.message (sender, channel, content) select 1, 'project_' || p, 'Hello' from generate_series(1, 20) p;
		select headway.set_setting('digest_max_items', '5'), headway.reserve_digest(2)`)
	pgtest.Execute(t, conn, "set track_functions = pl; begin; select headway.digest_content(1)")
	if n := value[int](t, conn, "select calls from pg_stat_xact_user_functions where funcname = 'bar_since'"); n != 5 {
		t.Errorf("the progress of %d projects was counted, for the 5 that are shown", n)
	}
	pgtest.Execute(t, conn, "commit")
}

// TestADigestForStaffAsksForFewMembers has a project in which a thousand customers completed everything long ago, and one of
// them something today; beside a project by which every task seems to have been completed by few.
func TestADigestForStaffAsksForFewMembers(t *testing.T) {
	t.Parallel()
	conn := unattended(t).Conn(t)
	pgtest.Execute(t, conn, `
		insert into headway.appuser (fullname) select 'Bob' from generate_series(1, 1001);
		insert into headway.project (name) values ('Website');
		insert into headway.member (project_id, user_id, role) select 1, id, case id when 1001 then 'staff' else 'customer' end from headway.appuser;
		insert into headway.task (project_id, title, shared) select 1, 'Task', false from generate_series(1, 20);
		insert into headway.completion (task_id, user_id, completed_at)
		select t, u, now() - case when (t, u) = (1, 1) then interval '1 hour' else '1 year' end
		from generate_series(1, 20) t, generate_series(1, 1000) u;
		insert into headway.project (name) values ('Shop');
		insert into headway.member (project_id, user_id, role) values (2, 1, 'customer');
		insert into headway.task (project_id, title, shared) select 2, 'Task', false from generate_series(1, 5000);
		insert into headway.completion (task_id, user_id, completed_at)
		select id, 1, now() - interval '1 year' from headway.task where project_id = 2;
		select headway.fold(1000000)`)
	pgtest.Execute(t, conn, "vacuum analyze")
	const bar = "select * from headway.bar_since(1, 1001, 'staff', now() - interval '1 day')"
	pgtest.Execute(t, conn, bar) // so that everything is planned
	if n := pages(t, conn, bar); n > 10_000 {
		t.Errorf("%.0f pages for a digest of 20,000 completions", n)
	}
}

// TestTheNewestUnreadMessagesAreFoundInTheirChannels asks for those of somebody who has read everything, where much is said to
// everybody: by the statistics, each has much unread.
func TestTheNewestUnreadMessagesAreFoundInTheirChannels(t *testing.T) {
	t.Parallel()
	conn := unattended(t).Conn(t)
	pgtest.Execute(t, conn, `
		insert into headway.appuser (fullname) select 'Bob' from generate_series(1, 200);
		insert into headway.project (name) select 'Project' from generate_series(1, 100);
		insert into headway.member (project_id, user_id, role) select 1 + id / 2, id, 'customer' from headway.appuser where id < 200;
		insert into headway.message (sender, channel, content)
		select 1, 'broadcast', 'Hello' from generate_series(1, 10000)
		union all
		select 2 * p - 1, 'project_' || p, 'Hello' from generate_series(1, 100) p, generate_series(1, 100);
		select headway.mark_read(2, 'broadcast'), headway.mark_read(2, 'project_2')`)
	pgtest.Execute(t, conn, "vacuum analyze")
	messages := value[float64](t, conn, "select pg_relation_size('headway.message') / 8192")
	const newest = "select * from headway.unread_message u where u.user_id = 2 order by u.id desc limit 50"
	if read := pages(t, conn, newest); read > messages/4 {
		t.Errorf("%.0f pages for nothing, all messages have %.0f:\n%s", read, messages, strings.Join(column(t, conn, "explain "+newest), "\n"))
	}
}

// TestMessagesAreReadOnceForAllWhoAreDeleted: at commit, while no fold can begin.
func TestMessagesAreReadOnceForAllWhoAreDeleted(t *testing.T) {
	t.Parallel()
	conn := unattended(t).Conn(t)
	pgtest.Execute(t, conn, `
		insert into headway.appuser (id, fullname) select i, 'Bob' from generate_series(1, 100) i;
		insert into headway.message (sender, channel, content) values (1, 'broadcast', 'Hello')`)
	read := func() int {
		return value[int](t, conn, "select seq_scan from pg_stat_xact_user_tables where relid = 'headway.message'::regclass")
	}
	pgtest.Execute(t, conn, "begin; delete from headway.appuser where id between 2 and 50; delete from headway.appuser where id > 50")
	before := read()
	pgtest.Execute(t, conn, "set constraints all immediate")
	if n := read() - before; n != 1 {
		t.Errorf("read %d times", n)
	}
	pgtest.Execute(t, conn, "commit")
}

// TestTheItemsOfADigestAreFoundByIt asks as an end user who has one among thousands.
func TestTheItemsOfADigestAreFoundByIt(t *testing.T) {
	t.Parallel()
	conn := unattended(t).Conn(t)
	pgtest.Execute(t, conn, `
		insert into headway.appuser (id, fullname) select i, 'Bob' from generate_series(1, 5000) i;
		insert into headway.digest (id, user_id, state) select i, i, 'cancelled' from generate_series(1, 5000) i;
		insert into headway.digest_item (digest_id, channel, from_seq, through_seq) select i, 'broadcast', 1, 1 from generate_series(1, 5000) i`)
	pgtest.Execute(t, conn, "vacuum analyze")
	pgtest.Execute(t, conn, "set role headway_user; set headway.user_id = 2")
	const items = "select * from headway.digest_item"
	if n := value[int](t, conn, "select count(*) from headway.digest_item"); n != 1 {
		t.Errorf("%d items", n)
	}
	if n := pages(t, conn, items); n > 10 {
		t.Errorf("%.0f pages for one item:\n%s", n, strings.Join(column(t, conn, "explain "+items), "\n"))
	}
}

// TestAClaimReadsLittleOfWhatWasSent has a transaction open, as a backup does, that is old enough to see what was sent since
// as it was, so that it stays in the index.
func TestAClaimReadsLittleOfWhatWasSent(t *testing.T) {
	t.Parallel()
	db := unattended(t)
	conn := db.Conn(t)
	pgtest.Execute(t, conn, `
		insert into headway.appuser (fullname, email) select 'Bob', 'bob' || i || '@example.com' from generate_series(1, 1001) i;
		insert into headway.message (sender, channel, content) values (1, 'broadcast', 'Hello');
		select headway.reserve(array(select id from headway.appuser))`)
	backup := begin(t, db.Conn(t), pgx.RepeatableRead)
	if _, err := backup.Exec(t.Context(), "select from headway.digest"); err != nil {
		t.Fatal(err)
	}
	const claim = "select headway.claim_digest('6ba7b810-9dad-11d1-80b4-00c04fd430c8') ->> 'digest_id'"
	const giveBack = "select headway.release_digest(%s, '6ba7b810-9dad-11d1-80b4-00c04fd430c8')"
	send := func(digests int) {
		for range digests {
			id := value[string](t, conn, claim)
			pgtest.Execute(t, conn, fmt.Sprintf(`
				select headway.freeze_digest(%s, '6ba7b810-9dad-11d1-80b4-00c04fd430c8', u.email, 'Hello')
				from headway.digest d join headway.appuser u on u.id = d.user_id where d.id = %[1]s;
				select headway.digest_sent(%[1]s)`, id))
		}
	}
	first := value[string](t, conn, claim)
	send(10)
	few := pages(t, conn, claim)
	send(500)
	many := pages(t, conn, claim)
	t.Logf("%.0f pages after 10 digests, %.0f after 510", few, many)
	if many > 2*few {
		t.Errorf("%.0f pages after 10 digests, %.0f after 510", few, many)
	}
	pgtest.Execute(t, conn, fmt.Sprintf(giveBack, first))
	send(487)
	if last := value[string](t, conn, claim); last != first {
		t.Errorf("digest %s was given back, %q is claimed when nothing else is left", first, last)
	}
	finish(t, backup, false)
}

// unattended makes a database whose tables autovacuum leaves alone: by what it learns of a table that is small as yet, plans
// are made anew, and to make them reads more of the catalog.
func unattended(t *testing.T) *pgtest.DB {
	t.Helper()
	db := pgtest.New(t)
	pgtest.Execute(t, db.Conn(t), `
		do $$
		declare
		  v_table regclass;
		begin
		  for v_table in select c.oid from pg_class c where c.relnamespace = 'headway'::regnamespace and c.relkind = 'r' loop
		    execute format('alter table %s set (autovacuum_enabled = off)', v_table);
		  end loop;
		end
		$$`)
	return db
}

// pages runs a statement and returns how many pages it read.
func pages(t *testing.T, conn *pgx.Conn, statement string) float64 {
	t.Helper()
	var text []byte
	if err := conn.QueryRow(t.Context(), "explain (analyze, buffers, format json) "+statement).Scan(&text); err != nil {
		t.Fatal(err)
	}
	var explained []struct {
		Plan struct {
			Hit  float64 `json:"Shared Hit Blocks"`
			Read float64 `json:"Shared Read Blocks"`
		}
	}
	if err := json.Unmarshal(text, &explained); err != nil {
		t.Fatal(err)
	}
	return explained[0].Plan.Hit + explained[0].Plan.Read
}
