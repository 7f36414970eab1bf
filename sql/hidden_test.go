package sql_test

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"headway/internal/pgtest"
)

// names are the things that a statement is about: {task}, {person}, {project}, {channel}, {message} and {digest}.
type names map[string]string

// pairs are things that are hidden from those who look, beside things that are not there at all.
var pairs = []struct {
	what           string
	hidden, absent names
	lookers        []string // ids; null: nobody
}{
	{
		what: "another project and its people",
		hidden: names{
			"task": "7700000001", "person": "7700000001", "project": "7700000001", "channel": "project_7700000001", "message": "7700001001",
			"digest": "7700001001",
		},
		absent: names{
			"task": "8800000001", "person": "8800000001", "project": "8800000001", "channel": "project_8800000001", "message": "8800001001",
			"digest": "8800001001",
		},
		lookers: []string{"1", "3", "4", "5", "99", "null"},
	}, {
		what: "another project's open task and open channel",
		hidden: names{
			"task": "7700000006", "person": "7700000004", "project": "7700000001", "channel": "hidden_review", "message": "7700001006",
			"digest": "7700001002",
		},
		absent: names{
			"task": "8800000006", "person": "8800000004", "project": "8800000001", "channel": "absent_review", "message": "8800001006",
			"digest": "8800001002",
		},
		lookers: []string{"1", "3", "4", "5", "99", "null"},
	}, {
		what:    "a person of another project, in one's own",
		hidden:  names{"task": "6", "person": "7700000001", "project": "1", "channel": "nowhere", "message": "1999", "digest": "1999"},
		absent:  names{"task": "6", "person": "8800000001", "project": "1", "channel": "nowhere", "message": "1999", "digest": "1999"},
		lookers: []string{"1", "3", "4", "5", "null"},
	}, {
		what:    "what a colleague has completed, and has of their own",
		hidden:  names{"task": "4", "person": "2", "project": "1", "channel": "user_2", "message": "1005", "digest": "1002"},
		absent:  names{"task": "8", "person": "2", "project": "1", "channel": "user_99", "message": "1999", "digest": "1999"},
		lookers: []string{"1"},
	}, {
		what:    "what the staff say",
		hidden:  names{"task": "4", "person": "4", "project": "1", "channel": "project_1_staff", "message": "1004", "digest": "1999"},
		absent:  names{"task": "4", "person": "4", "project": "1", "channel": "project_1_stuff", "message": "1999", "digest": "1999"},
		lookers: []string{"1", "2", "5", "null"},
	}, {
		what:    "what there was when one was a member",
		hidden:  names{"task": "4", "person": "2", "project": "1", "channel": "project_1", "message": "1001", "digest": "1002"},
		absent:  names{"task": "99", "person": "99", "project": "99", "channel": "project_99", "message": "1999", "digest": "1999"},
		lookers: []string{"3", "5"},
	},
}

