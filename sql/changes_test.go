package sql_test

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"headway/internal/pgtest"
)

// attempt runs a statement as whoever calls it, takes back what it did, and returns its rows or the whole of its error.
const attempt = `
create function public.attempt(statement text) returns text
language plpgsql
as $$
declare
  v_result text;
  v_rows integer;
  v_message text;
  v_detail text;
  v_hint text;
  v_column text;
  v_constraint text;
  v_table text;
  v_context text;
begin
  begin
    if attempt.statement ~ '^(insert|update|delete|copy)' and attempt.statement !~ ' returning ' then
      execute attempt.statement;
      get diagnostics v_rows = row_count;
      v_result := v_rows || ' rows';
    else
      execute 'with r as (' || attempt.statement || ') select coalesce(string_agg(r::text, '' '' order by r::text), ''no rows'') from r'
      into v_result;
    end if;
    raise exception using errcode = 'HW001';
  exception
    when sqlstate 'HW001' then
      return v_result;
    when others then
      get stacked diagnostics v_message = message_text, v_detail = pg_exception_detail, v_hint = pg_exception_hint,
        v_column = column_name, v_constraint = constraint_name, v_table = table_name, v_context = pg_exception_context;
      return format('%s: %s; detail %s; hint %s; at %s %s %s; in %s',
        sqlstate, v_message, v_detail, v_hint, v_table, v_column, v_constraint, v_context);
  end;
end
$$;
grant usage on schema public to public;
grant execute on function public.attempt to public`

// attempts returns what becomes of each statement, as an end user.
func attempts(ctx context.Context, tx pgx.Tx, id *int64, statements []string) (outcomes []string, err error) {
	err = as(ctx, tx, id, func() error {
		rows, err := tx.Query(ctx, "select public.attempt(s) from unnest($1::text[]) with ordinality s (s, n) order by n", statements)
		if err != nil {
			return err
		}
		outcomes, err = pgx.CollectRows(rows, pgx.RowTo[string])
		return err
	})
	return outcomes, err
}

// change is something that end users may do to a table, to some rows of it.
type change struct {
	table string

	// statement changes all that it may; theirs returns those rows. $1 is whoever does it.
	statement, theirs string

	// Or else statements returns one for each row that there could be, and whether it is theirs to write.
	// What is not has an outcome that matches refused.
	statements, refused string
}

const aPerson = "(select u.id from headway.appuser u union all select 99)"

var theirChanges = []change{
	{
		table:     "appuser",
		statement: "update headway.appuser set digest_after = '3 days', time_zone = 'Europe/Lisbon', quiet_from = '22:00', quiet_until = '7:00'",
		theirs:    "select * from headway.appuser r where r.id = $1",
	}, {
		table:     "subscription",
		statement: "update headway.subscription set muted = true",
		theirs:    "select * from headway.subscription r where r.user_id = $1",
	}, {
		table:     "seen",
		statement: "delete from headway.seen",
		theirs:    "select * from headway.seen r where r.user_id = $1",
	}, {
		table: "seen",
		statements: `select format('insert into headway.seen (channel, user_id, seq) values (%L, %s, 9)', c.name, u.id),
				u.id = $1 and public.subscribed(c.name, $1)
			from (select c.name from headway.channel c union all select 'nowhere') c cross join ` + aPerson + ` u (id)`,
		refused: `row-level security|seen_subscription_fkey`,
	}, {
		table:     "completion",
		statement: "delete from headway.completion",
		theirs: `select r.* from headway.completion r join headway.task t on t.id = r.task_id
			where public.joined(t.project_id, $1) and (r.user_id = $1 or public.staffs(t.project_id, $1))`,
	}, {
		table: "completion",
		statements: `select format('insert into headway.completion (task_id, user_id, completed_by) values (%s, %s, %L)', t.id, u.id, b.id),
				coalesce(coalesce(b.id, u.id) = $1 and public.joined(t.project_id, $1)
					and (u.id = $1 or public.staffs(t.project_id, $1) and public.joined(t.project_id, u.id)), false)
			from (select t.id, t.project_id from headway.task t union all select 99, null) t
			cross join ` + aPerson + ` u (id)
			cross join (values (null), ($1), (4)) b (id)`,
		refused: `row-level security`,
	}, {
		table: "message",
		statements: `select format('insert into headway.message (sender, channel, content) values (%L, %L, ''Hello'')', u.id, c.name),
				u.id = $1 and public.subscribed(c.name, $1)
			from (select c.name from headway.channel c union all select 'nowhere') c
			cross join (select * from ` + aPerson + ` u union all select null) u (id)`,
		refused: `row-level security|there is no channel|cannot post as somebody else`,
	},
}

