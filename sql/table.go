package sql

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"headway/internal/sqlstate"
)

// VersionTable is where tern keeps the number of the last migration. It is in public because it has to exist before the
// schema does, and has a name of its own because the application may use tern too.
const VersionTable = "public.headway_schema_version"

// TableError says that [VersionTable] is not as headway creates it, or belongs to somebody who could change that: for
// example with a trigger that makes whoever migrates do what they like.
type TableError struct {
	Owner  string   // quoted as an identifier
	Faults []string // such as "has triggers"
}

// Error implements error.
func (e *TableError) Error() string {
	return fmt.Sprintf("%s belongs to %s and %s: if it is not headway's, drop it, and `revoke create on schema public from public`; "+
		"if it is, undo that, and `alter table %[1]s owner to headway_owner`", VersionTable, e.Owner, strings.Join(e.Faults, ", "))
}

// AccessError says that a login may not read [VersionTable], and what to do.
type AccessError struct {
	Login, Owner string // quoted as identifiers
	Granted      bool   // headway's roles may read it
	Closed       bool   // the login may not use the schema that it is in
}

// Error implements error.
func (e *AccessError) Error() string {
	if e.Closed {
		return fmt.Sprintf("%s may not read %s: `grant usage on schema public to %[1]s`", e.Login, VersionTable)
	}
	if !e.Granted {
		return fmt.Sprintf("%s may not read %s, and neither may headway's roles: after a restore without privileges, restore once more with them "+
			"(docs/backup.md); if a migration by %s left it behind, have %[3]s migrate, or drop it, and try again", e.Login, VersionTable, e.Owner)
	}
	return fmt.Sprintf("%s may not read %s: `grant headway_owner to %[1]s` lets it migrate, headway_worker run a worker, "+
		"headway_admin watch", e.Login, VersionTable)
}

// sqlTable inspects the table without reading it, since reading could already call something. The database's owner, and
// members of headway_owner, control the schema anyway.
const sqlTable = `
select format('%I', current_user), format('%I', o.rolname),
  has_schema_privilege(n.oid, 'usage') and has_table_privilege(c.oid, 'select') as readable,
  not has_schema_privilege(n.oid, 'usage') as closed,
  coalesce(has_table_privilege(h.oid, c.oid, 'select'), false) as granted,
  array_remove(array[
    case when c.relkind <> 'r' then 'is not a plain table' end,
    case when exists (select from pg_trigger t where t.tgrelid = c.oid) then 'has triggers' end,
    case when exists (select from pg_rewrite r where r.ev_class = c.oid) then 'has rules' end,
    case when c.relrowsecurity then 'has row-level security' end,
    case when exists (select from pg_inherits i where c.oid in (i.inhrelid, i.inhparent)) then 'inherits or is inherited' end,
    case when exists (select from pg_constraint k where k.conrelid = c.oid and k.contype = 'c') then 'has checks' end,
    case when exists (select from pg_index x where x.indrelid = c.oid and coalesce(x.indexprs, x.indpred) is not null) then 'has indexes' end,
    case when exists (
      select from pg_attribute a
      where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
        and (a.attname <> 'version' or a.atttypid <> 'int4'::regtype or a.attgenerated <> '')
    ) then 'has other columns' end,
    case when not (o.rolsuper or o.rolname = current_user or o.oid = d.datdba or coalesce(pg_has_role(o.oid, h.oid, 'member'), false))
      then 'they are neither the current user nor the owner of the database, a superuser or a member of headway_owner' end
  ], null)
from pg_class c
join pg_namespace n on n.oid = c.relnamespace
join pg_roles o on o.oid = c.relowner
join pg_database d on d.datname = current_database()
left join pg_roles h on h.rolname = 'headway_owner'
where n.nspname = 'public' and c.relname = 'headway_schema_version'`

