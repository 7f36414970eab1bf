package sql_test

import (
	"testing"

	"github.com/jackc/pgx/v5"

	"headway/internal/pgtest"
)

// unmailed is somebody with something unread that is due.
const unmailed = `
insert into headway.appuser (id, fullname, email) values (1, 'Abe', 'abe@example.com'), (2, 'Bob', 'bob@example.com'), (5, 'Dora', null);
insert into headway.project (id, name) values (1, 'Website');
insert into headway.member (project_id, user_id, role) values (1, 2, 'customer'), (1, 5, 'staff');
select headway.post(5, 'project_1', 'Hello');
set session_replication_role = replica; update headway.message set sent_at = now() - interval '1 day'; reset session_replication_role;`

const claimant = "11111111-1111-1111-1111-111111111111"

// TestWhoIsForgottenLeavesNoMail forgets somebody while their digest is reserved, claimed, frozen and sent, in every order
// of these with the steps of whoever forgets them: they are written to at most once, and nothing of it is kept.
func TestWhoIsForgottenLeavesNoMail(t *testing.T) {
	t.Parallel()
	steps := []string{
		"select headway.reserve_digests()",
		"select headway.claim_digest('" + claimant + "')",
		"select headway.freeze_digest(id, '" + claimant + "', 'bob@example.com', 'To: Bob') from headway.digest",
	}
	ends := map[string]string{
		"sent":     "select headway.digest_sent(id) from headway.digest where state = 'sending'",
		"retry":    "select headway.digest_failed(id, '" + claimant + "', 'retry', '450 bob@example.com') from headway.digest where state = 'sending'",
		"rejected": "select headway.digest_failed(id, '" + claimant + "', 'rejected', '550 bob@example.com') from headway.digest where state = 'sending'",
		"refused":  "select headway.digest_failed(id, '" + claimant + "', 'refused', '550 bob@example.com') from headway.digest where state = 'sending'",
	}
	for end, ended := range ends {
		t.Run(end, func(t *testing.T) {
			t.Parallel()
			db := pgtest.New(t)
			forgetter, worker, other := db.Conn(t), db.Conn(t), db.Conn(t)
			for _, conn := range []*pgx.Conn{forgetter, worker} {
				pgtest.Execute(t, conn, "set deadlock_timeout = '10ms'")
			}
			pgtest.Execute(t, other, unmailed)
			steps := append(append([]string(nil), steps...), ended)
			// Forgotten after so many steps, committed after so many more; somebody else may hold the person's row until then.
			for forgotten := range len(steps) + 1 {
				for committed := forgotten; committed <= len(steps); committed++ {
					for _, held := range []bool{false, true} {
						pgtest.Execute(t, other, `
							delete from headway.digest;
							update headway.appuser set email = 'bob@example.com', fullname = 'Bob', mail_suspended_at = null, mail_suspended_reason = null where id = 2;
							set session_replication_role = replica;
							update headway.subscription set mailed_seq = 0 where user_id = 2;
							reset session_replication_role`)
						holder := db.Conn(t)
						var forget, waiting *started
						for i := range len(steps) + 1 {
							if i == forgotten {
								if held {
									pgtest.Execute(t, holder, "begin; update headway.appuser set digest_after = '1 hour' where id = 2")
								}
								forget = start(t.Context(), forgetter, "begin; select headway.forget_user(2)")
								if forget.settles(t, other, forgetter) != held {
									t.Fatalf("after %d steps forgetting waits: %t", i, !held)
								}
							}
							if i == committed {
								if held {
									pgtest.Execute(t, holder, "rollback")
								}
								if err := forget.wait(t); err != nil {
									t.Fatalf("after %d steps: %v", i, err)
								}
								pgtest.Execute(t, forgetter, "commit")
								if waiting != nil {
									if err := waiting.wait(t); err != nil {
										t.Fatalf("after %d steps: %v", i, err)
									}
									waiting = nil
								}
							}
							if i < len(steps) && waiting == nil {
								if s := start(t.Context(), worker, steps[i]); s.settles(t, other, worker) {
									waiting = s
								} else if s.err != nil {
									t.Fatalf("%s: %v", steps[i], s.err)
								}
							}
						}
						if n := value[int](t, other, `
							select count(*) from headway.digest d
							where d.mail is not null or d.recipient is not null or d.error is not null or d.state in ('reserved', 'sending', 'held')`); n > 0 {
							state := value[string](t, other, "select string_agg(d::text, ' ') from headway.digest d")
							t.Errorf("forgotten after %d steps, committed after %d, held %t: %s is kept", forgotten, committed, held, state)
						}
						if err := holder.Close(t.Context()); err != nil {
							t.Error(err)
						}
					}
				}
			}
		})
	}
}

