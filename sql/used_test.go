package sql_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"headway/internal/pgtest"
)

// use does a little of everything, in a project of its own, :n.
const use = `
insert into headway.appuser (id, fullname, email, digest_after) select :n + i, 'Person', 'p@example.com', '1 microsecond' from generate_series(0, 2) i;
insert into headway.project (id, name) values (:n, 'Project');
insert into headway.member (project_id, user_id, role) select :n, :n + i, case i when 0 then 'staff' else 'customer' end from generate_series(0, 2) i;
update headway.member set role = 'staff' where project_id = :n and user_id = :n + 1;
update headway.member set role = 'customer' where project_id = :n and user_id = :n + 1;
insert into headway.task (id, project_id, title, shared, audience) values
	(:n, :n, 'Task', true, 'everyone'), (:n + 1, :n, 'Task', false, 'everyone'), (:n + 2, :n, 'Task', false, 'assigned');
insert into headway.assignment (task_id, user_id) values (:n + 2, :n + 1);
insert into headway.prerequisite (task_id, requires_id) values (:n + 1, :n);
select headway.fold();
select headway.complete_task(:n, :n + 1), headway.complete_task(:n + 1, :n + 1);
select headway.snapshot(:n + 1);
select headway.fold();
select headway.reopen_task(:n + 1, :n + 1, :n);
select headway.fold();
select headway.open_channel('room:n', :n, array[:n, :n + 1]);
insert into headway.message (sender, channel, content) select :n, 'room:n', 'Hello' from generate_series(1, 5);
select headway.mark_seen(:n + 1, array(select id from headway.message where channel = 'room:n' and seq in (2, 4)));
select headway.mark_read(:n + 1, 'room:n');
select headway.reserve_digests();
select headway.claim_digest(gen_random_uuid());
select count(*) from headway.explain_digest(:n + 1);
insert into headway.subscription (channel, user_id) values ('project_:n', 1);
delete from headway.subscription where channel = 'project_:n' and user_id = 1;
delete from headway.member where project_id = :n and user_id = :n + 2;
delete from headway.appuser where id = :n + 2;
delete from headway.task where id = :n + 1;
select headway.fold();
delete from headway.project where id = :n;
select count(*) from headway.verify()`