// inspect reports whether there is a [VersionTable]. If it cannot be trusted, the error is a [*TableError]; if it
// cannot be read, an [*AccessError].
func inspect(ctx context.Context, tx pgx.Tx) (exists bool, err error) {
	var access AccessError
	var fault TableError
	var readable bool
	err = tx.QueryRow(ctx, sqlTable).Scan(&access.Login, &access.Owner, &readable, &access.Closed, &access.Granted, &fault.Faults)
	fault.Owner = access.Owner
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("look for %s: %w", VersionTable, err)
	case len(fault.Faults) > 0:
		return true, &fault
	case !readable:
		return true, &access
	}
	return true, nil
}

// Version returns the number of the last migration that ran in a database; 0 if none has. The error may be a
// [*TableError] or an [*AccessError].
func Version(ctx context.Context, conn *pgx.Conn) (version int32, err error) {
	version, _, err = installed(ctx, conn)
	return version, err
}

// installed returns what [Version] does, and whether there is a schema of headway's name.
func installed(ctx context.Context, conn *pgx.Conn) (version int32, schema bool, err error) {
	err = InCatalog(ctx, conn, func(tx pgx.Tx) error {
		exists, err := inspect(ctx, tx)
		switch {
		case err != nil:
			return err
		case !exists:
			return checkRoom(ctx, tx)
		}
		switch err := tx.QueryRow(ctx, "select version, pg_catalog.to_regnamespace('headway') is not null from "+VersionTable).Scan(&version, &schema); {
		case errors.Is(err, pgx.ErrNoRows):
			return errNoVersion
		case err != nil:
			return fmt.Errorf("read %s: %w", VersionTable, err)
		case version == 0:
			return checkRoom(ctx, tx)
		}
		return nil
	})
	return version, schema, err
}

// gone says that the schema of this version is gone.
func gone(version int32) error {
	return fmt.Errorf("%s says %d, but there is no schema headway: restore it (docs/backup.md), or `drop table %[1]s` and migrate", VersionTable, version)
}

// checkRoom returns an error if the schema that the first migrations would create already exists.
func checkRoom(ctx context.Context, tx pgx.Tx) error {
	var taken bool
	if err := tx.QueryRow(ctx, "select pg_catalog.to_regnamespace('headway') is not null").Scan(&taken); err != nil {
		return fmt.Errorf("look for the schema headway: %w", err)
	}
	if taken {
		return errors.New("there is a schema headway, but " + VersionTable + " does not say which version it is: " +
			"if it was restored, restore that table as well (docs/backup.md); if it is not headway's, give it another name")
	}
	return nil
}

// errNoVersion says that the table exists but its row does not.
var errNoVersion = errors.New(VersionTable + " is empty, as after a dump without data, which lacks the settings too: " +
	"drop that table and the schema headway, and run `headway migrate`, or restore the data (docs/backup.md)")

// ensureTable creates the table as tern would, if there is none, and returns a function that drops it again unless
// something was migrated. Tern itself accepts whatever table exists.
func ensureTable(ctx context.Context, conn *pgx.Conn) (undo func(), err error) {
	var exists bool
	if err := InCatalog(ctx, conn, func(tx pgx.Tx) error {
		if exists, err = inspect(ctx, tx); err != nil || exists {
			return err
		}
		if err := checkRoom(ctx, tx); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, "create table "+VersionTable+" (version int4 not null)")
		if sqlstate.Of(err) == sqlstate.InsufficientPrivilege {
			// The error is not passed on: it is about this one grant, not about roles, which would be looked for.
			return fmt.Errorf("make %s: %s: `grant create on schema public to %s`, or migrate as the owner of the database",
				VersionTable, err.Error(), pgx.Identifier{conn.Config().User}.Sanitize())
		}
		if err != nil {
			return fmt.Errorf("make %s: %w", VersionTable, err)
		}
		_, err = tx.Exec(ctx, "insert into "+VersionTable+" (version) values (0)")
		return err
	}); err != nil {
		return nil, err
	}
	return func() {
		if exists {
			return
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		if version, err := Version(ctx, conn); err == nil && version == 0 {
			// If it fails, the table stays, and says 0.
			_, _ = conn.Exec(ctx, "drop table "+VersionTable)
		}
	}, nil
}
