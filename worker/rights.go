package worker

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"headway/sql"
)

// Rights is how a login's rights differ from those of a worker, in clauses such as "it is a superuser".
type Rights struct {
	Login   string
	More    []string // what it may do besides folding and sending, not counting acting as headway_user
	Missing []string // what keeps it from folding and sending, each with a remedy
}

// Check returns nil if a worker can run as the login and, unless more is allowed, could do nothing else; otherwise a
// [*RightsError].
func (r Rights) Check(allowMore bool) error {
	if allowMore {
		r.More = nil
	}
	if len(r.More)+len(r.Missing) == 0 {
		return nil
	}
	return &RightsError{r}
}

// RightsError says that a login is not suitable for a worker, why, and what to do.
type RightsError struct{ Rights Rights }

// Error implements error, in several lines.
func (e *RightsError) Error() string {
	var b strings.Builder
	if missing := e.Rights.Missing; len(missing) > 0 {
		fmt.Fprintf(&b, "%s lacks rights that a worker needs:\n  %s", e.Rights.Login, strings.Join(few(missing), "\n  "))
	}
	if more := e.Rights.More; len(more) > 0 {
		if b.Len() > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "%s has more rights than a worker should:\n  %s\n%s", e.Rights.Login, strings.Join(few(more), "\n  "), loginAdvice)
	}
	return b.String()
}

// loginAdvice is what to do about a login that may do too much.
const loginAdvice = "give the worker a login of its own, `create role headway_worker_login login password '…' in role headway_worker`, " +
	"or set HEADWAY_ALLOW_MORE_RIGHTS=true"

// few returns the first of many clauses, and how many more there are.
func few(clauses []string) []string {
	const enough = 10
	if len(clauses) <= enough {
		return clauses
	}
	return append(clauses[:enough:enough], fmt.Sprintf("and %d more", len(clauses)-enough))
}

