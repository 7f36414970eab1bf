package sql_test

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"

	"headway/internal/pgtest"
)

// policy is one of those that limit end users.
type policy struct {
	Table, Name string
	Using       bool // says which rows are there
	Check       bool // says which may be written
}

func policies(t *testing.T, conn *pgx.Conn) []policy {
	t.Helper()
	rows, err := conn.Query(t.Context(), `
		select c.relname::text, p.polname::text, p.polqual is not null, p.polwithcheck is not null
		from pg_policy p
		join pg_class c on c.oid = p.polrelid
		where c.relnamespace = 'headway'::regnamespace and 'headway_user'::regrole = any (p.polroles)
		order by c.relname, p.polname`)
	if err != nil {
		t.Fatal(err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowToStructByPos[policy])
	if err != nil || len(all) == 0 {
		t.Fatalf("%d policies, %v", len(all), err)
	}
	return all
}

// TestEveryPolicyCounts weakens the policies for end users, one at a time, and removes them, and expects the comparison
// with what is theirs to notice.
func TestEveryPolicyCounts(t *testing.T) {
	t.Parallel()
	conn := neighbours(t).Conn(t)
	pgtest.Execute(t, conn, attempt)
	relations, err := readable(t.Context(), conn)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range policies(t, conn) {
		breaks := []string{fmt.Sprintf("drop policy %s on headway.%s", p.Name, p.Table)}
		if p.Using {
			breaks = append(breaks, fmt.Sprintf("alter policy %s on headway.%s using (true)", p.Name, p.Table))
		}
		if p.Check {
			breaks = append(breaks, fmt.Sprintf("alter policy %s on headway.%s with check (true)", p.Name, p.Table))
		}
		for _, statement := range breaks {
			err := pgx.BeginFunc(t.Context(), conn, func(tx pgx.Tx) error {
				if _, err := tx.Exec(t.Context(), statement); err != nil {
					t.Fatal(err)
				}
				if err := tryTable(t.Context(), tx, relations, p.Table); err != nil {
					return err
				}
				// A trigger says the same, with a better message.
				if statement != "alter policy as_oneself on headway.message with check (true)" {
					t.Errorf("unnoticed: %s", statement)
				}
				return pgx.ErrTxCommitRollback
			})
			if err == nil {
				t.Fatalf("%s has remained", statement)
			}
		}
	}
	if err := compareTheirs(t.Context(), conn); err != nil {
		t.Errorf("with all of them back: %v", err)
	}
}

// tryTable reads and changes one table as some of everybody.
func tryTable(ctx context.Context, tx pgx.Tx, relations []relation, table string) error {
	relations = slices.DeleteFunc(slices.Clone(relations), func(r relation) bool { return r.name != table })
	abe, bob, dora := int64(1), int64(2), int64(4)
	for _, id := range []*int64{&abe, &bob, &dora, nil} {
		found, err := look(ctx, tx, relations, id)
		if err != nil {
			return err
		}
		if id == nil && found > 0 {
			return &differenceError{fmt.Sprintf("nobody finds %d rows", found)}
		}
		for _, c := range theirChanges {
			if c.table != table {
				continue
			}
			if err := tryChange(ctx, tx, c, id); err != nil {
				return err
			}
		}
	}
	return nil
}
