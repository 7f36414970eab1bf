package sql

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/jackc/pgx/v5"

	"headway/internal/sqlstate"
)

// roleNames are the roles that [Roles] creates. All of them appear in grants and policies.
var roleNames = []string{"headway_owner", "headway_app", "headway_worker", "headway_user", "headway_admin", "headway_monitor"}

// Roles returns the SQL that creates headway's roles where they are missing. The first migration runs it; it is for
// those who have to create roles by hand.
func Roles() string {
	text, err := fs.ReadFile(Migrations(), "roles/create.sql")
	if err != nil {
		panic(err) // the path is a constant
	}
	return string(text)
}

// RolesError says that a login cannot migrate because roles are missing, and what to do.
type RolesError struct {
	Login   string
	Missing []string // roles that the server does not have
	Grant   string   // the statements that let Login act as headway_owner; empty: it already may
}

// Error implements error.
func (e *RolesError) Error() string {
	reason, remedy := "it may not act as headway_owner", "`"+e.Grant+"`"
	if len(e.Missing) > 0 {
		reason, remedy = strings.Join(e.Missing, ", ")+" are missing", "what `headway migrate --no-roles` prints"
	}
	if len(e.Missing) == 1 {
		reason = e.Missing[0] + " is missing"
	}
	return fmt.Sprintf("%s cannot migrate, because %s: ask somebody who may to run %s, and try again", e.Login, reason, remedy)
}

// SQL returns what must be run by somebody who may create and grant roles.
func (e *RolesError) SQL() string {
	var script string
	if len(e.Missing) > 0 {
		script = Roles()
	}
	if e.Grant != "" {
		script += "-- Whoever migrates makes things on behalf of the owner.\n" + e.Grant + "\n"
	}
	return script
}

// sqlLacking checks for the roles, and for what a migration does as the owner: using its rights, and transferring
// objects to it. Whether a member inherits the rights is an attribute of the member up to PostgreSQL 15, and of the
// membership since 16.
const sqlLacking = `
select me.rolname::text,
  array(select n.name from unnest($1::text[]) with ordinality n (name, place) where to_regrole(n.name) is null order by n.place),
  case
    when coalesce(pg_has_role(o.oid, 'usage') and pg_has_role(o.oid, s.gives), false) then ''
    when s.version >= 160000 then format('grant headway_owner to %I with inherit true, set true;', me.rolname)
    when me.rolinherit then format('grant headway_owner to %I;', me.rolname)
    else format('alter role %I inherit; grant headway_owner to %1$I;', me.rolname)
  end
from pg_roles me
cross join (
  select v.version, case when v.version < 160000 then 'member' else 'set' end
  from (select current_setting('server_version_num')::integer) v (version)
) s (version, gives)
left join pg_roles o on o.rolname = 'headway_owner'
where me.rolname = current_user`

// CheckRoles returns a [*RolesError] if anything must be done by hand before the connected login can migrate without
// creating roles.
func CheckRoles(ctx context.Context, conn *pgx.Conn) error {
	var lacking RolesError
	if err := InCatalog(ctx, conn, func(tx pgx.Tx) error {
		return tx.QueryRow(ctx, sqlLacking, roleNames).Scan(&lacking.Login, &lacking.Missing, &lacking.Grant)
	}); err != nil {
		return fmt.Errorf("look for roles: %w", err)
	}
	if len(lacking.Missing) == 0 && lacking.Grant == "" {
		return nil
	}
	return &lacking
}

// forWantOfRoles returns what [CheckRoles] finds for a failed migration or, if it has nothing to do with roles, the
// failure itself.
func forWantOfRoles(ctx context.Context, conn *pgx.Conn, failure error) error {
	access, is := errors.AsType[*AccessError](failure)
	if sqlstate.Of(failure) != sqlstate.InsufficientPrivilege && !(is && access.Granted) {
		return failure
	}
	if lacking, is := errors.AsType[*RolesError](CheckRoles(ctx, conn)); is {
		return lacking
	}
	return failure
}