// TestASessionThatHasSeenLittleManagesMuch has one session do a little of everything until it keeps its plans, and then much
// in one statement, before any table was analyzed: by plans for few rows, each row would be compared with every other, which
// takes dozens of times as long.
func TestASessionThatHasSeenLittleManagesMuch(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ before, does string }{
		"members leave": {`
insert into headway.appuser (id, fullname) select i, 'Person' from generate_series(4001, 10000) i;
insert into headway.member (project_id, user_id, role) select 1, i, 'customer' from generate_series(1, 10000) i;
select headway.fold(1000000)`, "delete from headway.member where project_id = 1; select headway.fold(1000000)"},
		"a channel is read, every other message": {`
insert into headway.member (project_id, user_id, role) select 1, i, 'customer' from generate_series(1, 2) i;
insert into headway.message (sender, channel, content) select 1, 'project_1', 'Hello' from generate_series(1, 40000)`,
			"select headway.mark_seen(2, array(select id from headway.message where channel = 'project_1' and seq % 2 = 0))"},
		"somebody is in many channels": {`
insert into headway.channel (name) select 'room' || i from generate_series(1, 12000) i;
insert into headway.subscription (channel, user_id) select 'room' || i, u from generate_series(1, 12000) i, generate_series(1, 2) u;
insert into headway.message (sender, channel, content) select 1, 'room' || i, 'Hello' from generate_series(1, 12000) i`,
			"select headway.snapshot(2)"},
		"all digests are due, and nobody has an address any more": {`
insert into headway.member (project_id, user_id, role) select 1, i, 'customer' from generate_series(1, 4000) i;
insert into headway.message (sender, channel, content) select 1, 'project_1', 'Hello' from generate_series(1, 3);
update headway.appuser set email = 'p@example.com', digest_after = '1 microsecond'`,
			"select headway.reserve_digests(1000000); update headway.appuser set email = null; select headway.claim_digest(gen_random_uuid())"},
		// What is known of assignments is that all are of one task; of the queue, that it is empty.
		"tasks become assigned, and one was to all": {`
insert into headway.member (project_id, user_id, role) select 1, i, 'customer' from generate_series(1, 4000) i;
insert into headway.task (id, project_id, title, shared) select i, 1, 'Task', false from generate_series(1, 10000) i;
insert into headway.assignment (task_id, user_id) select 1, i from generate_series(1, 4000) i;
select headway.fold(1000000);
analyze headway.pending_fact, headway.assignment`,
			"update headway.task set audience = 'assigned' where project_id = 1; select headway.fold(1000000)"},
		"a project of assigned tasks is new": {`
insert into headway.member (project_id, user_id, role) select 1, i, 'customer' from generate_series(1, 4000) i;
insert into headway.task (id, project_id, title, audience, shared) select i, 1, 'Task', 'assigned', false from generate_series(1, 4000) i;
insert into headway.assignment (task_id, user_id) select i, i from generate_series(1, 4000) i;
analyze headway.assignment`,
			"select * from headway.verify(); select headway.fold(1000000); select * from headway.verify()"},
		"shared tasks of one person each are completed, and one was assigned to all": {`
insert into headway.member (project_id, user_id, role) select 1, i, 'customer' from generate_series(1, 4000) i;
insert into headway.task (id, project_id, title, audience, shared) select i, 1, 'Task', 'assigned', true from generate_series(1, 4000) i;
insert into headway.assignment (task_id, user_id) select 1, i from generate_series(1, 4000) i;
select headway.fold(1000000);
analyze;
insert into headway.assignment (task_id, user_id) select i, i from generate_series(2, 4000) i;
select headway.fold(1000000);
insert into headway.completion (task_id, user_id) select i, i from generate_series(1, 4000) i`,
			"select count(*) from headway.progress; select headway.fold(1000000)"},
		// What is known of tasks is that a project has ten; of the queue, nothing.
		"a bar is read, and the queue is long": {`
insert into headway.project (id, name) select i, 'Project' from generate_series(2, 2000) i;
insert into headway.task (id, project_id, title) select 100000 + i, 2 + i % 1999, 'Task' from generate_series(1, 20000) i;
insert into headway.member (project_id, user_id, role) select 1, i, 'customer' from generate_series(1, 10) i;
insert into headway.task (id, project_id, title, shared) select i, 1, 'Task', false from generate_series(1, 6000) i;
select headway.fold(1000000);
analyze headway.task, headway.project, headway.member;
insert into headway.completion (task_id, user_id) select i, u from generate_series(1, 6000) i, generate_series(1, 8) u`,
			"select headway.snapshot(1)"},
		"an end user in a project of many completes one task after another": {`
insert into headway.member (project_id, user_id, role) select 1, i, 'customer' from generate_series(1, 4000) i;
insert into headway.task (id, project_id, title, shared) select i, 1, 'Task', false from generate_series(1, 1000) i;
select headway.fold(1000000);
analyze`,
			"begin; set local role headway_user; select set_config('headway.user_id', '2', true); select count(headway.complete_task(i, 2)) from generate_series(1, 1000) i; select count(headway.reopen_task(i, 2)) from generate_series(1, 1000) i; commit"},
		"projects are deleted": {`
insert into headway.project (id, name) select i, 'Project' from generate_series(2, 4000) i;
insert into headway.member (project_id, user_id, role) select i, i, 'customer' from generate_series(2, 4000) i;
select headway.fold(1000000)`, "delete from headway.project"},
		"everybody's bar is read, and something waits in each project": {`
insert into headway.project (id, name) select i, 'Project' from generate_series(2, 4000) i;
insert into headway.member (project_id, user_id, role) select i, u, 'customer' from generate_series(2, 4000) i, generate_series(1, 10) u;
insert into headway.task (id, project_id, title) select i, i, 'Task' from generate_series(2, 4000) i;
select headway.fold(1000000);
insert into headway.completion (task_id, user_id) select i, 1 from generate_series(2, 4000) i`,
			"select sum(p.done), sum(p.version) from headway.progress p"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn := unattended(t).Conn(t)
			took := func(statements string) time.Duration {
				began := time.Now()
				pgtest.Execute(t, conn, statements)
				return time.Since(began)
			}
			pgtest.Execute(t, conn, "insert into headway.project (id, name) values (1, 'Project'); insert into headway.appuser (id, fullname) values (1, 'Person')")
			for i := range 8 {
				pgtest.Execute(t, conn, strings.ReplaceAll(use, ":n", fmt.Sprint(100_000+10*i)))
			}
			const join = "insert into headway.appuser (id, fullname) select i, 'Person' from generate_series(%d, %d) i"
			joined := took(fmt.Sprintf(join, 2, 4000))
			pgtest.Execute(t, conn, test.before)
			does := took(test.does)
			if does > 12*joined { // the machine may have got busier since
				joined = max(joined, took(fmt.Sprintf(join, 20_001, 24_000)))
			}
			if does > 12*joined {
				t.Errorf("it takes %v; that four thousand people join, %v", does, joined)
			}
		})
	}
}
