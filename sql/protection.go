package sql

import (
	"context"
	"fmt"
	"io/fs"
	"regexp"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5"
)

// UnprotectedError says that tables lack the row-level security that migrations give them. A restore turns it on last,
// after the rows, the keys and the triggers, so it may also mean that not everything is there yet.
type UnprotectedError struct {
	Tables []string // such as headway.message
}

// Error implements error.
func (e *UnprotectedError) Error() string {
	enable := make([]string, len(e.Tables))
	for i, table := range e.Tables {
		enable[i] = "alter table " + table + " enable row level security"
	}
	return fmt.Sprintf("row-level security is off for %s: if a restore is in progress, wait until it has finished; otherwise `%s`",
		strings.Join(e.Tables, ", "), strings.Join(enable, "; "))
}

// sqlUnprotected looks only at headway's own tables: others in the schema are somebody's business.
const sqlUnprotected = `
select array_agg('headway.' || c.relname order by c.relname)
from pg_class c
where c.relnamespace = to_regnamespace('headway') and c.relname = any ($1) and not c.relrowsecurity`

// checkProtection returns an [*UnprotectedError] if row-level security is off where migrations have turned it on.
func checkProtection(ctx context.Context, conn *pgx.Conn) error {
	var open UnprotectedError
	err := InCatalog(ctx, conn, func(tx pgx.Tx) error { return tx.QueryRow(ctx, sqlUnprotected, tables()).Scan(&open.Tables) })
	switch {
	case err != nil:
		return fmt.Errorf("look for tables without row-level security: %w", err)
	case open.Tables != nil:
		return &open
	}
	return nil
}

// sqlLost looks at one grant of each role, and at one policy of each of headway's tables: what takes one away, such as a
// restore without them or DROP OWNED, takes all.
const sqlLost = `
select array_agg(l.what order by l.what)
from (
  select r.name || ' may not use the schema' as what
  from unnest($1::text[]) r (name)
  where not coalesce(has_schema_privilege(to_regrole(r.name)::oid, to_regnamespace('headway')::oid, 'usage'), false)
  union all
  select 'headway.' || c.relname || ' lacks policies'
  from pg_class c
  where c.relnamespace = to_regnamespace('headway') and c.relname = any ($2)
    and not exists (select from pg_policy p where p.polrelid = c.oid and p.polname = 'trusted')
) l`

// Lost returns which of headway's roles and tables lack the rights and policies that migrations give them, in words.
func Lost(ctx context.Context, conn *pgx.Conn) (lost []string, err error) {
	granted := roleNames[1:] // the first owns everything
	err = InCatalog(ctx, conn, func(tx pgx.Tx) error { return tx.QueryRow(ctx, sqlLost, granted, tables()).Scan(&lost) })
	if err != nil {
		return nil, fmt.Errorf("look for rights and policies: %w", err)
	}
	return lost, nil
}

var createTable = regexp.MustCompile(`(?m)^create table headway\.(\w+)`)

// tables returns the names of headway's tables. Workers ask at every heartbeat.
var tables = sync.OnceValue(func() (names []string) {
	files, _ := fs.Glob(Migrations(), "*.sql") // the pattern is well formed
	for _, file := range files {
		text, _ := fs.ReadFile(Migrations(), file) // embedded
		for _, match := range createTable.FindAllSubmatch(text, -1) {
			names = append(names, string(match[1]))
		}
	}
	return names
})
