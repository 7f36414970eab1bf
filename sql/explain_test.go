package sql_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"pgregory.net/rapid"

	"headway/internal/pgtest"
)

// TestExplainAgreesWithWhoIsDue draws random people with random settings, channels and digests and compares what
// headway.explain_digest() says of them with what headway.due_digests() finds, now and at the moments that it names,
// which are often close to a change of clocks.
func TestExplainAgreesWithWhoIsDue(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	conn := db.Conn(t)
	zones := []string{"UTC", "Europe/Lisbon", "America/New_York", "Asia/Beirut", "Australia/Lord_Howe", "Asia/Kathmandu"}
	changes := map[string][]time.Time{"UTC": {time.Now()}, "Asia/Kathmandu": {time.Now()}}
	for _, zone := range zones {
		rows, err := conn.Query(t.Context(), `
			select h
			from generate_series(date_trunc('hour', now()), now() + interval '400 days', interval '30 minutes') h
			where h at time zone $1 - (h - interval '30 minutes') at time zone $1 <> interval '30 minutes'`, zone)
		if err != nil {
			t.Fatal(err)
		}
		found, err := pgx.CollectRows(rows, pgx.RowTo[time.Time])
		if err != nil {
			t.Fatal(err)
		}
		changes[zone] = append(changes[zone], found...)
	}

	said := map[string]int{}
	person := func(r *rapid.T) {
		tx, err := conn.Begin(r.Context())
		if err != nil {
			r.Fatal(err)
		}
		defer func() { _ = tx.Rollback(r.Context()) }()
		do := func(statement string, args ...any) {
			if _, err := tx.Exec(r.Context(), statement, args...); err != nil {
				r.Fatalf("%s %v: %v", statement, args, err)
			}
			r.Logf("%s %v", statement, args)
		}
		// Everything happens on whole minutes, as people are told.
		var now time.Time
		if err := tx.QueryRow(r.Context(), "select date_trunc('minute', now())").Scan(&now); err != nil {
			r.Fatal(err)
		}
		do("insert into headway.appuser (id, fullname) values (1, 'Abe')")
		do("insert into headway.project (id, name) values (1, 'Website')")
		minutes := func(name string, from, through int) time.Duration {
			return time.Duration(rapid.IntRange(from, through).Draw(r, name)) * time.Minute
		}
		zone := rapid.SampledFrom(zones).Draw(r, "zone")
		do("insert into headway.appuser (id, fullname, email, time_zone) values (2, 'Bob', 'bob@example.com', $1)", zone)
		do("insert into headway.member (project_id, user_id, role) values (1, 1, 'staff'), (1, 2, 'customer')")
		do("select headway.set_setting('digest_after', $1)", fmt.Sprintf("%d minutes", rapid.SampledFrom([]int{1, 60, 240}).Draw(r, "digest_after")))
		do("select headway.set_setting('digest_min_gap', $1)", fmt.Sprintf("%d minutes", rapid.SampledFrom([]int{0, 60, 600}).Draw(r, "digest_min_gap")))

		oldest := now
		for range rapid.IntRange(1, 4).Draw(r, "messages") {
			channel := rapid.SampledFrom([]string{"project_1", "broadcast"}).Draw(r, "channel")
			sender := rapid.SampledFrom([]int{1, 1, 1, 2}).Draw(r, "sender")
			at := now.Add(-minutes("age", 0, 600))
			if at.Before(oldest) {
				oldest = at
			}
			do("select headway.post($1, $2, 'Hello')", sender, channel)
			do("set local session_replication_role = replica")
			// Within a channel, later messages are younger.
			do(`update headway.message m
				set sent_at = greatest($1, (select max(e.sent_at) from headway.message e where e.channel = m.channel and e.seq < m.seq))
				where m.id = (select max(id) from headway.message)`, at)
			do("set local session_replication_role = origin")
		}
		switch rapid.IntRange(0, 9).Draw(r, "digest_after of Bob") {
		case 0, 1:
			do("update headway.appuser set digest_after = $1 where id = 2", minutes("delay", 1, 900))
		case 2, 3, 4, 5:
			near := rapid.SampledFrom(changes[zone]).Draw(r, "change").Truncate(time.Minute).Add(minutes("around it", -180, 180))
			if delay := near.Sub(oldest); delay > 0 {
				do("update headway.appuser set digest_after = $1 where id = 2", delay)
			}
		}
		if rapid.IntRange(0, 2).Draw(r, "quiet hours") > 0 {
			from := rapid.IntRange(0, 1439).Draw(r, "quiet from")
			until := (from + rapid.IntRange(1, 1439).Draw(r, "quiet for")) % 1440
			do("update headway.appuser set quiet_from = $1::text::time, quiet_until = $2::text::time where id = 2",
				fmt.Sprintf("%02d:%02d", from/60, from%60), fmt.Sprintf("%02d:%02d", until/60, until%60))
		}
		if rapid.IntRange(0, 2).Draw(r, "earlier digest") == 0 {
			created := now.Add(-minutes("created", 0, 700))
			state := rapid.SampledFrom([]string{"reserved", "sent", "sent", "sent", "read_before_sending", "failed", "held", "cancelled"}).Draw(r, "state")
			var sent *time.Time
			if state == "sent" {
				at := created.Add(min(minutes("sent after", 0, 100), now.Sub(created)))
				sent = &at
			}
			do("insert into headway.digest (user_id, state, created_at, sent_at) values (2, $1, $2, $3)", state, created, sent)
		}
		for range rapid.SampledFrom([]int{0, 0, 1, 2}).Draw(r, "changes") {
			switch rapid.IntRange(0, 7).Draw(r, "what else") {
			case 0:
				do("update headway.appuser set email = null where id = 2")
			case 1:
				do("update headway.appuser set mail_suspended_at = now(), mail_suspended_reason = '550' where id = 2")
			case 2:
				do("update headway.subscription set muted = true where user_id = 2 and channel = 'project_1'")
			case 3:
				do("update headway.subscription set muted = true where user_id = 2 and channel = 'broadcast'")
			case 4:
				do("update headway.subscription s set read_seq = c.last_seq from headway.channel c where c.name = s.channel and s.user_id = 2 and s.channel = 'project_1'")
			case 5:
				do("select headway.mark_seen(2, array(select id from headway.message order by id limit 1))")
			case 6:
				do("update headway.subscription set mailed_seq = read_seq + 1 where user_id = 2 and channel = 'broadcast'" +
					" and read_seq < (select last_seq from headway.channel where name = 'broadcast')")
			default:
				do("delete from headway.member where user_id = 2")
			}
		}

		rows, err := tx.Query(r.Context(), "select explanation from headway.explain_digest(2)")
		if err != nil {
			r.Fatal(err)
		}
		explanations, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			r.Fatal(err)
		}
		r.Logf("%q", explanations)
		due := func(at string, args ...any) bool {
			var due bool
			if err := tx.QueryRow(r.Context(), "select exists (select from headway.due_digests("+at+") d where d.user_id = 2)", args...).Scan(&due); err != nil {
				r.Fatal(err)
			}
			return due
		}
		dueNow := slices.ContainsFunc(explanations, func(e string) bool { return strings.HasPrefix(e, "mail is due now") })
		if got := due("now()"); got != dueNow {
			r.Fatalf("who is due says %v", got)
		}
		for _, explanation := range explanations {
			rest, later := strings.CutPrefix(explanation, "mail is due at ")
			if !later {
				continue
			}
			if dueNow {
				r.Fatal("now and later")
			}
			said["later"]++
			// The clock may show it twice: one of them is when it begins.
			if !due("$1::text::timestamp at time zone $2", rest[:16], zone) {
				r.Fatalf("nothing is due then")
			}
			var early bool
			if err := tx.QueryRow(r.Context(), `
				select bool_and(exists (select from headway.due_digests(c.at - interval '1 microsecond') d where d.user_id = 2))
				from (
				  select ($1::text::timestamp at time zone $2) - o.earlier as at
				  from unnest(array['0', '30 minutes', '1 hour']::interval[]) o (earlier)
				) c
				where to_char(c.at at time zone $2, 'YYYY-MM-DD HH24:MI') = $1`, rest[:16], zone).Scan(&early); err != nil {
				r.Fatal(err)
			}
			if early {
				r.Fatalf("it is due already before that")
			}
			if strings.Contains(rest, "quiet hours") {
				said["after quiet hours"]++
			}
		}
		if dueNow {
			said["now"]++
			var reserved int
			if err := tx.QueryRow(r.Context(), "select headway.reserve_digests()").Scan(&reserved); err != nil || reserved != 1 {
				r.Fatalf("reserved %d, %v", reserved, err)
			}
		} else if !slices.ContainsFunc(explanations, func(e string) bool { return strings.HasPrefix(e, "mail is due at") }) {
			said["never"]++
			if due("now() + interval '3 years'") {
				r.Fatal("it is due some day")
			}
		}
	}
	for rounds := 0; rounds < 3 || rounds < 30 && len(said) < 4; rounds++ {
		rapid.Check(t, person)
	}
	t.Logf("%v", said)
	for _, what := range []string{"now", "later", "after quiet hours", "never"} {
		if said[what] == 0 {
			t.Errorf("nobody was told %q: that proves little", what)
		}
	}
}

