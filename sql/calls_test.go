package sql_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"headway/internal/pgtest"
)

// calls has a call of every function that a role may call, with something in testdata/neighbours.sql that it can do. They
// use no operator and no name without its schema, so that they mean the same with any search_path.
var calls = map[string]string{
	"advance_cursor":      "headway.advance_cursor(1, 'project_1', 1)",
	"bar_since":           "headway.bar_since(1, 2, 'customer', '2026-01-01')",
	"check_identity":      "headway.check_identity()",
	"claim_digest":        "headway.claim_digest('22222222-2222-2222-2222-222222222222', '1 hour')",
	"check_people":        "headway.check_people(array[1])",
	"complete_task":       "headway.complete_task(2, 1)",
	"current_bar":         "headway.current_bar(1, 1)",
	"describe_digest":     "headway.describe_digest(d, u) from headway.digest d join headway.appuser u on u.id = d.user_id",
	"digest_content":      "headway.digest_content(1002)",
	"digest_failed":       "headway.digest_failed(1002, '22222222-2222-2222-2222-222222222222', 'retry', 'later')",
	"digest_run_finished": "headway.digest_run_finished('2026-01-02')",
	"digest_sent":         "headway.digest_sent(1001)",
	"digests_to_send":     "headway.digests_to_send()",
	"due_digests":         "headway.due_digests('2100-01-01')",
	"explain_digest":      "headway.explain_digest(2)",
	"fold":                "headway.fold()",
	"forget_user":         "headway.forget_user(2)",
	"freeze_digest":       "headway.freeze_digest(1002, '22222222-2222-2222-2222-222222222222', 'bob@example.com', 'mail')",
	"issue_ticket":        "headway.issue_ticket(1, '2100-01-01')",
	"redeem_ticket":       "headway.redeem_ticket('22222222-2222-2222-2222-222222222222')",
	"release_digest":      "headway.release_digest(1002, '22222222-2222-2222-2222-222222222222')",
	"heartbeat":           "headway.heartbeat('22222222-2222-2222-2222-222222222222', 'here', 2, 'test', false)",
	"id_in":               `headway.id_in('{"project_id": 1}', 'project_id')`,
	"identity":            "headway.identity()",
	"is_blocked_by":       "headway.is_blocked_by(1, true, 'everyone', 1)",
	"is_complete":         "headway.is_complete(1, true, 1)",
	"is_for":              "headway.is_for(3, 'assigned', 1)",
	"is_between":          "headway.is_between('23:00', '22:00', '07:00')",
	"is_posted":           "headway.is_posted(1, 'chat')",
	"is_quiet":            "headway.is_quiet('22:00', '07:00', 'UTC', '2026-01-02 23:00')",
	"is_shared":           "headway.is_shared(1)",
	"known_time_zone":     "headway.known_time_zone('Europe/Lisbon')",
	"lock_key":            "headway.lock_key('fold')",
	"mark_read":           "headway.mark_read(1, 'project_1')",
	"mark_seen":           "headway.mark_seen(1, '{1001, 1003}')",
	"messages_since":      "headway.messages_since('project_1', 1)",
	"mute":                "headway.mute(1, 'project_1')",
	"my_account":          "headway.my_account()",
	"my_snapshot":         "headway.my_snapshot()",
	"my_people":           "headway.my_people()",
	"my_progress":         "headway.my_progress(1)",
	"my_projects":         "headway.my_projects()",
	"my_staffed_projects": "headway.my_staffed_projects()",
	"notify_mode":         "headway.notify_mode()",
	"open_channel":        "headway.open_channel('another', 1, '{1, 2}')",
	"percent":             "headway.percent(1, 3)",
	"post":                "headway.post(1, 'project_1', 'Hello')",
	"prune_digests":       "headway.prune_digests()",
	"quiet_end":           "headway.quiet_end('22:00', '07:00', 'UTC', '2026-01-02 23:00')",
	"recount_person":      "headway.recount_person(1, 1)",
	"recount_project":     "headway.recount_project(1)",
	"recount_shared":      "headway.recount_shared(1)",
	"refuse_stranger":     "headway.refuse_stranger(5, 'project_1')",
	"reopen_task":         "headway.reopen_task(6, 1)",
	"repair":              "headway.repair()",
	"reserve_digest":      "headway.reserve_digest(4)",
	"reserve_digests":     "headway.reserve_digests()",
	"resume_mail":         "headway.resume_mail(2)",
	"retire":              "headway.retire('11111111-1111-1111-1111-111111111111')",
	"retry_digest":        "headway.retry_digest(1001)",
	"sender_name":         "headway.sender_name(1001)",
	"set_setting":         "headway.set_setting('digest_after', '2 hours')",
	"setting":             "headway.setting('digest_after')",
	"snapshot":            "headway.snapshot(1)",
	"uid":                 "headway.uid()",
	"next_run":            "headway.next_run(now(), 'UTC')",
	"why_no_mail":         "headway.why_no_mail((select u from headway.appuser u where u.id = 2))",
	"unsubscribe":         "headway.unsubscribe('33333333-3333-3333-3333-333333333333')",
	"verify":              "headway.verify()",
}

// callable is a function that a role may call.
type callable struct{ Role, Function string }

// TestWhatMayBeCalledCanBeUsed has every role call what it may. A function without security definer uses what it uses
// with the rights of its caller, who has to have them.
func TestWhatMayBeCalledCanBeUsed(t *testing.T) {
	t.Parallel()
	conn := neighbours(t).Conn(t)
	pgtest.Execute(t, conn, attempt)
	rows, err := conn.Query(t.Context(), `
		select r.name, p.proname::text
		from unnest($1::text[]) r (name)
		join pg_proc p on p.pronamespace = 'headway'::regnamespace and p.prorettype <> 'trigger'::regtype
		where has_function_privilege(r.name, p.oid, 'execute')
		order by r.name, p.proname`, roles)
	if err != nil {
		t.Fatal(err)
	}
	may, err := pgx.CollectRows(rows, pgx.RowToStructByPos[callable])
	if err != nil {
		t.Fatal(err)
	}
	unused := maps.Clone(calls)
	for _, c := range may {
		call, known := calls[c.Function]
		if !known {
			t.Errorf("%s may call %s: write down a call", c.Role, c.Function)
			continue
		}
		delete(unused, c.Function)
		pgtest.Execute(t, conn, fmt.Sprintf("begin; select set_config('headway.user_id', %s, true); set local role %s",
			map[bool]string{true: "'1'", false: "''"}[c.Role == "headway_user"], c.Role))
		outcome := value[string](t, conn, "select public.attempt($1)", "select "+call)
		pgtest.Execute(t, conn, "rollback")
		if strings.HasPrefix(outcome, "42501") {
			t.Errorf("%s may call %s, and cannot: %s", c.Role, c.Function, outcome)
		}
	}
	if len(unused) > 0 {
		t.Errorf("nobody may call %q", slices.Sorted(maps.Keys(unused)))
	}
}