// tryChange returns a [*differenceError] where an end user can change other rows than theirs.
func tryChange(ctx context.Context, tx pgx.Tx, c change, id *int64) error {
	parameter := strings.NewReplacer("$1", "$1::bigint")
	if c.statement == "" {
		return tryEach(ctx, tx, parameter.Replace(c.statements), regexp.MustCompile(c.refused), id)
	}
	all := fmt.Sprintf("select r::text from headway.%s r", c.table)
	before, err := texts(ctx, tx, all)
	if err != nil {
		return err
	}
	want, err := texts(ctx, tx, fmt.Sprintf("select r::text from (%s) r", parameter.Replace(c.theirs)), id)
	if err != nil {
		return err
	}
	var got []string
	err = inSavepoint(ctx, tx, func() error {
		err := as(ctx, tx, id, func() error {
			_, err := tx.Exec(ctx, c.statement)
			return err
		})
		if err != nil {
			return err
		}
		after, err := texts(ctx, tx, all)
		got = without(before, after)
		return err
	})
	switch {
	case id == nil && code(err) == "28000": // invalid_authorization_specification
		return nil
	case err != nil:
		return fmt.Errorf("%s, as %s: %w", c.statement, named(id), err)
	case id == nil || !slices.Equal(got, want):
		return &differenceError{fmt.Sprintf("%s: %s changes %q, not %q", c.statement, named(id), without(got, want), without(want, got))}
	}
	return nil
}

func tryEach(ctx context.Context, tx pgx.Tx, query string, refused *regexp.Regexp, id *int64) error {
	rows, err := tx.Query(ctx, query, id)
	if err != nil {
		return err
	}
	var statements []string
	var theirs []*bool
	var statement string
	var allowed *bool
	if _, err := pgx.ForEachRow(rows, []any{&statement, &allowed}, func() error {
		statements, theirs = append(statements, statement), append(theirs, allowed)
		return nil
	}); err != nil {
		return err
	}
	outcomes, err := attempts(ctx, tx, id, statements)
	if err != nil {
		return err
	}
	for i, outcome := range outcomes {
		may := theirs[i] != nil && *theirs[i]
		is := !refused.MatchString(outcome)
		if id == nil {
			may, is = false, !strings.HasPrefix(outcome, "28000: ")
		}
		if is != may {
			return &differenceError{fmt.Sprintf("%s, as %s, which they may: %t: %s", statements[i], named(id), may, outcome)}
		}
	}
	return nil
}

// inSavepoint does something and takes it back.
func inSavepoint(ctx context.Context, tx pgx.Tx, do func() error) error {
	inner, err := tx.Begin(ctx)
	if err != nil {
		return err
	}
	failure := do()
	if err := inner.Rollback(ctx); err != nil {
		return err
	}
	return failure
}

// TestEndUsersChangeWhatIsTheirs has everybody of two projects try to change everything.
func TestEndUsersChangeWhatIsTheirs(t *testing.T) {
	t.Parallel()
	conn := neighbours(t).Conn(t)
	pgtest.Execute(t, conn, attempt)
	writable := column(t, conn, `
		select distinct c.relname::text
		from pg_class c
		join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
		where c.relnamespace = 'headway'::regnamespace
		  and (has_column_privilege('headway_user', c.oid, a.attnum, 'insert, update') or has_table_privilege('headway_user', c.oid, 'delete'))`)
	for _, table := range writable {
		if !slices.ContainsFunc(theirChanges, func(c change) bool { return c.table == table }) {
			t.Errorf("what end users may change in %s is not tried", table)
		}
	}
	err := pgx.BeginFunc(t.Context(), conn, func(tx pgx.Tx) error {
		people, err := everybody(t.Context(), tx)
		if err != nil {
			return err
		}
		for _, id := range people {
			for _, c := range theirChanges {
				if err := tryChange(t.Context(), tx, c, id); err != nil {
					t.Error(err)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