// sqlRights looks at the session's login, which may become any role that it is a member of, for rights in excess, and
// at its current role for rights it lacks.
//
// Rights to tables, and to functions that run as their owner, are compared one by one. Those implied by being a
// superuser, an owner or a member of a role known for them are reported in one clause.
const sqlRights = `
with function as (
  select p.*, format('headway.%s(%s)', p.proname, oidvectortypes(p.proargtypes)) as name
  from pg_proc p
  where p.pronamespace = 'headway'::regnamespace
),
relation as (
  select c.*, format('%I.%I', n.nspname, c.relname) as name
  from pg_class c
  join pg_namespace n on n.oid = c.relnamespace
  where n.nspname = 'headway' and c.relkind in ('r', 'v') or n.nspname = 'public' and c.relname = 'headway_schema_version'
),
needed_function (id, name) as (
  select f.oid, n.name
  from (values
    ('headway.fold(integer)'),
    ('headway.lock_key(text)'),
    ('headway.notify_mode()'),
    ('headway.setting(text)'),
    ('headway.heartbeat(uuid, text, integer, text, boolean)'),
    ('headway.retire(uuid)'),
    ('headway.reserve_digests(integer)'),
    ('headway.digests_to_send()'),
    ('headway.claim_digest(uuid, interval)'),
    ('headway.release_digest(bigint, uuid)'),
    ('headway.freeze_digest(bigint, uuid, text, bytea, interval)'),
    ('headway.digest_sent(bigint)'),
    ('headway.digest_failed(bigint, uuid, text, text)'),
    ('headway.digest_run_finished(timestamp with time zone)'),
    ('headway.prune_digests()'),
    ('headway.unsubscribe(uuid)'),
    ('headway.issue_ticket(bigint, timestamp with time zone)'),
    ('headway.redeem_ticket(uuid)')
  ) n (name)
  left join function f on f.name = n.name
),
needed_column (relation, number) as (
  select c.oid, a.attnum
  from (values
    ('public.headway_schema_version', null),
    ('headway.status', null),
    ('headway.pending_fact', '{id,at}'::name[]),
    ('headway.worker', null),
    ('headway.setting', null),
    ('headway.digest', '{id,state,next_attempt_at}'),
    ('headway.digest_run', null)
  ) n (relation, columns)
  join relation c on c.name = n.relation
  join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
  where n.columns is null or a.attname = any (n.columns)
),
relation_column as (
  select c.oid as relation, c.name as relation_name, c.relowner as owner, a.attnum as number, a.attname as name,
    count(*) over (partition by c.oid) as columns,
    (c.oid, a.attnum) in (select n.relation, n.number from needed_column n) as needed
  from relation c
  join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
),
me as (
  select r.* from pg_roles r where r.rolname = session_user
),
acting as (
  select r.*, coalesce(pg_has_role(r.oid, w.oid, 'usage'), false) as is_worker,
    pg_has_role(r.oid, w.oid, 'member') as is_member
  from pg_roles r
  left join pg_roles w on w.rolname = 'headway_worker'
  where r.rolname = current_user
),
-- Whomever the login may act as, by inheritance or by set role.
reach as (
  select r.* from pg_roles r join me on pg_has_role(me.oid, r.oid, 'member') and (r.oid = me.oid or not me.rolsuper)
),
told as (
  select r.oid, r.rolname, r.rolsuper
  from reach r
  where r.rolsuper or r.rolname in ('headway_owner', 'headway_app', 'headway_admin', 'headway_user', 'pg_read_all_data',
    'pg_write_all_data', 'pg_read_server_files', 'pg_write_server_files', 'pg_execute_server_program')
),
more (place, clause) as (
  select 1, case when r.oid = me.oid then '' else format('may act as %I, which ', r.rolname) end || p.words
  from reach r
  cross join me
  cross join lateral (values
    (r.rolsuper, 'is a superuser'),
    (r.rolbypassrls and not r.rolsuper, 'bypasses row-level security (bypassrls)'),
    (r.rolcreaterole and not r.rolsuper, 'may create and change roles (createrole)'),
    (r.rolreplication and not r.rolsuper, 'may copy the whole server (replication)')
  ) p (held, words)
  where p.held
  union all
  select 2, format('is a member of %I', t.rolname) from told t where not t.rolsuper and t.rolname <> 'headway_user'
  union all
  select 3, 'owns ' || o.name
  from (
    select format('the database %I', d.datname), d.datdba from pg_database d where d.datname = current_database()
    union all
    select 'the schema headway', n.nspowner from pg_namespace n where n.nspname = 'headway'
    union all
    select c.name, c.relowner from relation c
    union all
    select f.name, f.proowner from function f
  ) o (name, owner)
  where o.owner in (select r.oid from reach r) and not exists (select from told t where pg_has_role(t.oid, o.owner, 'usage'))
  union all
  select 4, 'may create objects in the schema headway'
  where exists (select from reach r where has_schema_privilege(r.oid, 'headway', 'create'))
    and not exists (select from told t where has_schema_privilege(t.oid, 'headway', 'create'))
  union all
  select 5, format('may %s %s of %s', p.verb,
    case when count(*) < c.columns then string_agg(c.name, ', ' order by c.number) else 'rows' end, c.relation_name)
  from relation_column c
  cross join (values ('select', 'read'), ('insert', 'insert'), ('update', 'update'), ('references', 'refer to')) p (privilege, verb)
  where exists (select from reach r where has_column_privilege(r.oid, c.relation, c.number, p.privilege))
    and not exists (select from told t where has_column_privilege(t.oid, c.relation, c.number, p.privilege))
    and not (p.privilege = 'select' and c.needed)
    and c.owner not in (select r.oid from reach r)
  group by c.relation, c.relation_name, c.columns, p.verb
  union all
  select 6, format('may %s %s', p.verb, c.name)
  from relation c
  cross join (values ('delete', 'delete from'), ('truncate', 'truncate'), ('trigger', 'put triggers on')) p (privilege, verb)
  where exists (select from reach r where has_table_privilege(r.oid, c.oid, p.privilege))
    and not exists (select from told t where has_table_privilege(t.oid, c.oid, p.privilege))
    and c.relowner not in (select r.oid from reach r)
  union all
  select 7, 'may call ' || f.name
  from function f
  where f.prosecdef and f.prorettype <> 'trigger'::regtype and f.oid not in (select n.id from needed_function n where n.id is not null)
    and exists (select from reach r where has_function_privilege(r.oid, f.oid, 'execute'))
    and not exists (select from told t where has_function_privilege(t.oid, f.oid, 'execute'))
    and f.proowner not in (select r.oid from reach r)
),
lacking (place, clause, remedy) as (
  select 1, 'may not use the schema headway', 'grant usage on schema headway to headway_worker'
  from acting a
  where not has_schema_privilege(a.oid, 'headway', 'usage')
  union all
  select 2, 'may not call ' || f.name, format('grant execute on function %s to headway_worker', f.name)
  from needed_function f
  cross join acting a
  where not coalesce(has_function_privilege(a.oid, f.id, 'execute'), false)
  union all
  select 3, format('may not read %s of %s', string_agg(c.name, ', ' order by c.number), c.relation_name),
    format('grant select (%s) on %s to headway_worker', string_agg(c.name, ', ' order by c.number), c.relation_name)
  from relation_column c
  cross join acting a
  where c.needed and not has_column_privilege(a.oid, c.relation, c.number, 'select')
  group by c.relation, c.relation_name
  union all
  -- Where no policy shows them, there would be no rows, rather than an error.
  select 4, 'cannot see the rows of ' || c.name, format('create policy counted on %s for select to headway_worker using (true)', c.name)
  from relation c
  cross join acting a
  where c.relrowsecurity and c.oid in (select n.relation from needed_column n)
    and not (a.rolsuper or a.rolbypassrls or pg_has_role(a.oid, c.relowner, 'usage') and not c.relforcerowsecurity)
    and not exists (
      select from pg_policy p
      where p.polrelid = c.oid and p.polpermissive and p.polcmd in ('r', '*') and pg_get_expr(p.polqual, p.polrelid) = 'true'
        and exists (select from unnest(p.polroles) r (oid) where r.oid = 0 or pg_has_role(a.oid, r.oid, 'usage'))
    )
)
select (select me.rolname::text from me), x.more, x.clause
from (
  select m.place, true, 'it ' || m.clause from more m
  union all
  select l.place, false, format('it %s: %s', l.clause, l.remedy) from lacking l cross join acting a where a.is_worker
  union all
  select 0, false, case
    when a.rolname = session_user and a.is_member then format(
      'it does not inherit the rights of headway_worker: ' || case
        -- Since PostgreSQL 16, whether it does is decided by each grant.
        when current_setting('server_version_num')::int >= 160000 then 'grant headway_worker to %I with inherit true'
        -- A role between the two may be what does not inherit.
        when a.rolinherit then 'grant headway_worker to %I'
        else 'alter role %I inherit'
      end, a.rolname)
    when a.rolname = session_user then format('it is not a member of headway_worker: grant headway_worker to %I', a.rolname)
    -- What that role may do, others may who become it.
    else format('it becomes %s, which is not a member of headway_worker: alter role %I reset role, or leave the role out of the URL', a.rolname, session_user)
  end
  from acting a
  where not a.is_worker and exists (select from lacking)
  union all
  select 1, false, format('row_security is off for it, so what policies hide is an error: alter role %1$I in database %2$I set row_security = on',
    session_user, current_database())
  from acting a
  where current_setting('row_security') = 'off' and not (a.rolsuper or a.rolbypassrls)
  union all
  -- An owner may do so without a grant, until the schema is given to somebody else.
  select 5, false, format('the functions run as %1$I, who may not use the schema headway: alter schema headway owner to %1$I', o.rolname)
  from pg_roles o
  where o.oid in (select f.proowner from function f join needed_function n on n.id = f.oid where f.prosecdef)
    and not has_schema_privilege(o.oid, 'headway', 'usage')
  union all
  -- Those who own the functions have to see all there is.
  select 5, false, format('row-level security hides rows of %s from %I, which the functions run as: alter table %1$s no force row level security, owner to %2$I',
    c.name, o.rolname)
  from relation c
  join pg_roles o on o.oid in (select f.proowner from function f join needed_function n on n.id = f.oid where f.prosecdef)
  where c.relrowsecurity
    and not (o.rolsuper or o.rolbypassrls or pg_has_role(o.oid, c.relowner, 'usage') and not c.relforcerowsecurity)
) x (place, more, clause)
right join me on true
order by x.place, x.clause`

// CheckRights compares the rights of the connected login with those of a worker. The schema must be this binary's.
func CheckRights(ctx context.Context, db sql.Beginner) (rights Rights, err error) {
	var more *bool
	var clause *string
	err = sql.InCatalog(ctx, db, func(tx pgx.Tx) error {
		rows, _ := tx.Query(ctx, sqlRights) // ForEachRow returns its error
		_, err := pgx.ForEachRow(rows, []any{&rights.Login, &more, &clause}, func() error {
			switch {
			case clause == nil: // the single row for a login that is just right
			case *more:
				rights.More = append(rights.More, *clause)
			default:
				rights.Missing = append(rights.Missing, *clause)
			}
			return nil
		})
		return err
	})
	if err != nil {
		return rights, fmt.Errorf("check the login's rights: %w", err)
	}
	return rights, nil
}