// TestAClockThatWasWrongIsMadeUpFor runs what docs/operations.md has an operator run.
func TestAClockThatWasWrongIsMadeUpFor(t *testing.T) {
	t.Parallel()
	manual, err := os.ReadFile("../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(manual), "\n## A clock that was wrong\n")
	_, block, _ := strings.Cut(section, "```sql\n")
	statements, _, found := strings.Cut(block, "```")
	if !found {
		t.Fatal("there are no statements")
	}

	conn := pgtest.New(t).Conn(t)
	pgtest.Execute(t, conn, `
		insert into headway.appuser (id, fullname, email) select n, 'Person', 'person@example.com' from generate_series(1, 4) n;
		insert into headway.project (id, name) values (1, 'Project');
		insert into headway.member (project_id, user_id, role) select 1, n, 'customer' from generate_series(1, 4) n;
		select headway.post(1, 'project_1', 'Hello');
		select headway.reserve_digest(2), headway.reserve_digest(3);
		select headway.post(1, 'project_1', 'Hello again');
		set session_replication_role = replica;
		update headway.message set sent_at = now() + interval '7 hours';
		update headway.digest set next_attempt_at = now() + interval '1 year' where user_id = 3;
		reset session_replication_role;
		set role headway_owner`)
	pgtest.Execute(t, conn, statements)
	if n := value[int](t, conn, "select headway.digests_to_send()"); n != 2 { // one of them is new
		t.Errorf("%d digests can be sent now", n)
	}
	if !value[bool](t, conn, "select max(next_attempt_at) <= now() + interval '5 hours' from headway.digest") {
		t.Error("one is put off for a year")
	}
}