// probes are statements that might tell what is hidden from what is not there. {me} is who looks.
var probes = []string{
	"select headway.advance_cursor({me}, {channel}, 1)",
	"select headway.advance_cursor({person}, {channel}, 1)",
	"select headway.check_identity()",
	"select headway.check_people(array[{me}, {person}])",
	"select headway.complete_task({task}, {me})",
	"select headway.complete_task({task}, {person})",
	"select headway.complete_task({task}, {person}, {person})",
	"select headway.complete_task({task}, {person}, {me})",
	"select headway.current_bar({project}, {person})",
	"select headway.identity()",
	"select headway.is_blocked_by({task}, true, 'everyone', {me})",
	"select headway.is_blocked_by({task}, false, 'assigned', {person})",
	"select headway.is_complete({task}, true, {me})",
	"select headway.is_complete({task}, false, {person})",
	"select headway.is_for({task}, 'assigned', {person})",
	"select headway.mark_read({me}, {channel})",
	"select headway.mark_read({person}, {channel})",
	"select headway.mark_seen({me}, array[{message}])",
	"select headway.mark_seen({person}, array[{message}])",
	"select * from headway.messages_since({channel})",
	"select headway.mute({me}, {channel})",
	"select headway.mute({person}, {channel}, false)",
	"select * from headway.my_account() a where a.id = {person}",
	"select headway.my_snapshot() -> 'channels'",
	"select headway.my_people()",
	"select * from headway.my_progress({project})",
	"select headway.my_projects()",
	"select headway.my_staffed_projects()",
	"select headway.percent({message}, {message})",
	"select headway.notify_mode()",
	"select headway.post({me}, {channel}, 'Hello')",
	"select headway.post({person}, {channel}, 'Hello')",
	"select headway.post({person}, 'broadcast', 'Hello')",
	"select * from headway.recount r where r.project_id = {project} and r.user_id = {person}",
	"select headway.recount_person({project}, {person})",
	"select headway.recount_shared({project})",
	"select headway.refuse_stranger({person}, {channel})",
	"select headway.reopen_task({task}, {person}, {person}, 'why')",
	"select headway.sender_name({message})",
	"select headway.setting({channel})",
	"select headway.uid()",

	"insert into headway.completion (task_id, user_id) values ({task}, {me})",
	"insert into headway.completion (task_id, user_id) values ({task}, {person})",
	"insert into headway.completion (task_id, user_id, completed_by) values ({task}, {person}, {me})",
	"insert into headway.completion (task_id, user_id, completed_by) values ({task}, {person}, {person})",
	"insert into headway.completion (task_id, user_id, completed_by) values ({task}, {person}, {me}) on conflict do nothing",
	"insert into headway.completion (task_id, user_id, completed_by) values ({task}, {person}, {me}) on conflict (task_id, user_id) do nothing",
	"insert into headway.completion (task_id, user_id, completed_by) values ({task}, {person}, {me}) on conflict (task_id, user_id) do update set completed_by = excluded.completed_by",
	"insert into headway.completion (task_id, user_id, completed_by) values ({task}, {person}, {me}) on conflict do nothing returning *",
	"insert into headway.completion (task_id, user_id, completed_by) select {task}, {person}, {me} on conflict do nothing returning *",
	"merge into headway.completion c using (values ({task}::bigint, {person}::bigint)) v (t, u) on c.task_id = v.t and c.user_id = v.u when matched then delete",
	"delete from headway.completion where task_id = {task} and user_id = {person}",
	"delete from headway.completion where task_id = {task} returning *",
	"update headway.completion set completed_by = {me} where task_id = {task}",
	"insert into headway.message (sender, channel, content) values ({me}, {channel}, 'Hello') returning id, seq",
	"insert into headway.message (sender, channel, content) values ({me}, {channel}, null)",
	"insert into headway.message (sender, channel, content) values ({me}, {channel}, 'Hello') on conflict do nothing",
	"insert into headway.message (sender, channel, content, seq) values ({me}, {channel}, 'Hello', 1)",
	"insert into headway.message (id, sender, channel, content) values ({message}, {me}, {channel}, 'Hello')",
	"insert into headway.message (sender, channel, content) values ({person}, {channel}, 'Hello')",
	"update headway.message set content = '' where id = {message}",
	"delete from headway.message where id = {message}",
	"insert into headway.seen (channel, user_id, seq) values ({channel}, {me}, 1)",
	"insert into headway.seen (channel, user_id, seq) values ({channel}, {person}, 3)",
	"insert into headway.seen (channel, user_id, seq) values ({channel}, {person}, 3) on conflict do nothing",
	"delete from headway.seen where channel = {channel} and user_id = {person} returning *",
	"update headway.subscription set muted = true where channel = {channel} and user_id = {person} returning *",
	"update headway.subscription set read_seq = 0 where channel = {channel}",
	"insert into headway.subscription (channel, user_id) values ({channel}, {me})",
	"update headway.appuser set digest_after = '0' where id = {person}",
	"update headway.appuser set fullname = '' where id = {person}",
	"insert into headway.appuser (id, fullname) values ({person}, 'Me')",
	"insert into headway.member (project_id, user_id, role) values ({project}, {me}, 'staff')",
	"insert into headway.assignment (task_id, user_id) values ({task}, {me})",
	"delete from headway.project where id = {project}",
	"select 1 / (select count(*) from headway.task t where t.id = {task} and t.title ~ 'e' and t.project_id <> 1)",
	"select t.title::integer from headway.task t where t.id = {task} and t.project_id <> 1",
	"select d.state, d.sent_at is null from headway.digest d where d.id = {digest}",
	"select i.* from headway.digest_item i where i.digest_id = {digest}",
	"select d.token from headway.digest d where d.id = {digest}",
	"select currval('headway.task_id_seq')",
	"select last_value from headway.digest_id_seq",
}

