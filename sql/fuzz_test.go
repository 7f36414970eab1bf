package sql_test

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"headway/internal/pgtest"
)

// The fuzz targets try what people type on one connection, each input in a transaction that is rolled back. Their seeds
// are ordinary tests; go test -fuzz '^FuzzSetSetting$' ./sql tries what nobody thought of.

// try has a statement executed and takes it back if it fails.
func try(t testing.TB, tx pgx.Tx, statement string, args ...any) error {
	t.Helper()
	return pgx.BeginFunc(t.Context(), tx, func(tx pgx.Tx) error {
		_, err := tx.Exec(t.Context(), statement, args...)
		return err
	})
}

// Whatever a setting takes, everything that reads settings can use.
func FuzzSetSetting(f *testing.F) {
	names := []string{
		"notify_payload", "digest_after", "digest_min_gap", "digest_when_unknown", "digest_max_attempts", "digest_max_items", "digest_keep",
	}
	for which := range len(names) + 1 {
		for _, value := range []string{
			"row", "reference", "off", "resend", "hold", "", " ", "0", "1", "-1", "2147483647", "2147483648", "1e3", "0x10", " 7 ", "1_000",
			"2 hours", "4:30", "1 month -29 days", "100 years", "100 years 1 second", "1 microsecond", "P1Y", "-1 2:03:04", "1-2 3",
			"infinity", "-infinity", "NaN", "epoch", "99999999 years", "2 hours ago", "null", "ＲＯＷ", "off; drop schema headway", "'",
		} {
			f.Add(uint8(which), value)
		}
	}
	conn := pgtest.New(f).Conn(f)
	pgtest.Execute(f, conn, `
		set jit = off;
		insert into headway.appuser (fullname, email) values ('Abe', 'abe@example.com'), ('Dora', 'dora@example.com');
		insert into headway.project (name) values ('Website relaunch');
		insert into headway.member (project_id, user_id, role) values (1, 1, 'customer'), (1, 2, 'staff');
		insert into headway.task (project_id, title) values (1, 'Choose a domain');
		select headway.complete_task(1, 1), headway.fold();
		insert into headway.message (sender, channel, content) values (2, 'project_1', 'Hello');
		insert into headway.digest (user_id, state, created_at, sent_at) values (1, 'sent', '2020-01-01', '2020-01-01')`)
	if all := value[[]string](f, conn, "select array_agg(name order by name) from headway.setting"); !slices.Equal(all, slices.Sorted(slices.Values(names))) {
		f.Fatalf("the settings are %q", all)
	}

	f.Fuzz(func(t *testing.T, which uint8, to string) {
		to = pgtest.Typed(to)
		name := append(names, to)[int(which)%(len(names)+1)] // the last one is no setting's
		pgtest.Rehearse(t, conn, func(tx pgx.Tx) {
			switch outcome := code(try(t, tx, "select headway.set_setting($1, $2)", name, to)); outcome {
			case "":
			case "22023": // invalid_parameter_value
				return
			case "P0002": // no_data_found
				if slices.Contains(names, name) {
					t.Errorf("there is no %s", name)
				}
				return
			default:
				t.Fatalf("%s does not take %q with %s", name, to, outcome)
			}
			var is string
			if err := tx.QueryRow(t.Context(), "select headway.setting($1)", name).Scan(&is); err != nil || is != to {
				t.Errorf("%s is %q rather than %q: %v", name, is, to, err)
			}
			for _, reader := range []string{
				"select headway.post(2, 'project_1', 'The photographs are here.')",
				"select headway.complete_task(1, 1), headway.reopen_task(1, 1, 2), headway.fold()",
				"select * from headway.mail_preference",
				"select * from headway.due_digests()",
				"select * from headway.due_digests(now() + interval '200 years')",
				"select headway.explain_digest(1)",
				"select headway.prune_digests()",
				"select headway.reserve_digest(1), headway.reserve_digests()",
				"select headway.claim_digest('11111111-1111-1111-1111-111111111111')",
				"select headway.freeze_digest(id, '11111111-1111-1111-1111-111111111111', 'abe@example.com', 'mail') from headway.digest",
				"select headway.digest_failed(id, '11111111-1111-1111-1111-111111111111', 'unknown', 'no answer') from headway.digest",
				"update headway.digest set next_attempt_at = now() where state = 'reserved'",
				"select headway.claim_digest('11111111-1111-1111-1111-111111111111')",
				"select headway.freeze_digest(id, '11111111-1111-1111-1111-111111111111', null, null) from headway.digest",
				"select headway.claim_digest(gen_random_uuid())",
			} {
				if err := try(t, tx, reader); err != nil {
					t.Errorf("with %s = %q: %s: %v", name, to, reader, err)
				}
			}
		})
	})
}

var (
	listenable   = regexp.MustCompile(`^[a-z][a-z0-9_]{0,62}$`)
	reservedName = regexp.MustCompile(`^(headway|project_|user_)`)
)