// TestWhoIsBeingChangedKeepsTheRecord has somebody's row be locked while it is recorded how a mail to them ended.
func TestWhoIsBeingChangedKeepsTheRecord(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	a, b := db.Conn(t), db.Conn(t)
	pgtest.Execute(t, b, unmailed+`select headway.reserve_digests();
		select headway.claim_digest('`+claimant+`');
		select headway.freeze_digest(id, '`+claimant+`', 'bob@example.com', 'To: Bob') from headway.digest`)
	pgtest.Execute(t, a, "begin; update headway.appuser set digest_after = '2 hours' where id = 2")
	pgtest.Execute(t, b, "set statement_timeout = '30s'; select headway.digest_failed(id, '"+claimant+"', 'rejected', '550 no') from headway.digest")
	if got := value[string](t, b, "select concat_ws(' ', d.state, d.recipient, convert_from(d.mail, 'UTF8'), d.error) from headway.digest d"); got != "failed bob@example.com To: Bob 550 no" {
		t.Errorf("on record is %q", got)
	}
}

// TestForgettingDoesNotGoByAnOlderSnapshot reserves a digest after the snapshot of whoever forgets its person.
func TestForgettingDoesNotGoByAnOlderSnapshot(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	a, b := db.Conn(t), db.Conn(t)
	pgtest.Execute(t, b, unmailed)
	pgtest.Execute(t, a, "begin isolation level repeatable read; select from headway.digest")
	pgtest.Execute(t, b, "select headway.reserve_digests()")
	if _, err := a.Exec(t.Context(), "select headway.forget_user(2)"); code(err) != "0A000" {
		t.Errorf("forgetting ends with %v", err)
	}
}

// TestWhatIsLostWhileAMailIsComposedIsNotSent takes from somebody, after their digest was composed and before that is on
// record, what it tells of.
func TestWhatIsLostWhileAMailIsComposedIsNotSent(t *testing.T) {
	t.Parallel()
	for name, lost := range map[string]string{
		"the project": "delete from headway.member where project_id = 1 and user_id = 2",
		"the channel": "delete from headway.subscription where channel = 'project_1' and user_id = 2",
		"by muting":   "update headway.subscription set muted = true where channel = 'project_1' and user_id = 2",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := pgtest.New(t)
			worker, other := db.Conn(t), db.Conn(t)
			pgtest.Execute(t, other, unmailed+"select headway.reserve_digests()")
			redefine(t, other, "headway.try_claim(headway.digest, uuid, interval)", `(v_content := headway\.digest_content\(try_claim\.digest\.id\);)`, "$1 perform pg_advisory_xact_lock(42);")
			pgtest.Execute(t, other, "select pg_advisory_lock(42)")
			claimed := start(t.Context(), worker, "select headway.claim_digest('"+claimant+"')")
			claimed.waits(t, other, worker)
			pgtest.Execute(t, other, lost)
			pgtest.Execute(t, other, "select pg_advisory_unlock(42)") // only when that is committed
			if err := claimed.wait(t); err != nil {
				t.Fatal(err)
			}
			if value[bool](t, worker, "select headway.freeze_digest(id, '"+claimant+"', 'bob@example.com', 'mail') from headway.digest") {
				t.Error("it goes out")
			}
		})
	}
}

// TestWhatIsReadWhileAMailIsComposedIsNotSent reads all that a digest tells of after a look whether anything is left.
func TestWhatIsReadWhileAMailIsComposedIsNotSent(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	worker, other := db.Conn(t), db.Conn(t)
	pgtest.Execute(t, other, unmailed+"select headway.reserve_digests()")
	redefine(t, other, "headway.try_claim(headway.digest, uuid, interval)", `(v_content := headway\.digest_content)`, "perform pg_advisory_xact_lock(42); $1")
	pgtest.Execute(t, other, "select pg_advisory_lock(42)")
	claimed := start(t.Context(), worker, "select headway.claim_digest('"+claimant+"')")
	claimed.waits(t, other, worker)
	pgtest.Execute(t, other, "select headway.mark_read(user_id, channel) from headway.subscription where user_id = 2")
	pgtest.Execute(t, other, "select pg_advisory_unlock(42)") // only when that is committed
	if err := claimed.wait(t); err != nil {
		t.Fatal(err)
	}
	if state := value[string](t, worker, "select state from headway.digest"); state != "read_before_sending" {
		t.Errorf("the digest is %s", state)
	}
}