// probesOfStrangers might tell a stranger's things from nothing; of people one works with, something is known.
var probesOfStrangers = []string{
	"select headway.is_shared({task})",
	"select headway.reopen_task({task}, {me})",
	"select headway.recount_project({project})",
	"select headway.snapshot({person})",
}

// in returns a statement about these things.
func (n names) in(statement, looker string) string {
	replacements := []string{"{me}", looker}
	for name, value := range n {
		if name == "channel" {
			value = "'" + value + "'"
		}
		replacements = append(replacements, "{"+name+"}", value)
	}
	return strings.NewReplacer(replacements...).Replace(statement)
}

var whereabouts = regexp.MustCompile(`(?s); in .*`)

// blur takes out of the answer to a statement where in the code it comes from, and the names that were put in.
func (n names) blur(answer, statement string) string {
	answer = whereabouts.ReplaceAllString(answer, "")
	for name, value := range n {
		if strings.Contains(statement, "{"+name+"}") {
			answer = regexp.MustCompile(`\b`+value+`\b`).ReplaceAllString(answer, "(name)")
		}
	}
	return answer
}

// TestWhatIsHiddenLooksAsIfItWereNotThere has end users ask for what is not theirs and for what does not exist, in
// every way there is, and compares the answers: rows, or errors with code, message, hint and all.
func TestWhatIsHiddenLooksAsIfItWereNotThere(t *testing.T) {
	t.Parallel()
	conn := neighbours(t).Conn(t)
	pgtest.Execute(t, conn, attempt)
	all := slices.Concat(probes, probesOfStrangers)
	for _, function := range column(t, conn, `
		select p.proname::text from pg_proc p
		where p.pronamespace = 'headway'::regnamespace and p.prorettype <> 'trigger'::regtype and has_function_privilege('headway_user', p.oid, 'execute')`) {
		if !slices.ContainsFunc(all, func(probe string) bool { return strings.Contains(probe, "headway."+function+"(") }) {
			t.Errorf("what %s tells is not tried", function)
		}
	}
	details := regexp.MustCompile(`; detail [^;]*\(`) // the values of a row
	words := regexp.MustCompile(`(?i)hidden|domain|profile|contract|introduction|relaunch|logo|slow|to self`)

	err := pgx.BeginFunc(t.Context(), conn, func(tx pgx.Tx) error {
		for _, pair := range pairs {
			statements := probes
			if pair.hidden["project"] != "1" {
				statements = all
			}
			for _, looker := range pair.lookers {
				var id *int64
				if n, err := strconv.ParseInt(looker, 10, 64); err == nil {
					id = &n
				}
				var hidden, absent []string
				for _, statement := range statements {
					hidden = append(hidden, pair.hidden.in(statement, looker))
					absent = append(absent, pair.absent.in(statement, looker))
				}
				ofHidden, err := attempts(t.Context(), tx, id, hidden)
				if err != nil {
					return err
				}
				ofAbsent, err := attempts(t.Context(), tx, id, absent)
				if err != nil {
					return err
				}
				for i := range statements {
					got, want := pair.hidden.blur(ofHidden[i], statements[i]), pair.absent.blur(ofAbsent[i], statements[i])
					if got != want {
						t.Errorf("%s, as %s: %s\n%s\nbut were it not there\n%s", pair.what, looker, hidden[i], got, want)
					}
					if words.MatchString(strings.ReplaceAll(ofHidden[i], "hidden_review", "")) {
						t.Errorf("%s, as %s: %s\n%s", pair.what, looker, hidden[i], got)
					}
					if details.MatchString(got) {
						t.Errorf("%s, as %s: %s\nhas details: %s", pair.what, looker, hidden[i], got)
					}
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
