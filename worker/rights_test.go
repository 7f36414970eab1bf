package worker_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"headway/internal/pgtest"
	"headway/sql"
	"headway/worker"
)

// refuses has a worker start, and returns why it does not.
func refuses(t *testing.T, config worker.Config) *worker.RightsError {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), soon) // should it start after all
	defer cancel()
	err := worker.New(config, slog.New(slog.DiscardHandler), "test").Run(ctx)
	var refusal *worker.RightsError
	if !errors.As(err, &refusal) {
		t.Fatalf("it ends with %v", err)
	}
	return refusal
}

// rights returns those of a role.
func rights(t *testing.T, db *pgtest.DB, role string) worker.Rights {
	t.Helper()
	r, err := worker.CheckRights(t.Context(), db.Conn(t, pgtest.User(role)))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// fit fails the test unless a role may do what a worker does, and nothing more.
func fit(t *testing.T, db *pgtest.DB, role string) {
	t.Helper()
	if r := rights(t, db, role); r.Login != role || r.Check(false) != nil {
		t.Errorf("%+v", r)
	}
}

func TestHeadwayWorkerIsGrantedWhatAWorkerNeeds(t *testing.T) {
	t.Parallel()
	fit(t, pgtest.New(t), "test_worker")
}

func TestALoginThatMayDoMoreIsRefused(t *testing.T) {
	t.Parallel()
	for more, want := range map[string][]string{
		"alter role it superuser":   {"it is a superuser"},
		"alter role it bypassrls":   {"it bypasses row-level security (bypassrls)"},
		"alter role it createrole":  {"it may create and change roles (createrole)"},
		"alter role it replication": {"it may copy the whole server (replication)"},

		"grant headway_owner to it":                                               {"it is a member of headway_owner"},
		"grant headway_app, headway_admin to it":                                  {"it is a member of headway_admin", "it is a member of headway_app"},
		"grant pg_read_all_data to it":                                            {"it is a member of pg_read_all_data"},
		"grant pg_execute_server_program to it":                                   {"it is a member of pg_execute_server_program"},
		"grant postgres to it":                                                    {"it may act as postgres, which is a superuser"},
		"grant headway_monitor, headway_user to it":                               nil,
		"alter role it noinherit; grant headway_app to it; alter role it inherit": {"it is a member of headway_app"},

		"alter database db owner to it":                                           {"it owns the database db"},
		"alter table headway.seen owner to it":                                    {"it owns headway.seen"},
		"alter view headway.unread owner to it":                                   {"it owns headway.unread"},
		"alter function headway.repair owner to it":                               {"it owns headway.repair()"},
		"grant create on schema headway to it":                                    {"it may create objects in the schema headway"},
		"grant select on headway.message to it":                                   {"it may read rows of headway.message"},
		"grant select (email), update (email, fullname) on headway.appuser to it": {"it may read email of headway.appuser", "it may update fullname, email of headway.appuser"},
		"grant select on headway.progress to it":                                  {"it may read rows of headway.progress"},
		"grant select (mail) on headway.digest to public":                         {"it may read mail of headway.digest"},
		"grant insert on headway.pending_fact to it":                              {"it may insert rows of headway.pending_fact"},
		"grant delete, truncate, trigger on headway.worker to it":                 {"it may delete from headway.worker", "it may put triggers on headway.worker", "it may truncate headway.worker"},
		"grant references (id) on headway.task to it":                             {"it may refer to id of headway.task"},
		"grant update on public.headway_schema_version to it":                     {"it may update rows of public.headway_schema_version"},
		"grant execute on function headway.repair() to it":                        {"it may call headway.repair()"},
		"grant execute on function headway.reserve_digest to headway_worker":      {"it may call headway.reserve_digest(bigint)"},
		"grant execute on function headway.percent to it":                         nil, // gives nothing by itself
		"grant headway_app to it; grant execute on function headway.repair, headway.forget_user to it": {
			"it is a member of headway_app", "it may call headway.repair()"},
	} {
		t.Run(more, func(t *testing.T) {
			t.Parallel()
			db := pgtest.New(t)
			role := login(t, db)
			named := strings.NewReplacer(" it", " "+role, "database db", "database "+db.Name)
			pgtest.Execute(t, db.Conn(t), "grant headway_worker to "+role+"; "+named.Replace(more))

			got := rights(t, db, role)
			if strings.Join(got.More, "\n") != strings.ReplaceAll(strings.Join(want, "\n"), "database db", "database "+db.Name) {
				t.Errorf("%q, want %q", got.More, want)
			}
			if err := got.Check(true); err != nil && !strings.Contains(more, "owner to it") {
				t.Errorf("refused though it is allowed: %v", err)
			}
			if len(want) == 0 {
				return
			}
			text := refuses(t, config(t, as(db, role))).Error()
			for _, part := range append(got.More, role+" has more rights than a worker should", "create role headway_worker_login", "HEADWAY_ALLOW_MORE_RIGHTS") {
				if !strings.Contains(text, part) {
					t.Errorf("it does not say %q:\n%s", part, text)
				}
			}
		})
	}
}

func TestALoginThatMayDoMoreIsUsedIfAllowed(t *testing.T) {
	t.Parallel()
	db := seeded(t)
	role := login(t, db)
	pgtest.Execute(t, db.Conn(t), "grant headway_worker, headway_app to "+role)
	c := config(t, as(db, role), "HEADWAY_ALLOW_MORE_RIGHTS", "true")
	w := start(t, c)
	w.await(worker.Leading, worker.Asleep)

	// That it may do too much is no excuse for doing too little.
	other := login(t, pgtest.New(t))
	pgtest.Execute(t, db.Conn(t), "grant headway_app to "+other)
	c = config(t, as(db, other), "HEADWAY_ALLOW_MORE_RIGHTS", "true")
	if text := refuses(t, c).Error(); strings.Contains(text, "headway_app") || !strings.Contains(text, "it is not a member of headway_worker") {
		t.Errorf("it says %s", text)
	}
}

func TestTheLoginThatListensIsLookedAtToo(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	role := login(t, db)
	pgtest.Execute(t, db.Conn(t), "grant headway_worker, headway_app to "+role)
	if text := refuses(t, config(t, db.URL, "HEADWAY_LISTEN_URL", as(db, role))).Error(); !strings.Contains(text, role+" has more rights than") {
		t.Errorf("it says %s", text)
	}
}

// TestWhoTheLoginIsCannotBeHidden connects as a superuser who acts as somebody else.
func TestWhoTheLoginIsCannotBeHidden(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	conn := db.Conn(t)
	pgtest.Execute(t, conn, "set role test_worker")
	r, err := worker.CheckRights(t.Context(), conn)
	if err != nil || r.Login != "postgres" || len(r.More) != 1 || len(r.Missing) != 0 {
		t.Errorf("%+v, %v", r, err)
	}
}

// TestALoginThatInheritsNothingIsToldSo has a login be a member of headway_worker without its rights, because of itself or of a
// role between the two.
func TestALoginThatInheritsNothingIsToldSo(t *testing.T) {
	t.Parallel()
	for _, grant := range []string{
		"alter role %[1]s noinherit; grant headway_worker to %[1]s",
		"create role %[1]s_team noinherit role %[1]s in role headway_worker",
	} {
		t.Run(grant, func(t *testing.T) {
			t.Parallel()
			db := seeded(t)
			role := login(t, db)
			conn := db.Conn(t)
			pgtest.Execute(t, conn, fmt.Sprintf(grant, role))
			t.Cleanup(func() {
				if _, err := conn.Exec(context.Background(), "drop role if exists "+role+"_team"); err != nil {
					t.Error(err)
				}
			})
			text := refuses(t, config(t, as(db, role))).Error()
			_, remedy, found := strings.Cut(text, "it does not inherit the rights of headway_worker: ")
			if !found {
				t.Fatalf("it says %s", text)
			}
			pgtest.Execute(t, conn, remedy)
			fit(t, db, role)
		})
	}
}

// TestALoginThatBecomesAnotherIsToldSo has the gateway's role be the one that a worker's login becomes. What that role may do,
// every end user may.
func TestALoginThatBecomesAnotherIsToldSo(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	role := login(t, db)
	conn := db.Conn(t)
	pgtest.Execute(t, conn, "grant headway_worker, headway_user to "+role+"; alter role "+role+" set role = headway_user")
	text := refuses(t, config(t, as(db, role))).Error()
	if !strings.Contains(text, "it becomes headway_user, which is not a member of headway_worker: alter role "+role+" reset role") ||
		strings.Contains(text, "grant headway_worker to headway_user") {
		t.Error(text)
	}
	pgtest.Execute(t, conn, "alter role "+role+" reset role")
	fit(t, db, role)
}

// TestALoginForWhomPoliciesAreErrorsIsToldSo has everything that needs policies fail, for want of rows, not of rights.
func TestALoginForWhomPoliciesAreErrorsIsToldSo(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	role := login(t, db)
	conn := db.Conn(t)
	pgtest.Execute(t, conn, "grant headway_worker to "+role+"; alter role "+role+" in database "+db.Name+" set row_security = off")
	text := refuses(t, config(t, as(db, role))).Error()
	remedy := "alter role " + role + " in database " + db.Name + " set row_security = on"
	if !strings.Contains(text, "row_security is off for it") || !strings.Contains(text, remedy) {
		t.Error(text)
	}
	pgtest.Execute(t, conn, "alter role "+role+" in database "+db.Name+" reset row_security")
	fit(t, db, role)
	for _, off := range []string{"database " + db.Name, "role " + role, "role " + role + " in database " + db.Name} {
		pgtest.Execute(t, conn, "alter "+off+" set row_security = off")
		_ = refuses(t, config(t, as(db, role)))
		pgtest.Execute(t, conn, remedy)
		fit(t, db, role)
		pgtest.Execute(t, conn, "alter "+off+" reset row_security; alter role "+role+" in database "+db.Name+" reset row_security")
	}
}

// TestFunctionsWhoseOwnerIsShutOutAreToldOf gives the schema alone to somebody else: every trigger and every fold then fails.
func TestFunctionsWhoseOwnerIsShutOutAreToldOf(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	conn := db.Conn(t)
	pgtest.Execute(t, conn, "alter schema headway owner to "+login(t, db))
	text := refuses(t, config(t, db.WorkerURL())).Error()
	const remedy = "alter schema headway owner to headway_owner"
	if !strings.Contains(text, "the functions run as headway_owner, who may not use the schema headway: "+remedy) {
		t.Error(text)
	}
	pgtest.Execute(t, conn, remedy)
	fit(t, db, "test_worker")
}

// TestSettingsOfTheLoginDoNotHideItsRights has names be quoted that need not be.
func TestSettingsOfTheLoginDoNotHideItsRights(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	role := login(t, db)
	pgtest.Execute(t, db.Conn(t), "grant headway_worker to "+role+"; alter role "+role+" set quote_all_identifiers = on")
	fit(t, db, role)
}

// TestWhatIsLookedAtFirstMayTakeItsTime has everybody's statements end after a while.
func TestWhatIsLookedAtFirstMayTakeItsTime(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	conn := db.Conn(t)
	timeouts := []string{"statement_timeout"}
	if value[int](t, conn, "select current_setting('server_version_num')::integer") >= 170000 {
		timeouts = append(timeouts, "transaction_timeout")
	}
	for _, timeout := range timeouts {
		pgtest.Execute(t, conn, "alter database "+db.Name+" set "+timeout+" = '1min'")
		var limit string
		err := sql.InCatalog(t.Context(), db.Conn(t), func(tx pgx.Tx) error {
			return tx.QueryRow(t.Context(), "show "+timeout).Scan(&limit)
		})
		if err != nil || limit != "0" {
			t.Errorf("%s: %s, %v", timeout, limit, err)
		}
	}
}

func TestALoginThatMayDoTooLittleIsRefused(t *testing.T) {
	t.Parallel()
	for less, want := range map[string]string{
		"revoke usage on schema headway from headway_worker":                         "it may not use the schema headway: ",
		"revoke execute on function headway.fold from headway_worker":                "it may not call headway.fold(integer): ",
		"revoke execute on function headway.digest_run_finished from headway_worker": "it may not call headway.digest_run_finished(timestamp with time zone): ",
		"revoke select on headway.status from headway_worker":                        "it may not read pending_facts, oldest_fact_age, workers, leader, notification_queue_percent, digests, oldest_digest_age of headway.status: ",
		"revoke select (id) on headway.digest from headway_worker":                   "it may not read id of headway.digest: ",
		"drop policy counted on headway.pending_fact":                                "it cannot see the rows of headway.pending_fact: ",
		"alter policy counted on headway.worker using (pid = 1)":                     "it cannot see the rows of headway.worker: ",
		"alter policy counted on headway.digest to headway_monitor":                  "it cannot see the rows of headway.digest: ",
		"alter table headway.task force row level security":                          "row-level security hides rows of headway.task from headway_owner, which the functions run as: ",
		"alter table headway.seen owner to postgres":                                 "row-level security hides rows of headway.seen from headway_owner, which the functions run as: ",
	} {
		t.Run(less, func(t *testing.T) {
			t.Parallel()
			db := pgtest.New(t)
			conn := db.Conn(t)
			pgtest.Execute(t, conn, less)
			refusal := refuses(t, config(t, db.URL))
			if text := refusal.Error(); len(refusal.Rights.Missing) != 1 || !strings.HasPrefix(text, "test_worker lacks rights that a worker needs:\n  "+want) ||
				strings.Contains(text, "more rights") {
				t.Fatalf("it says %s", text)
			}
			// What it says helps.
			_, remedy, _ := strings.Cut(refusal.Rights.Missing[0], ": ")
			remedy = strings.Replace(remedy, "policy counted", "policy all_counted", 1) // the other one may still be there
			pgtest.Execute(t, conn, remedy)
			fit(t, db, "test_worker")
		})
	}
}

func TestARefusalIsNotLongerThanAScreen(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	role := login(t, db)
	pgtest.Execute(t, db.Conn(t), "grant headway_worker to "+role+"; grant select on all tables in schema headway to "+role)
	refusal := refuses(t, config(t, as(db, role)))
	if lines := strings.Count(refusal.Error(), "\n"); lines != 12 || !strings.Contains(refusal.Error(), " more\n") || len(refusal.Rights.More) < 20 {
		t.Errorf("%d lines:\n%s", lines, refusal)
	}
}

// TestWhatIsLookedAtIsNotCompiled has the server compile every query that it may.
func TestWhatIsLookedAtIsNotCompiled(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	pgtest.Execute(t, db.Conn(t), "alter database "+db.Name+" set jit = on")
	var jit string
	err := sql.InCatalog(t.Context(), db.Conn(t), func(tx pgx.Tx) error { return tx.QueryRow(t.Context(), "show jit").Scan(&jit) })
	if err != nil || jit != "off" {
		t.Errorf("jit is %s, %v", jit, err)
	}
}

// TestOnlyWhoMayActAsAnEndUserIssuesTickets has a worker's login try without a gateway's rights: with a ticket, any gateway
// would show it what that person sees.
func TestOnlyWhoMayActAsAnEndUserIssuesTickets(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	conn := db.Conn(t)
	role := login(t, db)
	pgtest.Execute(t, conn, "insert into headway.appuser (fullname) values ('Abe'); grant headway_worker to "+role)
	for _, may := range []bool{false, true} {
		_, err := db.Conn(t, pgtest.User(role)).Exec(t.Context(), "select headway.issue_ticket(1, now() + interval '1 hour')")
		refused, is := errors.AsType[*pgconn.PgError](err)
		switch {
		case may && err != nil:
			t.Error(err)
		case !may && (!is || refused.Code != "42501" || !strings.Contains(refused.Hint, "headway_user")):
			t.Errorf("%v", err)
		}
		pgtest.Execute(t, conn, "grant headway_user to "+role)
	}
}