// Whatever name a channel has, LISTEN takes it without quotes and as it is.
func FuzzOpenChannel(f *testing.F) {
	for _, name := range []string{
		"design", "design_review", "d", "d1", "D", "Design", "_d", "1d", "", " ", "design review", "design-review", "design\n", "\ndesign",
		"design;", "design\"", "dësign", "ｄesign", "d\u200b", "broadcast", "broadcasts", "headway", "headway_events", "headways", "project",
		"project_", "project_1", "project_1_staff", "projects", "user", "user_", "user_1", "users", "select", "as", "table", "left", "between",
		"listen", "value", strings.Repeat("d", 62), strings.Repeat("d", 63), strings.Repeat("d", 64), strings.Repeat("d", 100),
	} {
		f.Add(name)
	}
	conn := pgtest.New(f).Conn(f)
	f.Fuzz(func(t *testing.T, name string) {
		name = pgtest.Typed(name)
		var outcome string
		pgtest.Rehearse(t, conn, func(tx pgx.Tx) { outcome = code(try(t, tx, "select headway.open_channel($1)", name)) })
		if !listenable.MatchString(name) || reservedName.MatchString(name) {
			if outcome != "22023" { // invalid_parameter_value
				t.Errorf("%q is opened: %s", name, outcome)
			}
		} else if opened := outcome == ""; opened != listens(t, conn, name) {
			t.Errorf("%q is opened: %v, %s", name, opened, outcome)
		}
	})
}

// listens reports whether LISTEN takes a name without quotes and as it is. Key words it does not take.
func listens(t *testing.T, conn *pgx.Conn, name string) bool {
	t.Helper()
	if err := conn.PgConn().Exec(t.Context(), "listen "+name).Close(); err != nil {
		return false
	}
	heard := value[[]string](t, conn, "select array(select pg_listening_channels())")
	pgtest.Execute(t, conn, "unlisten *")
	return slices.Equal(heard, []string{name})
}

// Whatever quiet hours somebody has, in whatever zone, they end.
func FuzzQuietHours(f *testing.F) {
	const day = 24 * 60 * 60 * 1_000_000 // in microseconds, and 24:00 is a time, too
	for _, zone := range []string{
		"UTC", "Europe/Lisbon", "europe/lisbon", "America/St_Johns", "Asia/Kathmandu", "Australia/Lord_Howe", "Africa/Casablanca",
		"Pacific/Apia", "Antarctica/Troll", "Etc/GMT+5", "EST5EDT", "CEST", "zulu", "posix/UTC", "Factory", "localtime", "Local", "Nowhere",
		"A/B+5", "A/B+5C", "", " ", "..", "/UTC", "UTC/", "Europe/Lisbon ", "+02", "Europe/../UTC", "infinity", "now",
	} {
		f.Add(zone, int64(22*day/24), int64(7*day/24), int64(1774749600)) // an hour before the clocks change in Europe
	}
	for _, hours := range [][2]int64{{0, day}, {day, 0}, {0, day - 1}, {1, 0}, {day - 1, day}, {2, 1}, {0, 1}, {day / 2, day/2 - 1}, {9_000_000_001, 9_000_000_000}} {
		f.Add("Europe/Lisbon", hours[0], hours[1], int64(1792890000))
		f.Add("Australia/Lord_Howe", hours[0], hours[1], int64(1775314800))
	}
	conn := pgtest.New(f).Conn(f)
	f.Fuzz(func(t *testing.T, zone string, from, until, at int64) {
		zone = pgtest.Typed(zone)
		clock := func(us int64) string {
			s := (us%(day+1) + day + 1) % (day + 1)
			return fmt.Sprintf("%02d:%02d:%02d.%06d", s/3600_000_000, s/60_000_000%60, s/1_000_000%60, s%1_000_000)
		}
		now := time.Unix((at%4_000_000_000+4_000_000_000)%4_000_000_000, 0) // up to 2096
		pgtest.Rehearse(t, conn, func(tx pgx.Tx) {
			switch outcome := code(try(t, tx, `
				insert into headway.appuser (fullname, email, time_zone, quiet_from, quiet_until)
				values ('Abe', 'abe@example.com', $1, $2::text::time, $3::text::time)`, zone, clock(from), clock(until))); outcome {
			case "":
			case "22023", "23514": // invalid_parameter_value for an unknown zone, check_violation
				return
			default:
				t.Fatalf("zone %q, quiet from %s until %s: %s", zone, clock(from), clock(until), outcome)
			}
			var ends bool
			var end *time.Time
			if err := tx.QueryRow(t.Context(), `
				select e.at, not headway.is_quiet(u.quiet_from, u.quiet_until, u.time_zone, e.at)
				from headway.appuser u
				cross join headway.quiet_end(u.quiet_from, u.quiet_until, u.time_zone, $1) e (at)`, now,
			).Scan(&end, &ends); err != nil {
				t.Fatalf("zone %q, quiet from %s until %s: %v", zone, clock(from), clock(until), err)
			}
			if end == nil || !ends || end.Before(now) || end.Sub(now) > 50*time.Hour {
				t.Errorf("zone %q, quiet from %s until %s: at %v they end at %v", zone, clock(from), clock(until), now, end)
			}
			for _, reader := range []string{"select * from headway.due_digests()", "select headway.explain_digest(id) from headway.appuser"} {
				if err := try(t, tx, reader); err != nil {
					t.Errorf("zone %q, quiet from %s until %s: %s: %v", zone, clock(from), clock(until), reader, err)
				}
			}
		})
	})
}
